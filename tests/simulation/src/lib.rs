//! The cores of scheduler and executor in a virtual world: virtual time, a network that loses, repeats and delays,
//! processes that die, and workers that play a script. A seed decides everything, so a failure can be repeated.
//!
//! [`history`] plays one seed to its end and asks the oracle, which shares no code with the cores, whether what was
//! told of it is what physically happened.

mod agent;
mod census;
mod client;
mod controller;
mod journal;
mod large;
mod machines;
mod mortal;
mod network;
mod oracle;
mod pairs;
mod physical;
mod planner;
mod plant;
mod random;
mod scenario;
mod scheduler;
mod trouble;
mod worker;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use census::{Census, KINDS};
pub use oracle::Innocents;
pub use pairs::{Pair, Pairs, TABLES, Table};
pub use plant::Plant;
pub use random::Random;

use scenario::Scenario;
use world::World;

/// What is wrong with a history.
#[derive(Debug)]
pub struct Failure {
    pub seed: u64,
    pub message: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}: {}", self.seed, self.message)
    }
}

/// Plays the history of a seed, with a bug of the harness if one is asked for; a trace goes to standard error.
pub fn history(seed: u64, plant: Option<Plant>, trace: bool) -> Result<Census, Failure> {
    judged(seed, Scenario::new(seed), plant, trace)
}

/// Plays a history of so many executors and tests.
pub fn large(seed: u64, executors: usize, tests: usize) -> Result<Census, Failure> {
    judged(seed, Scenario::large(seed, executors, tests), None, false)
}

/// Plays a history of innocent tests on executors that are lost all the time, with a bug of the harness if one is asked for.
pub fn mortal(seed: u64, plant: Option<Plant>) -> Result<Census, Failure> {
    judged(seed, Scenario::mortal(seed), plant, false)
}

fn judged(seed: u64, scenario: Scenario, plant: Option<Plant>, trace: bool) -> Result<Census, Failure> {
    let play = || {
        let mut world = World::new(seed, scenario, plant, trace);
        world.play()?;
        world.census.innocents = oracle::judge(&world)?;
        Ok(world.census)
    };
    let outcome = catch_unwind(AssertUnwindSafe(play));
    let outcome = outcome.unwrap_or_else(|panic| Err(words(&*panic)));
    outcome.map_err(|message| Failure { seed, message })
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    format!("panic: {}", text.unwrap_or_default())
}
