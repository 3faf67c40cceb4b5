//! Enums without data.

use seagull_domain::{
    Algorithm, DrainState, Evidence, InfraCause, Isolation, Kind, Network, Outcome, Ranking, Recall, Role,
    RunVerdict, Scope, Sickness, TestCause,
};

use super::Invalid;
use super::scalar::Checked;
use crate::v1;

/// An enum that has a wire number for each of its values.
pub(super) trait Word: Sized {
    fn number(self) -> i32;
    fn of(number: i32) -> Option<Self>;
}

pub(super) fn word<W: Word>(number: i32, field: &'static str) -> Checked<W> {
    W::of(number).ok_or_else(|| match number {
        0 => Invalid::new(field, "is not set"),
        _ => Invalid::new(field, format!("has the unknown value {number}")),
    })
}

/// A word of which "not set" is a legal value.
pub(super) fn optional<W: Word>(number: i32, field: &'static str) -> Checked<Option<W>> {
    if number == 0 { Ok(None) } else { word(number, field).map(Some) }
}

pub(super) fn optional_number<W: Word>(word: Option<W>) -> i32 {
    word.map_or(0, W::number)
}

macro_rules! words {
    ($name:ident { $($variant:ident),+ $(,)? }) => {
        impl Word for $name {
            fn number(self) -> i32 {
                match self { $(Self::$variant => v1::$name::$variant as i32),+ }
            }

            fn of(number: i32) -> Option<Self> {
                match v1::$name::try_from(number).ok()? {
                    v1::$name::Unspecified => None,
                    $(v1::$name::$variant => Some(Self::$variant)),+
                }
            }
        }
    };
}

words!(Outcome { Passed, Failed, Skipped });
words!(TestCause { Assertion, Error, Crashed, TimedOut, OverMemory, OverDisk, Poison });
words!(InfraCause {
    ExecutorLost,
    SpotNotice,
    Drained,
    ArtifactUnavailable,
    SandboxFailed,
    MachineOutOfMemory,
    EnvironmentDiffers,
});
words!(Sickness { NothingStarts, TestsFail });
words!(Scope { Bundle, Slot, Run, Executor });
words!(Network { None, Internal, Egress });
words!(Isolation { Slot, Bundle, Test });
words!(Algorithm { Greedy, Ilp, Auto });
words!(Kind { Discover, Run });
words!(DrainState { Absent, Unheard, Asked, Draining });
words!(Ranking { Failing, Flaky, Slowest, Slower });
words!(Recall { Idle, PastCap, Drained, Cordoned });
words!(Role { Run, Predecessor });
words!(Evidence { Predecessor, AfterDecision, FirstMemoryKill, FirstDiskKill });
words!(RunVerdict { Passed, Failed, Incomplete, Cancelled });
