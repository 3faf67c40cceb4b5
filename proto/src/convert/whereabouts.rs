//! Asking where a test is, and what a run waits for.

use seagull_domain::{
    AttemptId, Discovering, ExecutorId, RunId, Silent, SlotNumber, Standing, TestIndex, Whereabouts,
};

use super::Invalid;
use super::scalar::{self, Checked};
use crate::v1::find_test_response::Place;
use crate::{limits, v1};

/// A call of `FindTest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestAsked {
    pub run: RunId,
    pub test: TestIndex,
}

impl From<TestAsked> for v1::FindTestRequest {
    fn from(asked: TestAsked) -> Self {
        Self { run: asked.run.into(), test: asked.test.0 }
    }
}

impl TryFrom<v1::FindTestRequest> for TestAsked {
    type Error = Invalid;

    fn try_from(message: v1::FindTestRequest) -> Checked<Self> {
        Ok(Self {
            run: scalar::id(message.run, "FindTestRequest.run")?,
            test: scalar::test(message.test, "FindTestRequest.test")?,
        })
    }
}

impl From<Whereabouts> for v1::FindTestResponse {
    fn from(whereabouts: Whereabouts) -> Self {
        let at = |attempt: AttemptId, executor: ExecutorId, slot: SlotNumber| {
            Some(v1::AttemptPlace { attempt: attempt.0, executor: executor.into(), slot: slot.0 })
        };
        let place = match whereabouts {
            Whereabouts::Running { attempt, executor, slot, millis } => Place::Running(v1::RunningTest {
                at: at(attempt, executor, slot),
                millis: millis.min(limits::MILLIS),
            }),
            Whereabouts::Next { attempt, executor, slot, behind } => Place::Next(v1::NextTest {
                at: at(attempt, executor, slot),
                behind: behind.min(limits::TESTS),
            }),
            Whereabouts::Queued { behind, slots, avoided, runs } => {
                Place::Queued(v1::QueuedTest { behind: behind.min(limits::TESTS), slots, avoided, runs })
            }
        };
        Self { place: Some(place) }
    }
}

impl TryFrom<v1::FindTestResponse> for Whereabouts {
    type Error = Invalid;

    fn try_from(message: v1::FindTestResponse) -> Checked<Self> {
        Ok(match scalar::required(message.place, "FindTestResponse.place")? {
            Place::Running(running) => {
                let (attempt, executor, slot) = place(running.at, "RunningTest.at")?;
                let millis = scalar::at_most(running.millis, limits::MILLIS, "RunningTest.millis")?;
                Whereabouts::Running { attempt, executor, slot, millis }
            }
            Place::Next(next) => {
                let (attempt, executor, slot) = place(next.at, "NextTest.at")?;
                let behind = scalar::at_most(next.behind, limits::TESTS, "NextTest.behind")?;
                Whereabouts::Next { attempt, executor, slot, behind }
            }
            Place::Queued(v1::QueuedTest { behind, slots, avoided, runs }) => {
                let behind = scalar::at_most(behind, limits::TESTS, "QueuedTest.behind")?;
                Whereabouts::Queued { behind, slots, avoided, runs }
            }
        })
    }
}

fn place(
    message: Option<v1::AttemptPlace>,
    field: &'static str,
) -> Checked<(AttemptId, ExecutorId, SlotNumber)> {
    let v1::AttemptPlace { attempt, executor, slot } = scalar::required(message, field)?;
    Ok((
        scalar::attempt(attempt, "AttemptPlace.attempt")?,
        scalar::id(executor, "AttemptPlace.executor")?,
        scalar::slot_number(slot, "AttemptPlace.slot")?,
    ))
}

impl From<Standing> for v1::Standing {
    fn from(standing: Standing) -> Self {
        let bounded = |tests: u32| tests.min(limits::TESTS);
        let millis = |millis: u64| millis.min(limits::MILLIS);
        let silent = standing.silent.into_iter().take(limits::SILENT).map(|silent| v1::SilentExecutor {
            executor: silent.executor.into(),
            millis: millis(silent.millis),
            left_millis: millis(silent.left_ms),
        });
        Self {
            running: bounded(standing.running),
            next: bounded(standing.next),
            queued: bounded(standing.queued),
            suspects: bounded(standing.suspects),
            followers: bounded(standing.followers),
            barred: bounded(standing.barred),
            discovering: standing
                .discovering
                .map(|at| v1::Discovering { executor: at.executor.into(), millis: at.millis.map(millis) }),
            silent: silent.collect(),
            disk_is_full: standing.disk_is_full,
        }
    }
}

impl TryFrom<v1::Standing> for Standing {
    type Error = Invalid;

    fn try_from(message: v1::Standing) -> Checked<Self> {
        let tests = |tests, field| scalar::at_most(tests, limits::TESTS, field);
        let field = "Standing.silent";
        Ok(Self {
            running: tests(message.running, "Standing.running")?,
            next: tests(message.next, "Standing.next")?,
            queued: tests(message.queued, "Standing.queued")?,
            suspects: tests(message.suspects, "Standing.suspects")?,
            followers: tests(message.followers, "Standing.followers")?,
            barred: tests(message.barred, "Standing.barred")?,
            discovering: message.discovering.map(discovering).transpose()?,
            silent: scalar::list(message.silent, limits::SILENT, field, silent)?,
            disk_is_full: message.disk_is_full,
        })
    }
}

fn discovering(message: v1::Discovering) -> Checked<Discovering> {
    let bounded = |millis| scalar::at_most(millis, limits::MILLIS, "Discovering.millis");
    let executor = scalar::id(message.executor, "Discovering.executor")?;
    Ok(Discovering { executor, millis: message.millis.map(bounded).transpose()? })
}

fn silent(message: v1::SilentExecutor) -> Checked<Silent> {
    Ok(Silent {
        executor: scalar::id(message.executor, "SilentExecutor.executor")?,
        millis: scalar::at_most(message.millis, limits::MILLIS, "SilentExecutor.millis")?,
        left_ms: scalar::at_most(message.left_millis, limits::MILLIS, "SilentExecutor.left_millis")?,
    })
}
