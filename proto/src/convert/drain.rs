//! Asking executors to leave.

use seagull_domain::{DrainState, ExecutorId};

use super::Invalid;
use super::scalar::{self, Checked};
use super::words::{self, Word};
use crate::{limits, v1};

/// A call of `Drain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainAsked {
    pub executors: Vec<ExecutorId>,
    /// Within how many milliseconds each has to have left.
    pub limit_ms: u64,
}

impl From<DrainAsked> for v1::DrainRequest {
    fn from(asked: DrainAsked) -> Self {
        let executors = asked.executors.into_iter().map(Into::into).collect();
        Self { executors, limit_ms: asked.limit_ms.min(limits::MILLIS) }
    }
}

impl TryFrom<v1::DrainRequest> for DrainAsked {
    type Error = Invalid;

    fn try_from(message: v1::DrainRequest) -> Checked<Self> {
        let field = "DrainRequest.executors";
        if message.executors.is_empty() {
            return Err(Invalid::new(field, "is empty"));
        }
        Ok(Self {
            executors: scalar::list(message.executors, limits::DRAINED, field, |id| scalar::id(id, field))?,
            limit_ms: scalar::at_most(message.limit_ms, limits::MILLIS, "DrainRequest.limit_ms")?,
        })
    }
}

impl From<Vec<DrainState>> for v1::DrainResponse {
    fn from(states: Vec<DrainState>) -> Self {
        Self { states: states.into_iter().map(Word::number).collect() }
    }
}

impl TryFrom<v1::DrainResponse> for Vec<DrainState> {
    type Error = Invalid;

    fn try_from(message: v1::DrainResponse) -> Checked<Self> {
        let field = "DrainResponse.states";
        scalar::list(message.states, limits::DRAINED, field, |state| words::word(state, field))
    }
}
