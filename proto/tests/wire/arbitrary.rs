//! Values of every type of the protocol, drawn from a seed. Numbers are drawn from their bounds as often as from
//! between them.

use std::collections::BTreeMap;

use seagull_domain::*;
use seagull_proto::convert::{LiveSlot, Watched, Word};
use seagull_proto::limits;

/// A small generator (splitmix64): the same seed gives the same values.
pub struct Source(pub u64);

impl Source {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `low` to `high`, both included; a third of the time one of the two.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        match self.bits() % 6 {
            0 => low,
            1 => high,
            _ => low + self.bits() % (high - low + 1),
        }
    }

    pub fn small(&mut self, bound: u32) -> u32 {
        u32::try_from(self.within(0, bound.into())).unwrap()
    }

    pub fn coin(&mut self) -> bool {
        self.bits().is_multiple_of(2)
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.bits() % choices.len() as u64).unwrap()]
    }

    pub fn maybe<T>(&mut self, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.coin() { Some(draw(self)) } else { None }
    }

    pub fn list<T>(&mut self, most: u64, mut draw: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.within(0, most)).map(|_| draw(self)).collect()
    }

    /// Up to so many bytes of text, of characters of each encoded length.
    pub fn text(&mut self, bytes: usize) -> String {
        let length = usize::try_from(self.within(0, bytes as u64)).unwrap();
        let mut text = String::new();
        loop {
            let character = self.pick(&['a', ' ', '\n', ':', '[', 'é', '漢', '🐦']);
            if text.len() + character.len_utf8() > length {
                return text;
            }
            text.push(character);
        }
    }

    pub fn id<T: std::str::FromStr<Err = InvalidId>>(&mut self) -> T {
        let length = self.within(1, 100);
        let characters = ['a', 'Z', '0', '-', '_'];
        let text: String = (0..length).map(|_| self.pick(&characters)).collect();
        text.parse().unwrap()
    }

    pub fn digest(&mut self) -> Digest {
        Digest(std::array::from_fn(|_| self.bits().to_le_bytes()[0]))
    }

    fn number(&mut self) -> u64 {
        self.within(0, limits::NUMBER)
    }

    pub fn attempt(&mut self) -> AttemptId {
        AttemptId(self.number())
    }

    fn test(&mut self) -> TestIndex {
        TestIndex(self.small(limits::TESTS - 1))
    }

    fn generation(&mut self) -> Generation {
        Generation(self.small(limits::SMALL_NUMBER))
    }

    fn slot(&mut self) -> SlotNumber {
        SlotNumber(self.small(limits::SLOT_NUMBERS - 1))
    }

    fn labels(&mut self) -> BTreeMap<String, String> {
        self.list(4, |s| (format!("l{}", s.text(limits::LABEL_NAME_BYTES - 1)), s.text(limits::WORD_BYTES)))
            .into_iter()
            .collect()
    }

    fn infra(&mut self) -> InfraCause {
        use InfraCause::*;
        self.pick(&[
            ExecutorLost,
            SpotNotice,
            Drained,
            ArtifactUnavailable,
            SandboxFailed,
            MachineOutOfMemory,
            EnvironmentDiffers,
        ])
    }

    fn text_ref(&mut self) -> TextRef {
        let length = self.small(u32::MAX);
        TextRef { log: self.attempt(), offset: self.within(0, limits::LOG_BYTES - u64::from(length)), length }
    }

    fn framework(&mut self, in_place: bool) -> Framework {
        if self.coin() {
            return match self.within(0, 2) {
                0 => Framework::Pytest,
                1 => Framework::Cargo,
                _ => Framework::Built(Built { list: self.place(in_place), tree: self.place(in_place) }),
            };
        }
        let words = |s: &mut Self| {
            let rest = s.list(5, |s| s.text(300));
            std::iter::once("program".to_owned()).chain(rest).collect()
        };
        Framework::Command(Box::new(SuiteCommands {
            discover: words(self),
            run: words(self),
            id: format!("{{name}}{}", self.text(100)),
            batch_ms: self.within(0, limits::MILLIS),
        }))
    }

    pub fn result(&mut self) -> TestResult {
        use TestCause::*;
        TestResult {
            test: self.test(),
            ordinal: u16::try_from(self.within(0, u64::from(u16::MAX))).unwrap(),
            last: self.coin(),
            outcome: self.pick(&[Outcome::Passed, Outcome::Failed, Outcome::Skipped]),
            detail: self.text(limits::WORD_BYTES),
            cause: self.maybe(|s| s.pick(&[Assertion, Error, Crashed, TimedOut, OverMemory, Poison])),
            phases: std::array::from_fn(|_| self.within(0, limits::MICROS)),
            peak_kib: self.within(0, limits::KIB),
            started_at: self.within(0, limits::MOMENT),
            message: self.text(limits::LINE_BYTES),
            location: self.text(limits::LOCATION_BYTES),
            text: self.maybe(Self::text_ref),
        }
    }

    fn suite_error(&mut self) -> SuiteError {
        SuiteError {
            title: self.text(limits::WORD_BYTES),
            message: self.text(limits::LINE_BYTES),
            text: self.maybe(Self::text_ref),
        }
    }

    fn record(&mut self) -> Record {
        match self.bits() % 5 {
            0 => Record::Missing { test: self.test(), reason: self.text(limits::LINE_BYTES) },
            1 => Record::SuiteError(self.suite_error()),
            2 => Record::Coverage(self.text_ref()),
            _ => Record::Result(self.result()),
        }
    }

    fn end(&mut self) -> EndCause {
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

    fn attempt_report(&mut self, attempt: AttemptId) -> AttemptReport {
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

    fn desired_attempt(&mut self, attempt: AttemptId) -> DesiredAttempt {
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
            environment: EnvironmentNumber(self.small(limits::ENVIRONMENTS as u32) as u16),
        }
    }

    pub fn desired(&mut self) -> Desired {
        let first = self.within(0, limits::NUMBER - 100);
        Desired {
            epoch: Epoch(self.number()),
            version: self.number(),
            attempts: (0..self.within(0, 20)).map(|n| self.desired_attempt(AttemptId(first + n))).collect(),
            runs: self.list(5, Self::id),
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

    pub fn variables(&mut self) -> BTreeMap<String, String> {
        let variables = self.list(5, |s| (format!("V{}", s.text(50).replace('=', "_")), s.text(500)));
        variables.into_iter().collect()
    }

    pub fn secrets(&mut self) -> BTreeMap<String, SecretSource> {
        let source = |s: &mut Self| match s.coin() {
            true => SecretSource::Variable(format!("V{}", s.text(50).replace('=', "_"))),
            false => SecretSource::File(format!("/{}", s.text(50)).into()),
        };
        let secrets = self.list(5, |s| (format!("S{}", s.text(50).replace('=', "_")), source(s)));
        secrets.into_iter().collect()
    }

    /// A path among a run's files.
    pub fn place(&mut self, in_place: bool) -> String {
        format!("{}d{}", if in_place { "/" } else { "" }, self.text(50).replace('/', "_"))
    }

    fn setup(&mut self, in_place: bool) -> Setup {
        let run = std::iter::once("make".to_owned()).chain(self.list(5, |s| s.text(100))).collect();
        Setup { directory: self.place(in_place), run, inputs: self.list(5, |s| s.place(false)) }
    }

    pub fn spec(&mut self) -> RunSpec {
        let in_place = self.coin();
        RunSpec {
            id: self.id(),
            owner: self.text(limits::WORD_BYTES),
            project: self.text(limits::WORD_BYTES),
            priority: i32::from_ne_bytes(self.small(u32::MAX).to_ne_bytes()),
            rev: self.text(limits::WORD_BYTES),
            labels: self.labels(),
            deadline: self.maybe(|s| s.within(0, limits::MOMENT)),
            submitted_at: self.within(0, limits::MOMENT),
            workspace: if in_place {
                Workspace::InPlace {
                    directory: format!("/{}", self.text(200)),
                    content: self.text(limits::WORD_BYTES),
                }
            } else {
                let directory = self.pick(&["", ".", "a", "a/b c/é", "./..a"]).to_owned();
                Workspace::Artifact { digest: self.digest(), directory }
            },
            suite: Suite {
                python: self.text(200),
                variables: self.variables(),
                passed: self.variables(),
                secrets: self.secrets(),
                setup: self.maybe(|s| s.setup(in_place)),
                framework: self.framework(in_place),
                controller: self.maybe(|s| s.coin()),
                ..self.environments(in_place)
            },
            arguments: self.list(10, |s| s.text(300)),
            select: self.list(10, |s| s.text(300)),
            cap_ms: self.within(1, limits::MILLIS),
            test_limit_ms: self.maybe(|s| s.within(1, limits::MILLIS)),
            start_limit_ms: self.maybe(|s| s.within(1, limits::MILLIS)),
            retries: self.small(limits::RETRIES),
            test_losses: self.maybe(Self::some),
            run_losses: self.maybe(Self::some),
            fail_fast: self.maybe(Self::some),
            flaky_fails: self.coin(),
            early_start: self.coin(),
            second_copy: self.coin(),
            grace_ms: self.within(0, limits::MILLIS),
            seed: self.small(u32::MAX),
            orphan_ms: self.maybe(|s| s.within(1, limits::MILLIS)),
            planning: Planning {
                algorithm: self.pick(&[Algorithm::Greedy, Algorithm::Ilp, Algorithm::Auto]),
                limit_ms: self.maybe(|s| s.within(1, limits::MILLIS)),
            },
            isolation: self.pick(&[Isolation::Slot, Isolation::Bundle, Isolation::Test]),
            worker_memory_kib: self.maybe(|s| s.within(1, limits::KIB)),
            first: self.list(10, |s| s.text(300)),
            awaits_judgement: self.coin(),
            branch: self.maybe(|s| Branch {
                name: format!("b{}", s.text(limits::WORD_BYTES - 1)),
                base: s.maybe(|s| format!("b{}", s.text(limits::WORD_BYTES - 1))),
            }),
        }
    }

    /// Any number but none.
    fn some(&mut self) -> u32 {
        u32::try_from(self.within(1, u32::MAX.into())).unwrap()
    }

    fn why(&mut self) -> NotExecuted {
        let infra = NotExecuted::Infra(self.infra());
        use NotExecuted::*;
        self.pick(&[Cancelled, Orphaned, FailFast, UnstableId, infra])
    }

    fn verdict(&mut self) -> Verdict {
        let none = Verdict::NotExecuted(self.why());
        use Verdict::*;
        self.pick(&[Passed, Failed, Skipped, Flaky, Quarantined, none])
    }

    fn counts(&mut self) -> Counts {
        let [total, passed, failed, skipped, flaky, quarantined, not_executed] =
            std::array::from_fn(|_| self.small(limits::TESTS));
        Counts { total, passed, failed, skipped, flaky, quarantined, not_executed }
    }

    pub fn plan(&mut self) -> PlanSummary {
        PlanSummary {
            bundles: self.small(limits::TESTS),
            slots: self.small(limits::SLOT_NUMBERS),
            cap_ms: self.within(0, limits::MILLIS),
            total_ms: self.within(0, limits::MOMENT),
            longest_ms: self.within(0, limits::MOMENT),
            makespan_ms: self.within(0, limits::MOMENT),
            lower_bound: self.small(limits::TESTS),
            bound: self.text(limits::WORD_BYTES),
            unknown: self.small(limits::TESTS),
            oversize: self.small(limits::TESTS),
            planning_ms: self.within(0, limits::MILLIS),
        }
    }

    /// The variants of [`RunEvent`], by number below [`EVENTS`].
    pub fn event(&mut self, variant: u64) -> RunEvent {
        let (attempt, tests) = (self.attempt(), self.small(limits::TESTS));
        match variant {
            0 => RunEvent::RunStarted(Box::new(self.spec())),
            1 => {
                RunEvent::ManifestConfirmed { generation: self.generation(), manifest: self.digest(), tests }
            }
            2 => RunEvent::Plan(self.plan()),
            3 => RunEvent::AttemptAssigned {
                attempt,
                executor: self.id(),
                slot: self.slot(),
                discovery: self.coin(),
                tests,
                copy: self.maybe(|s| SecondCopy { test: s.test(), beside: s.attempt() }),
            },
            4 => {
                let why = self.pick(&[Recall::Idle, Recall::PastCap, Recall::Drained, Recall::Cordoned]);
                RunEvent::TakenBack { attempt, tests, why }
            }
            5 => RunEvent::TestFinished {
                result: self.result(),
                attempt,
                executor: self.id(),
                slot: self.slot(),
                evidence: self.maybe(|s| s.pick(&[Evidence::Predecessor, Evidence::AfterDecision])),
            },
            6 => RunEvent::Verdict { test: self.test(), verdict: self.verdict() },
            7 => RunEvent::TestMissing {
                test: self.test(),
                attempt,
                executor: self.id(),
                reason: self.text(limits::LINE_BYTES),
            },
            8 => RunEvent::SuiteError { error: self.suite_error(), executor: self.maybe(Self::id) },
            9 => RunEvent::AttemptLost {
                attempt,
                executor: self.id(),
                cause: self.infra(),
                message: self.text(limits::LINE_BYTES),
                tests,
                charged: self.list(5, Self::test),
                suspect: self.maybe(Self::test),
                free: self.coin(),
            },
            10 => RunEvent::ExecutorLost { executor: self.id(), cause: self.infra() },
            11 => RunEvent::DiscoveryFailed { message: self.text(limits::REPORT_BYTES) },
            12 => RunEvent::Stopping { reason: self.why() },
            13 => RunEvent::ResultsDiscarded {
                manifest: self.digest(),
                tests: self.list(20, Self::test),
                count: tests,
            },
            14 => RunEvent::Coverage { data: self.text_ref(), executor: self.id(), slot: self.slot() },
            15 => RunEvent::ExecutorDrained {
                executor: self.id(),
                cause: self.infra(),
                why: self.text(limits::WORD_BYTES),
            },
            16 => RunEvent::ExecutorCordoned {
                executor: self.id(),
                sickness: self.pick(&[Sickness::NothingStarts, Sickness::TestsFail]),
                attempts: tests,
                elsewhere: self.small(limits::TESTS),
            },
            17 => RunEvent::ExecutorBack { executor: self.id() },
            18 => RunEvent::JudgementAwaited { verdict: self.run_verdict() },
            _ => self.finished(),
        }
    }

    fn run_verdict(&mut self) -> RunVerdict {
        use RunVerdict::*;
        self.pick(&[Passed, Failed, Incomplete, Cancelled])
    }

    fn finished(&mut self) -> RunEvent {
        RunEvent::RunFinished {
            verdict: self.run_verdict(),
            counts: self.counts(),
            exit_code: self.bits().to_le_bytes()[0],
        }
    }

    /// What a client says of a run.
    pub fn word(&mut self) -> Word {
        let error = |s: &mut Self| SuiteError { text: None, ..s.suite_error() };
        Word { run: self.id(), errors: self.maybe(|s| s.list(limits::JUDGED_ERRORS as u64, error)) }
    }

    pub fn overview(&mut self) -> RunOverview {
        let ended = RunState::Ended {
            verdict: self.run_verdict(),
            exit_code: self.bits().to_le_bytes()[0],
            at: self.within(0, limits::MOMENT),
        };
        RunOverview {
            run: self.id(),
            owner: self.text(limits::WORD_BYTES),
            project: self.text(limits::WORD_BYTES),
            rev: self.text(limits::WORD_BYTES),
            submitted_at: self.within(0, limits::MOMENT),
            rerun_of: self.maybe(Self::id),
            counts: self.counts(),
            suite_errors: self.small(u32::MAX),
            state: self.pick(&[RunState::UnderWay, RunState::BrokenOff, ended]),
        }
    }

    pub fn history(&mut self) -> TestHistory {
        TestHistory {
            tests: self.list(limits::MATCHES as u64, |s| s.text(300)),
            matching: self.small(limits::TESTS),
            typical_us: self.maybe(|s| s.within(0, limits::MOMENT)),
            learned_from: self.small(u32::MAX),
            runs: self.list(limits::SEARCHED_RUNS.into(), Self::past),
            searched: self.small(limits::SEARCHED_RUNS),
        }
    }

    fn past(&mut self) -> PastRun {
        let results = self.small(u32::MAX);
        let last = self.maybe(|s| (s.within(0, limits::MOMENT), s.id()));
        let (micros, executor) = last.unzip();
        PastRun {
            run: self.id(),
            submitted_at: self.within(0, limits::MOMENT),
            verdict: self.verdict(),
            results,
            failed: self.small(results),
            micros,
            executor,
        }
    }

    pub fn item(&mut self) -> StreamItem {
        let variant = self.bits() % EVENTS;
        StreamItem { seq: Seq(self.number()), event: self.event(variant) }
    }

    pub fn watched(&mut self) -> Watched {
        match self.bits() % 3 {
            0 => Watched::Items(self.list(10, Self::item)),
            1 => Watched::Live {
                after: Seq(self.number()),
                slots: self.list(20, |s| LiveSlot {
                    executor: s.id(),
                    slot: s.slot(),
                    test: s.maybe(Self::test),
                }),
            },
            _ => Watched::CaughtUp { after: Seq(self.number()) },
        }
    }
}

pub const EVENTS: u64 = 20;
