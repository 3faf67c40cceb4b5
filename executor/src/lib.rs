//! The agent on one machine: slots, sandboxes, framework adapters, artifact cache.

pub mod adapters;
mod agent;
pub mod artifact;
pub mod interpreter;
mod process_tree;
mod remove;
pub mod sandbox;
pub mod supervisor;

pub use agent::{Error, Executor, Options};
