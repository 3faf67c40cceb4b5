//! How what lived in a sandbox ended; also the supervisor's last line.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The end of a sandbox: when this is known, no process of it is left and its directories are gone, but for what
/// `surviving` and `directory_left` say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    pub end: End,
    pub usage: Usage,
    /// Processes other than the main one that had to be killed.
    pub leftovers: u32,
    /// Processes that could not be killed.
    pub surviving: u32,
    /// Why a directory of the sandbox could not be removed.
    pub directory_left: Option<String>,
    /// Whether the kernel has killed something of it for want of memory; only where somebody counts.
    #[serde(default)]
    pub out_of_memory: Option<OutOfMemory>,
    /// How much was written in it, in bytes, where it was killed because that was more than it may have.
    #[serde(default)]
    pub over_disk: Option<u64>,
    /// What was still there a moment after the main process had ended by itself, and was killed.
    #[serde(default)]
    pub left: Vec<Left>,
}

/// Processes of one command line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// How that begins; empty where these are all the others.
    pub command: String,
    pub processes: u32,
    /// The TCP ports at which they listened.
    pub ports: Vec<u16>,
    /// What they were told, when they began, of the test that ran: `PYTEST_CURRENT_TEST`.
    pub during: String,
}

/// Whose memory there was no more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutOfMemory {
    /// All of the sandbox together had what it may have.
    Limit,
    Machine,
}

/// The end of the main process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Code(i32),
    Signal(i32),
    /// The command could not be started, and why.
    NotStarted(String),
    /// The supervisor died first, so how the main process would have ended is unknown. It was killed.
    SupervisorLost,
    /// The sandbox is gone, or nobody can tell, for a reason that is none of what lived in it.
    SandboxLost(String),
}

/// What the processes of a sandbox used together, as far as they were waited for.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Usage {
    pub user_seconds: f64,
    pub system_seconds: f64,
    /// Resident bytes at the peak: of all together where somebody counts, else of the largest process.
    pub peak_bytes: u64,
}

impl Exit {
    pub(crate) fn of(end: End) -> Self {
        Self {
            end,
            usage: Usage::default(),
            leftovers: 0,
            surviving: 0,
            directory_left: None,
            out_of_memory: None,
            over_disk: None,
            left: Vec::new(),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Code(code) => write!(f, "exit code {code}"),
            End::Signal(signal) => write!(f, "signal {signal}"),
            End::NotStarted(reason) => write!(f, "not started: {reason}"),
            End::SupervisorLost => f.write_str("the death of its supervisor"),
            End::SandboxLost(why) => write!(f, "the loss of its sandbox: {why}"),
        }
    }
}
