//! Asking where a test is.

use seagull_domain::{AttemptId, ExecutorId, RunId, SlotNumber, TestIndex, Whereabouts};

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
            Whereabouts::Queued { behind, slots, runs } => {
                Place::Queued(v1::QueuedTest { behind: behind.min(limits::TESTS), slots, runs })
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
            Place::Queued(v1::QueuedTest { behind, slots, runs }) => {
                let behind = scalar::at_most(behind, limits::TESTS, "QueuedTest.behind")?;
                Whereabouts::Queued { behind, slots, runs }
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
