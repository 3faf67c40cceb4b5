//! What tests print while they run.

use seagull_domain::{AttemptId, ExecutorId, RunId, SlotNumber};

use super::Invalid;
use super::scalar::{self, Checked};
use crate::{limits, v1};

/// What a test has printed since it began, or a piece of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printed {
    pub executor: ExecutorId,
    pub slot: SlotNumber,
    pub attempt: AttemptId,
    /// Its id, which may be cut.
    pub test: String,
    /// Where the text begins in all that its execution has printed.
    pub offset: u64,
    pub text: String,
}

impl Printed {
    /// Whether this is about an execution of a test with that id.
    pub fn is_of(&self, id: &str) -> bool {
        self.test == id
            || (id.len() > limits::PATH_BYTES
                && self.test == scalar::fitted(id.to_owned(), limits::PATH_BYTES))
    }
}

/// A call of `TellOutput`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputTold {
    pub run: RunId,
    pub printed: Printed,
}

impl From<Printed> for v1::Printed {
    fn from(printed: Printed) -> Self {
        Self {
            executor: printed.executor.into(),
            slot: printed.slot.0,
            attempt: printed.attempt.0,
            test: scalar::fitted(printed.test, limits::PATH_BYTES),
            offset: printed.offset.min(limits::LOG_BYTES),
            text: scalar::fitted(printed.text, limits::CHUNK_BYTES),
        }
    }
}

impl TryFrom<v1::Printed> for Printed {
    type Error = Invalid;

    fn try_from(message: v1::Printed) -> Checked<Self> {
        Ok(Self {
            executor: scalar::id(message.executor, "Printed.executor")?,
            slot: scalar::slot_number(message.slot, "Printed.slot")?,
            attempt: scalar::attempt(message.attempt, "Printed.attempt")?,
            test: scalar::text(message.test, limits::PATH_BYTES, "Printed.test")?,
            offset: scalar::at_most(message.offset, limits::LOG_BYTES, "Printed.offset")?,
            text: scalar::text(message.text, limits::CHUNK_BYTES, "Printed.text")?,
        })
    }
}

impl From<OutputTold> for v1::OutputTold {
    fn from(told: OutputTold) -> Self {
        Self { run: told.run.into(), printed: Some(told.printed.into()) }
    }
}

impl TryFrom<v1::OutputTold> for OutputTold {
    type Error = Invalid;

    fn try_from(message: v1::OutputTold) -> Checked<Self> {
        Ok(Self {
            run: scalar::id(message.run, "OutputTold.run")?,
            printed: scalar::required(message.printed, "OutputTold.printed")?.try_into()?,
        })
    }
}
