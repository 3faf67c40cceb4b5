//! The `seagull` command.
#![cfg_attr(not(test), expect(dead_code, reason = "the reporters are not wired to a run yet"))]

mod report;

fn main() {}
