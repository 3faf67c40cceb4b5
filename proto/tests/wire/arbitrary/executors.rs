//! What executors and their scheduler say to each other.

use seagull_domain::*;
use seagull_proto::limits;

use super::Source;

impl Source {
    pub fn result(&mut self) -> TestResult {
        use TestCause::*;
        TestResult {
            cpu_us: 0,
            test: self.test(),
            ordinal: u16::try_from(self.within(0, u64::from(u16::MAX))).unwrap(),
            last: self.coin(),
            outcome: self.pick(&[Outcome::Passed, Outcome::Failed, Outcome::Skipped]),
            detail: self.text(limits::WORD_BYTES),
            cause: self
                .maybe(|s| s.pick(&[Assertion, Error, Crashed, TimedOut, OverMemory, OverDisk, Poison])),
            phases: std::array::from_fn(|_| self.within(0, limits::MICROS)),
            peak_kib: self.within(0, limits::KIB),
            started_at: self.within(0, limits::MOMENT),
            message: self.text(limits::LINE_BYTES),
            location: self.text(limits::LOCATION_BYTES),
            text: self.maybe(Self::text_ref),
        }
    }

    pub fn suite_error(&mut self) -> SuiteError {
        SuiteError {
            title: self.text(limits::WORD_BYTES),
            message: self.text(limits::LINE_BYTES),
            text: self.maybe(Self::text_ref),
        }
    }

    pub fn attachment(&mut self) -> Attachment {
        let name = self.pick(&["a", "shots/1.png", "core.7", "ä b/.c"]).to_owned();
        Attachment { name, bytes: self.within(0, limits::MOMENT), blob: self.maybe(Self::digest) }
    }

    pub fn hold(&mut self) -> Hold {
        let environment = self.pick(&["db", "all-of-it"]).to_owned();
        Hold { environment, sandbox: self.text(limits::WORD_BYTES), until: self.within(0, limits::MOMENT) }
    }

    pub fn used(&mut self) -> Used {
        let (cpu_us, peak_kib) = (self.within(0, limits::MICROS), self.within(0, limits::KIB));
        Used { cpu_us, peak_kib, whole: self.coin() }
    }

    pub fn leftover(&mut self) -> Leftover {
        Leftover {
            command: self.text(limits::LOCATION_BYTES),
            processes: 1 + self.small(1 << 20),
            ports: self.list(3, |draw| 1 + draw.small(65_534) as u16),
            phase: self.pick(&["", "call"]).to_owned(),
        }
    }

    pub fn image_used(&mut self) -> ImageUsed {
        let image = self.pick(&["redis:7", "r.example:5000/ä/b"]).to_owned();
        let digest = self.pick(&["", "redis@sha256:1a2b"]).to_owned();
        ImageUsed { image, id: self.text(limits::WORD_BYTES), digest }
    }

    pub fn record(&mut self) -> Record {
        match self.bits() % 10 {
            0 => Record::Missing { test: self.test(), reason: self.text(limits::LINE_BYTES) },
            1 => Record::SuiteError(self.suite_error()),
            2 => Record::Coverage(self.text_ref()),
            3 => Record::Attached { test: self.maybe(Self::test), file: self.attachment() },
            5 => Record::Held { test: self.maybe(Self::test), hold: self.hold() },
            6 => Record::Left { test: self.maybe(Self::test), left: self.leftover() },
            7 => Record::Used(self.used()),
            4 => Record::Images(self.list(3, Self::image_used)),
            _ => Record::Result(self.result()),
        }
    }

    pub fn end(&mut self) -> EndCause {
        match self.bits() % 5 {
            0 => EndCause::Completed,
            1 => {
                EndCause::Discovered(Discovery { manifest: self.digest(), tests: self.small(limits::TESTS) })
            }
            2 => EndCause::DiscoveryFailed(self.text(limits::REPORT_BYTES)),
            3 => EndCause::Cancelled,
            _ => EndCause::GaveBack(self.infra(), self.text(limits::LINE_BYTES)),
        }
    }

    pub fn attempt_report(&mut self, attempt: AttemptId) -> AttemptReport {
        AttemptReport {
            attempt,
            run: self.id(),
            generation: self.generation(),
            kept: self.list(20, Self::test),
            state: match self.bits() % 3 {
                0 => AttemptState::Waiting,
                1 => AttemptState::Running(self.maybe(Self::test)),
                _ => AttemptState::Ended(self.end()),
            },
        }
    }

    pub fn batch(&mut self) -> Batch {
        Batch {
            run: self.id(),
            attempt: self.attempt(),
            number: u32::try_from(self.within(1, limits::SMALL_NUMBER.into())).unwrap(),
            records: (0..self.within(1, 10)).map(|_| self.record()).collect(),
        }
    }

    pub fn report(&mut self) -> Report {
        let slots = u16::try_from(self.within(1, limits::SLOTS.into())).unwrap();
        let first = self.within(0, limits::NUMBER - 100);
        Report {
            executor: self.id(),
            boot: self.id(),
            sequence: self.number(),
            known: (Epoch(self.number()), self.number()),
            slots,
            capacity: Resources {
                memory_kib: self.maybe(Self::number).unwrap_or(u64::MAX),
                millicpus: self.maybe(Self::number).unwrap_or(u64::MAX),
            },
            labels: self.labels(),
            draining: self.maybe(|s| Drain {
                cause: s.pick(&[InfraCause::SpotNotice, InfraCause::Drained]),
                why: s.text(limits::WORD_BYTES),
            }),
            attempts: (0..self.within(0, 20)).map(|n| self.attempt_report(AttemptId(first + n))).collect(),
            workers: self.list(20, |s| WorkerReport {
                run: s.id(),
                slot: SlotIndex(u16::try_from(s.within(0, u64::from(slots) - 1)).unwrap()),
                number: s.slot(),
            }),
            batches: self.list(10, Self::batch),
        }
    }

    pub fn desired_attempt(&mut self, attempt: AttemptId) -> DesiredAttempt {
        let number = self.slot();
        DesiredAttempt {
            attempt,
            run: self.id(),
            kind: self.pick(&[Kind::Discover, Kind::Run]),
            slot: SlotIndex(u16::try_from(self.small(limits::SLOTS - 1)).unwrap()),
            number,
            slots: u32::try_from(self.within(u64::from(number.0) + 1, limits::SLOT_NUMBERS.into())).unwrap(),
            generation: self.generation(),
            cancel: self.coin(),
            superseded: self.coin(),
            surroundings: Surroundings {
                environment: EnvironmentNumber(self.small(limits::ENVIRONMENTS as u32) as u16),
                larger: self.coin(),
                needs: Resources { memory_kib: self.number(), millicpus: self.number() },
                shared: Resources { memory_kib: self.number(), millicpus: self.number() },
            },
        }
    }

    pub fn desired(&mut self) -> Desired {
        let first = self.within(0, limits::NUMBER - 100);
        Desired {
            epoch: Epoch(self.number()),
            version: self.number(),
            attempts: (0..self.within(0, 20)).map(|n| self.desired_attempt(AttemptId(first + n))).collect(),
            runs: self.list(5, Self::id),
            cancelled: self.list(5, Self::id),
            acknowledged: self.list(20, |s| (s.attempt(), s.small(limits::SMALL_NUMBER))),
            lease_ms: self.within(0, limits::MILLIS),
            drain_ms: self.maybe(|s| s.within(0, limits::MILLIS)),
        }
    }

    /// Relations and roles are left out in half of the bundles each, as they are in most real ones.
    pub fn bundle(&mut self, entries: u64) -> BundleContents {
        let (relations, roles) = (self.coin(), self.coin());
        let entry = |s: &mut Self| Entry {
            test: s.test(),
            role: if roles { s.pick(&[Role::Run, Role::Predecessor]) } else { Role::Run },
            predicted_us: s.within(0, limits::MICROS),
            limit_ms: s.within(0, limits::MILLIS),
            relation: if relations { s.small(limits::TESTS) } else { 0 },
        };
        let (generation, manifest, anticipated) = (self.generation(), self.digest(), self.coin());
        let entries = (0..entries).map(|_| entry(self)).collect();
        BundleContents { generation, manifest, anticipated, entries }
    }
}
