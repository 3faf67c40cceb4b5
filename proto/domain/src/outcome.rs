//! What one execution of a test came to, and why.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{AttemptId, Digest, TestIndex};

/// The outcome of one execution of a test. The framework's own word is kept in [`TestResult::detail`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// Why a test failed. Charged to the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestCause {
    /// An assertion of the test was false.
    Assertion,
    /// Anything else that was raised in setup, call or teardown.
    Error,
    /// The worker died under the test while its executor lived.
    Crashed,
    /// The test ran past its limit and was killed.
    TimedOut,
    /// The test was over its memory limit, in the larger slot too.
    OverMemory,
    /// Its sandbox had written more than it may while the test ran, in the larger slot too.
    OverDisk,
    /// The test kills the executors it runs on.
    Poison,
}

/// Why something could not be executed where it was. Never charged to the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InfraCause {
    ExecutorLost,
    SpotNotice,
    Drained,
    ArtifactUnavailable,
    SandboxFailed,
    MachineOutOfMemory,
    /// The executor cannot collect a test of the manifest.
    EnvironmentDiffers,
}

/// Why a run gives an executor nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sickness {
    /// What it is given comes back with nothing done, while elsewhere something begins.
    NothingStarts,
    /// Most tests fail there, while elsewhere most do not.
    TestsFail,
}

/// Either kind of cause, for events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    Test(TestCause),
    Infra(InfraCause),
}

/// Where a text lies: a range of bytes in the log of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TextRef {
    pub log: AttemptId,
    pub offset: u64,
    pub length: u32,
}

/// The outcome of one execution of a test, known by (attempt, test, ordinal). At most 4 KiB; its text is in a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestResult {
    pub test: TestIndex,
    /// Which execution of the test within the attempt, from 0; more than one only where a plugin reruns tests itself.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ordinal: u16,
    /// Whether the attempt is done with the test.
    pub last: bool,
    pub outcome: Outcome,
    /// The framework's own word, where it says more than the outcome (`xfailed`, `xpassed`, `error at setup`).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<TestCause>,
    /// Microseconds of setup, call and teardown.
    pub phases: [u64; 3],
    /// The worker's peak resident memory after the test, in KiB, or of all in its sandbox together, if that was over its
    /// limit; 0 where unknown.
    #[serde(default)]
    pub peak_kib: u64,
    /// What it took of cores, with its children that ended, in microseconds; 0 where unknown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cpu_us: u64,
    /// When it started, in Unix milliseconds by its executor's clock; 0 where unknown.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub started_at: u64,
    /// The first line of what went wrong.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// `file:line` of what went wrong.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub location: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextRef>,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

impl TestResult {
    /// Microseconds from the start of setup to the end of teardown.
    pub fn micros(&self) -> u64 {
        self.phases.iter().sum()
    }
}

/// Processes that outlived their worker's session and had to be killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// The command line that they have in common, or how it begins; empty where these are all the others.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub command: String,
    pub processes: u32,
    /// The TCP ports at which they listened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// The framework's own word for the part of the test in which they began; empty where that is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub phase: String,
}

/// What an attempt took of its machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Of the processor.
    pub cpu_us: u64,
    /// The most memory that was held at a time so far, by the worker that ended it: what it had for other attempts before
    /// is in it.
    pub peak_kib: u64,
    /// Whether all its processes are counted, by a control group; else it is what its tests are known to have taken.
    pub whole: bool,
}

/// A file that a test left for whoever looks into it: a screenshot, a trace, a core dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// A relative path, as the test called it.
    pub name: String,
    /// Of the file itself.
    pub bytes: u64,
    /// The file, packed; None where it was not kept, because it, or what waits for the store, is too much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<Digest>,
}

impl Attachment {
    /// Whether a file may be called so wherever attachments are brought: no path leads out of its directory.
    pub fn is_name(name: &str) -> bool {
        let is_plain = |part: &str| !matches!(part, "" | "." | "..");
        !name.contains(['\0', '\\']) && name.split('/').all(is_plain)
    }
}

/// An error outside a test's own phases. Makes its run `failed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuiteError {
    /// What failed, in a few words (`session fixture teardown`).
    pub title: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextRef>,
}

macro_rules! words {
    ($name:ident { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $name {
            /// The word for it in events, reports and on screen.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}
pub(crate) use words;

words!(Outcome { Passed => "passed", Failed => "failed", Skipped => "skipped" });
words!(TestCause {
    Assertion => "assertion",
    Error => "error",
    Crashed => "crashed",
    TimedOut => "timed out",
    OverMemory => "over its memory limit",
    OverDisk => "over its disk limit",
    Poison => "poison",
});
words!(InfraCause {
    ExecutorLost => "executor lost",
    SpotNotice => "spot notice",
    Drained => "drained",
    ArtifactUnavailable => "artifact unavailable",
    SandboxFailed => "sandbox failed",
    MachineOutOfMemory => "machine out of memory",
    EnvironmentDiffers => "environment differs",
});

words!(Sickness { NothingStarts => "nothing starts", TestsFail => "tests fail" });

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Test(cause) => cause.fmt(f),
            Self::Infra(cause) => cause.fmt(f),
        }
    }
}

impl InfraCause {
    /// Whether it is paid from the budget; what was announced (a drain, a spot notice) costs none.
    pub fn is_charged(self) -> bool {
        !matches!(self, Self::SpotNotice | Self::Drained)
    }
}
