//! The vocabulary of Seagull as types: what schedulers, executors, stores and the command all speak of.
//!
//! Nothing here does I/O, reads a clock or draws a random number. The only dependency is serde's derive, because the
//! journal and the snapshot are made of these types.

pub mod event;
pub mod id;
pub mod manifest;
pub mod outcome;
pub mod run;
pub mod sync;
pub mod time;
pub mod verdict;

pub use event::{Evidence, PlanSummary, RunEvent, StreamItem};
pub use id::{
    AttemptId, BootId, BundleId, Digest, Epoch, ExecutorId, Generation, InvalidId, RunId, Seq, SlotIndex,
    SlotNumber, TestIndex,
};
pub use manifest::{FileTests, Manifest, Relation, SkippedModule};
pub use outcome::{Cause, InfraCause, Outcome, SuiteError, TestCause, TestResult, TextRef};
pub use run::{Environment, RunSpec, Workspace};
pub use sync::{
    AttemptReport, AttemptState, Batch, BundleContents, Desired, DesiredAttempt, Discovery, EndCause, Entry,
    Kind, Record, Report, Role, WorkerReport,
};
pub use time::Instant;
pub use verdict::{Counts, Ledger, NotExecuted, RunVerdict, Seen, Verdict};
