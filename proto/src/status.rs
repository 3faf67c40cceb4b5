//! Our errors as gRPC statuses, in one place.

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::{Invalid, Unsupported};

/// Where a status says for programs what its words say for people.
const REASON: &str = "seagull-reason";
const BROKEN_OFF: &str = "broken-off";
const OUT_OF_REACH: &str = "out-of-reach";

impl From<Invalid> for Status {
    fn from(invalid: Invalid) -> Status {
        Status::invalid_argument(invalid.to_string())
    }
}

impl From<Unsupported> for Status {
    fn from(unsupported: Unsupported) -> Status {
        Status::failed_precondition(unsupported.to_string())
    }
}

/// A submission whose id belongs to a run that differs in `difference`.
pub fn run_differs(difference: &str) -> Status {
    Status::already_exists(difference)
}

/// The difference that [`run_differs`] named, on the client's side.
pub fn difference(status: &Status) -> Option<&str> {
    (status.code() == Code::AlreadyExists).then(|| status.message())
}

/// A watcher has had all there is of an embedded run whose process is gone.
pub fn broken_off() -> Status {
    let words =
        "the run has broken off: its process is gone\nhint: it goes on by the same command with its --run-id";
    with_reason(Status::failed_precondition(words), BROKEN_OFF)
}

fn with_reason(mut status: Status, reason: &'static str) -> Status {
    status.metadata_mut().insert(REASON, MetadataValue::from_static(reason));
    status
}

fn has_reason(status: &Status, reason: &str) -> bool {
    status.metadata().get(REASON).is_some_and(|said| said == reason)
}

/// Whether it is [`broken_off`], on the client's side.
pub fn is_broken_off(status: &Status) -> bool {
    has_reason(status, BROKEN_OFF)
}

/// What is asked for is kept where the scheduler cannot read it at the moment, of which `said` tells.
pub fn out_of_reach(said: impl Into<String>) -> Status {
    with_reason(Status::unavailable(said), OUT_OF_REACH)
}

/// Whether it is [`out_of_reach`], on the client's side: the scheduler has tried for a while.
pub fn is_out_of_reach(status: &Status) -> bool {
    has_reason(status, OUT_OF_REACH)
}

/// A report of an executor whose name a newer process has taken.
pub fn displaced() -> Status {
    Status::failed_precondition(
        "another process has taken this executor's name\nhint: give each executor a name of its own, with --id",
    )
}

/// A scheduler that has no room on its disk keeps nothing, and so takes nothing.
pub fn stands_still() -> Status {
    Status::failed_precondition(
        "its disk is full, and it stands still until there is room\n\
         hint: make room on the disk of the scheduler's state directory; it goes on by itself then",
    )
}

/// Whether a held call was given up because a newer one of the same executor took its place.
pub fn superseded() -> Status {
    Status::aborted("superseded by a newer report")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_broke_off_is_known_by_no_words() {
        let status = broken_off();
        let reworded = Status::with_metadata(status.code(), "it has ended early", status.metadata().clone());
        assert!(is_broken_off(&reworded));
        assert!(!is_broken_off(&Status::failed_precondition(status.message())));
    }
}
