//! The scenario table: real processes on a real suite, killed, stopped, cut off and starved. Each row names its faults;
//! chance, with a seed, says when and whom they hit. Whatever happens, every test has the verdict that it has undisturbed,
//! the exit code is the same, and nothing is left running.
//!
//! `tests/scenarios.sh` plays many rounds of each, on a public suite too.

mod disks;
mod fleet;
mod machines;
mod processes;
mod round;
mod stores;
mod subject;
mod tests;
