//! What clients ask for, and what they are told of runs.

use std::collections::BTreeMap;

use seagull_domain::*;
use seagull_proto::convert::{LiveSlot, Printed, Watched, Word};
use seagull_proto::limits;

use super::Source;

/// How many variants [`RunEvent`] has.
pub const EVENTS: u64 = 25;
const EVIDENCE: [Evidence; 4] =
    [Evidence::Predecessor, Evidence::AfterDecision, Evidence::FirstMemoryKill, Evidence::FirstDiskKill];

impl Source {
    pub fn framework(&mut self, in_place: bool) -> Framework {
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

    pub fn setup(&mut self, in_place: bool) -> Setup {
        let run = std::iter::once("make".to_owned()).chain(self.list(5, |s| s.text(100))).collect();
        Setup { directory: self.place(in_place), run, inputs: self.list(5, |s| s.place(false)) }
    }

    pub fn spec(&mut self) -> RunSpec {
        let in_place = self.coin();
        let framework = self.framework(in_place);
        let is_pytest = framework == Framework::Pytest;
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
                framework,
                controller: self.maybe(|s| s.coin()),
                attachments: self.list(3, |s| s.pick(&["core*", "shots/**/*.png"]).to_owned()),
                ..self.environments(in_place, is_pytest)
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
            hold_ms: self.maybe(|s| s.within(1, limits::MILLIS)),
            first: self.list(10, |s| s.text(300)),
            awaits_judgement: self.coin(),
            branch: self.maybe(|s| Branch {
                name: format!("b{}", s.text(limits::WORD_BYTES - 1)),
                base: s.maybe(|s| format!("b{}", s.text(limits::WORD_BYTES - 1))),
            }),
        }
    }

    /// Any number but none.
    pub fn some(&mut self) -> u32 {
        u32::try_from(self.within(1, u32::MAX.into())).unwrap()
    }

    pub fn why(&mut self) -> NotExecuted {
        let infra = NotExecuted::Infra(self.infra());
        use NotExecuted::*;
        self.pick(&[Cancelled, Orphaned, FailFast, UnstableId, infra])
    }

    pub fn verdict(&mut self) -> Verdict {
        let none = Verdict::NotExecuted(self.why());
        use Verdict::*;
        self.pick(&[Passed, Failed, Skipped, Flaky, Quarantined, none])
    }

    pub fn counts(&mut self) -> Counts {
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
                evidence: self.maybe(|s| s.pick(&EVIDENCE)),
            },
            6 => RunEvent::Verdict { test: self.test(), verdict: self.verdict() },
            7 => RunEvent::TestMissing {
                test: self.test(),
                attempt,
                executor: self.id(),
                reason: self.text(limits::LINE_BYTES),
            },
            8 => RunEvent::SuiteError { error: self.suite_error(), executor: self.maybe(Self::id) },
            9 => self.attempt_lost(attempt, tests),
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
            19 => RunEvent::Attached {
                test: self.maybe(Self::test),
                file: self.attachment(),
                attempt,
                executor: self.id(),
                slot: self.slot(),
            },
            20 => self.images(attempt),
            21 => self.held(attempt),
            22 => self.cut_off(attempt),
            23 => RunEvent::Left {
                test: self.maybe(Self::test),
                left: self.leftover(),
                attempt,
                executor: self.id(),
                slot: self.slot(),
            },
            24 => RunEvent::Used { used: self.used(), attempt, executor: self.id(), slot: self.slot() },
            _ => self.finished(),
        }
    }

    fn cut_off(&mut self, attempt: AttemptId) -> RunEvent {
        RunEvent::TestCutOff {
            test: self.test(),
            attempt,
            executor: self.id(),
            ran_ms: self.within(0, limits::MILLIS),
            cause: self.maybe(Self::infra),
        }
    }

    fn held(&mut self, attempt: AttemptId) -> RunEvent {
        RunEvent::Held {
            test: self.maybe(Self::test),
            hold: self.hold(),
            attempt,
            executor: self.id(),
            slot: self.slot(),
        }
    }

    fn images(&mut self, attempt: AttemptId) -> RunEvent {
        RunEvent::Images {
            images: self.list(3, Self::image_used),
            attempt,
            executor: self.id(),
            slot: self.slot(),
        }
    }

    fn attempt_lost(&mut self, attempt: AttemptId, tests: u32) -> RunEvent {
        RunEvent::AttemptLost {
            attempt,
            executor: self.id(),
            cause: self.infra(),
            message: self.text(limits::LINE_BYTES),
            tests,
            charged: self.list(5, Self::test),
            suspect: self.maybe(Self::test),
            alone: self
                .maybe(|s| Alone { ms: s.maybe(|s| s.within(0, limits::MILLIS)), chance: s.small(1000) }),
            free: self.coin(),
        }
    }

    pub fn run_verdict(&mut self) -> RunVerdict {
        use RunVerdict::*;
        self.pick(&[Passed, Failed, Incomplete, Cancelled])
    }

    pub fn finished(&mut self) -> RunEvent {
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

    pub fn ranked(&mut self) -> Ranked {
        Ranked {
            test: self.text(300),
            runs: self.small(u32::MAX),
            count: self.small(u32::MAX),
            micros: self.maybe(|s| s.within(0, limits::MOMENT)),
            before: self.maybe(|s| s.within(0, limits::MOMENT)),
        }
    }

    pub fn failures(&mut self) -> FailureGroup {
        let failures = self.small(u32::MAX);
        FailureGroup {
            fingerprint: self.text(limits::WORD_BYTES),
            failures,
            tests: self.small(failures),
            message: self.text(limits::LINE_BYTES),
            location: self.text(limits::LOCATION_BYTES),
            test: self.text(300),
            run: self.id(),
            at: self.within(0, limits::MOMENT),
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
            behind: self.small(limits::SEARCHED_RUNS),
        }
    }

    pub fn past(&mut self) -> PastRun {
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
        match self.bits() % 4 {
            0 => Watched::Items(self.list(10, Self::item)),
            1 => Watched::Live {
                after: Seq(self.number()),
                slots: self.list(20, |s| LiveSlot {
                    executor: s.id(),
                    slot: s.slot(),
                    test: s.maybe(Self::test),
                }),
                word: self.text(256),
            },
            2 => Watched::Printed(self.printed()),
            _ => Watched::CaughtUp { after: Seq(self.number()) },
        }
    }

    pub fn printed(&mut self) -> Printed {
        Printed {
            executor: self.id(),
            slot: self.slot(),
            attempt: AttemptId(self.number()),
            test: self.text(limits::PATH_BYTES),
            offset: self.within(0, limits::LOG_BYTES),
            text: self.text(3000),
        }
    }
}
