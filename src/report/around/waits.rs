//! Why a test has no verdict yet, and where it waits.

use seagull_domain::{ExecutorId, Outcome, Silent, Whereabouts};
use serde::Serialize;

use super::story::{Behind, Story};
use crate::report::text::{count, millis, one_line};

const WIDTH: usize = 200;

/// Where it waits.
#[derive(Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum PlaceObject<'a> {
    Running { attempt: u64, executor: &'a str, slot: u32, seconds: f64 },
    Next { attempt: u64, executor: &'a str, slot: u32, tests_before: u32 },
    Queued { bundles_before: u32, slots: u32, avoided_slots: u32, other_runs: u32 },
}

/// An executor that is not heard of.
#[derive(Serialize)]
pub struct SilentObject<'a> {
    executor: &'a str,
    seconds: f64,
    lost_in_seconds: f64,
}

impl<'a> SilentObject<'a> {
    pub fn of(silent: &'a Silent) -> SilentObject<'a> {
        SilentObject {
            executor: silent.executor.as_str(),
            seconds: silent.millis as f64 / 1e3,
            lost_in_seconds: silent.left_ms as f64 / 1e3,
        }
    }
}

pub fn unheard(Silent { executor, millis: silent, left_ms }: &Silent) -> String {
    let (silent, left) = (millis(*silent), millis(*left_ms));
    format!("{executor} was not heard of for {silent}: if that goes on it is lost in {left}")
}

/// `1 slot is`, `2 slots are`
pub fn are(number: u32, thing: &str) -> String {
    format!("{} {}", count(number, thing), if number == 1 { "is" } else { "are" })
}

/// Why it has no verdict yet: what became of it before, and where it is now.
pub fn waits(story: &Story) -> String {
    if let (Some(Behind { id, poison: false }), Some(Whereabouts::Queued { .. })) =
        (&story.behind, &story.whereabouts)
    {
        let id = one_line(id, WIDTH);
        return format!("it waits until {id} has a result, which it needs before it and which is a suspect");
    }
    let parts = [before(story), story.whereabouts.as_ref().map(now), story.silent.as_ref().map(unheard)];
    let told = parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
    match told.is_empty() {
        false => told,
        true if story.is_of_another_process => {
            "it has no result yet; the run is under way in another process here, whose screen shows what runs"
                .to_owned()
        }
        true => "the run has not ended, and it has no result yet".to_owned(),
    }
}

/// The executor that has it.
pub fn holder(whereabouts: &Whereabouts) -> Option<&ExecutorId> {
    match whereabouts {
        Whereabouts::Running { executor, .. } | Whereabouts::Next { executor, .. } => Some(executor),
        Whereabouts::Queued { .. } => None,
    }
}

fn now(whereabouts: &Whereabouts) -> String {
    match whereabouts {
        Whereabouts::Running { attempt, executor, slot, millis: taken } => {
            let since = millis(*taken);
            format!("it is running on {executor}, slot {slot}, attempt {attempt}, for at least {since}")
        }
        Whereabouts::Next { attempt, executor, slot, behind: 0 } => {
            format!("it is next on {executor}, slot {slot}, attempt {attempt}")
        }
        Whereabouts::Next { attempt, executor, slot, behind } => {
            let behind = count(*behind, "test");
            format!("it waits on {executor}, slot {slot}, attempt {attempt}, behind {behind}")
        }
        Whereabouts::Queued { slots: 0, .. } => {
            "no executor is there that takes it and is large enough".to_owned()
        }
        Whereabouts::Queued { behind, slots, avoided, runs } => {
            let before = match behind {
                0 => "it is the next of its run".to_owned(),
                more => format!("it is behind {} of its run", count(*more, "bundle")),
            };
            let runs = match runs {
                0 => "",
                _ => ", where other runs have something too",
            };
            let avoided = match avoided {
                0 => String::new(),
                more => format!("; it avoids {more} more where it was before"),
            };
            format!("it waits for a slot: {before}; {} there{runs}{avoided}", are(*slots, "slot"))
        }
    }
}

/// What of its past keeps it waiting, as far as the stream tells.
fn before(story: &Story) -> Option<String> {
    let failed = story.executions.iter().any(|execution| execution.result.outcome == Outcome::Failed);
    let runs = matches!(story.whereabouts, Some(Whereabouts::Running { .. }));
    let again = if runs { "" } else { ", and is to run again elsewhere" };
    match (&story.suspect, story.paid.last()) {
        (Some(executor), _) if runs => Some(format!("it was in flight when {executor} was lost")),
        (Some(executor), _) => Some(format!(
            "it waits as a suspect: it was in flight when {executor} was lost, and runs again alone, when its \
             run has nothing else to give out"
        )),
        (None, _) if failed => Some(format!("it failed{again}")),
        (None, Some(loss)) => Some(format!("it came to nothing in attempt {}{again}", loss.attempt)),
        (None, None) => None,
    }
}

pub fn place_object(whereabouts: &Whereabouts) -> PlaceObject<'_> {
    match whereabouts {
        Whereabouts::Running { attempt, executor, slot, millis } => PlaceObject::Running {
            attempt: attempt.0,
            executor: executor.as_str(),
            slot: slot.0,
            seconds: *millis as f64 / 1e3,
        },
        Whereabouts::Next { attempt, executor, slot, behind } => PlaceObject::Next {
            attempt: attempt.0,
            executor: executor.as_str(),
            slot: slot.0,
            tests_before: *behind,
        },
        Whereabouts::Queued { behind, slots, avoided, runs } => PlaceObject::Queued {
            bundles_before: *behind,
            slots: *slots,
            avoided_slots: *avoided,
            other_runs: *runs,
        },
    }
}
