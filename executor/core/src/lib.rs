//! The executor's decisions: a synchronous state machine over its slots, workers and attempts.
//!
//! [`State::step`] takes the time and an [`Event`] and returns [`Effect`]s. Nothing is journalled here: what must
//! survive is acknowledged by the scheduler, and an executor that dies comes back with another boot id and empty.

mod attempt;
mod controller;
mod deadline;
mod excerpt;
mod exit;
mod feed;
mod leave;
mod message;
mod report;
mod room;
mod sanity;
mod slot;
mod state;
mod sync;
mod worker;

pub use attempt::Attempt;
pub use excerpt::last_lines;
pub use leave::{Leaving, Notice};
pub use message::{Effect, Event, Exit, Failure, NodeOrder, Over, Renewal, Start, WorkerEvent, WorkerId};
pub use slot::{Death, Phase, Slot, Worker};
pub use state::{Settings, State};
