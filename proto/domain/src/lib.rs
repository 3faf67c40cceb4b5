//! The vocabulary of Seagull as types: what schedulers, executors, stores and the command all speak of.
//!
//! Nothing here does I/O, reads a clock or draws a random number. The only dependency is serde's derive, because the
//! journal and the snapshot are made of these types.

pub mod environment;
pub mod event;
pub mod found;
pub mod framework;
pub mod id;
pub mod manifest;
pub mod outcome;
pub mod overview;
pub mod resources;
pub mod run;
pub mod secret;
pub mod span;
pub mod suite;
pub mod sync;
pub mod time;
pub mod verdict;
pub mod whereabouts;

pub use environment::{
    Definition, Environment, Hold, ImageUsed, Impossible, Limits, Network, Probe, Ready, Rights, Scope,
    Service, TestContainer,
};
pub use event::{Alone, Evidence, PlanSummary, Recall, RunEvent, SecondCopy, StreamItem};
pub use found::{CameTo, FailureGroup, Ranked, Ranking};
pub use framework::{Built, Framework, SuiteCommands};
pub use id::{
    AttemptId, BootId, BundleId, Digest, EnvironmentNumber, Epoch, ExecutorId, Generation, InvalidId, RunId,
    Seq, SlotIndex, SlotNumber, TestIndex,
};
pub use manifest::{Asked, FileTests, Manifest, Needs, Relation, SkippedModule, WithoutFailures};
pub use outcome::{
    Attachment, Cause, InfraCause, Leftover, Outcome, Sickness, SuiteError, TestCause, TestResult, TextRef,
    Used,
};
pub use overview::{NotPassed, PastRun, RERUN_OF, RunOverview, RunPlace, RunState, TestHistory};
pub use resources::{Resources, Size};
pub use run::{Algorithm, Branch, Isolation, Planning, RunSpec, Workspace};
pub use secret::{SecretSource, is_file_name};
pub use span::Span;
pub use suite::{Setup, Suite};
pub use sync::{
    AttemptReport, AttemptState, Batch, BundleContents, Desired, DesiredAttempt, Discovery, Drain,
    DrainState, EndCause, Entry, Kind, Record, Report, Role, Surroundings, WorkerReport,
};
pub use time::Instant;
pub use verdict::{Counts, Ledger, NotExecuted, RunVerdict, Seen, Verdict};
pub use whereabouts::{Discovering, Silent, Standing, Whereabouts};
