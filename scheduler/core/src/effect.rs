//! What the core asks of its shell, once the facts of the same step are durable.

use seagull_domain::{Desired, Digest, ExecutorId, Generation, RunId, SlotNumber, TestIndex};

use crate::Call;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Answers a held call.
    Answer {
        call: Call,
        desired: Box<Desired>,
    },
    /// Gives up a held call that a newer one replaced, or a report that is out of date.
    Drop {
        call: Call,
    },
    /// Refuses a report for good: a newer process has taken its executor's name, and lives.
    Displaced {
        call: Call,
    },
    /// Answers a submission.
    Submitted {
        request: Call,
        run: RunId,
        attached: bool,
    },
    Refused {
        request: Call,
        refusal: Refusal,
    },
    /// Answers a client that cancels, or judges: it is heard.
    Heard {
        request: Call,
    },
    /// Select, predict and pack the discovered tests for so many slots; the answer is `Planned`. Of the manifest that was
    /// anticipated instead, if one was, it says where its tests are.
    Plan {
        run: RunId,
        generation: Generation,
        discovered: Digest,
        slots: u32,
        anticipated: Option<Digest>,
    },
    /// Plan, for so many slots, what the run's discovery will find if nothing has changed since the last one; the answer
    /// is `Anticipated`. It is not waited for, and not asked again after recovery.
    Anticipate {
        run: RunId,
        slots: u32,
    },
    /// Move an ended run's stream into results; the answer is `Archived`.
    Archive {
        run: RunId,
    },
    /// What a slot runs now; shown live, never kept.
    Live {
        run: RunId,
        executor: ExecutorId,
        slot: SlotNumber,
        test: Option<TestIndex>,
    },
}

/// Why a submission is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The id belongs to a run that differs in the named property.
    Differs(&'static str),
    TooManyRuns,
}
