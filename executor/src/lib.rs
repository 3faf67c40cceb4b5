//! The agent on one machine: slots, sandboxes, framework adapters, artifact cache.

pub mod adapters;
mod agent;
pub mod artifact;
pub mod control_groups;
pub mod docker;
mod http;
pub mod interpreter;
mod kept;
pub mod machine;
pub mod notice;
mod process_tree;
mod remove;
pub mod sandbox;
pub mod secrets;
pub mod setup;
pub mod supervisor;
mod tail;

pub use agent::{Error, Executor, Options, jittered};
pub use notice::Notice;
pub use seagull_executor_core::last_lines;
