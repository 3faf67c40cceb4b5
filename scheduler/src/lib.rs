//! The scheduler: its core, and the journal, the errands and the gRPC faces around it.
//!
//! One task ([`actor`]) owns the state. Faces ask it; the journal thread makes its facts durable; errands (planning,
//! archiving) run outside and come back as events.

mod actor;
mod anticipate;
mod committer;
mod cursors;
mod database;
mod disk;
mod documents;
mod elsewhere;
mod errand;
mod evict;
mod executed;
mod first;
mod gc;
mod grpc;
mod http;
mod import;
mod indexer;
mod journal;
mod learned;
mod outputs;
mod own_index;
mod own_options;
mod pack;
mod past;
mod plan;
mod recent;
#[cfg(test)]
mod recovery;
mod requests;
mod restored;
mod room;
mod server;
mod service;
mod test_history;
mod told;
mod unread;
mod uploads;
mod watch;

pub use gc::{Sweep, Swept, pin, pinned, sweep};
pub use import::{Imported, import};
pub use journal::Error as JournalError;
pub use pack::{Costs, algorithm, pack, problem};
pub use room::SPOOL_BYTES;
pub use seagull_scheduler_core::Settings;
pub use server::{Error, Options, Server};
pub use tonic::transport::Identity;

/// What nobody has asked for, to whoever reads the process's standard error, if anybody does.
fn warn(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "warning: {text}");
}
