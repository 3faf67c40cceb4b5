//! Our errors as gRPC statuses, in one place.

use tonic::{Code, Status};

use crate::{Invalid, Unsupported};

const BROKEN_OFF: &str = "the run has broken off: its process is gone";

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
    Status::failed_precondition(format!(
        "{BROKEN_OFF}\nhint: it goes on by the same command with its --run-id"
    ))
}

/// Whether it is [`broken_off`], on the client's side.
pub fn is_broken_off(status: &Status) -> bool {
    status.code() == Code::FailedPrecondition && status.message().starts_with(BROKEN_OFF)
}

/// A report of an executor whose name a newer process has taken.
pub fn displaced() -> Status {
    Status::failed_precondition(
        "another process has taken this executor's name\nhint: give each executor a name of its own, with --id",
    )
}

/// Whether a held call was given up because a newer one of the same executor took its place.
pub fn superseded() -> Status {
    Status::aborted("superseded by a newer report")
}
