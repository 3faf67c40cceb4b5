//! The scheduler's decisions: a synchronous state machine over all runs and executors.
//!
//! [`State::step`] takes the time and an [`Event`], and returns [`Fact`]s to journal and [`Effect`]s to perform once
//! they are durable. State changes only where a fact is applied, so that recovery, which applies the journal, arrives
//! at the same state. What is only seen (leases, held calls, free slots) is volatile: it is empty after recovery.

mod anticipate;
mod apply;
mod assign;
mod charge;
mod columns;
mod desired;
mod drain;
mod effect;
mod environments;
mod event;
mod fact;
mod fleet;
mod held_back;
mod judgement;
mod lease;
mod ledger;
mod numbering;
mod orphan;
mod pending;
mod recall;
mod report;
mod reserve;
mod rooms;
mod run;
mod sanity;
mod second_copy;
mod sick;
mod sizes;
mod split;
mod state;
mod step;
mod stream;
mod suspects;
mod take_back;
mod weighing;
mod whereabouts;

pub use desired::Wanted;
pub use drain::AskedToLeave;
pub use effect::{Effect, Refusal};
pub use event::{Call, Event, Plan, PlanFailure};
pub use fact::{CutOff, Fact, What};
pub use fleet::Fleet;
pub use lease::is_kept_waiting;
pub use orphan::Watch;
pub use pending::Pending;
pub use reserve::Reserved;
pub use run::{Attempt, Bundle, Phase, Run, Status, Test};
pub use second_copy::Pace;
pub use sick::{Cordon, Signs, Went};
pub use state::{Executor, Running, Settings, State};
pub use step::Outcome;
pub use stream::project;
pub use suspects::{Death, Losses};
