//! A round of a scenario: one seed, and what is drawn by it.
#![expect(clippy::disallowed_methods, reason = "rounds are timed, for the table")]

use std::time::{Duration, Instant};

use super::fleet::Fleet;
use crate::harness::{Chance, Finished};

/// How long a process may outlive what it belongs to.
pub const GONE: Duration = Duration::from_secs(1);
/// No fault later than when so many of a hundred tests have finished: then who is suspected runs alone, and is not to be
/// blamed for what chance does.
const LAST_FAULT: u64 = 85;

pub struct Round {
    scenario: &'static str,
    pub seed: u64,
    pub chance: Chance,
    /// Whether there may be more faults than a short test has time for.
    long: bool,
    began: Instant,
}

/// Plays a scenario: a round, or as many as SEAGULL_ROUNDS says, from the seed SEAGULL_SEED on.
pub fn play(scenario: &'static str, round: impl Fn(&mut Round)) {
    let rounds = number("SEAGULL_ROUNDS");
    let first = number("SEAGULL_SEED").unwrap_or(1);
    for seed in first..first + rounds.unwrap_or(1) {
        println!("{scenario}, seed {seed}");
        let (chance, began) = (Chance::new(seed), Instant::now());
        round(&mut Round { scenario, seed, chance, long: rounds.is_some(), began });
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

impl Round {
    /// The fault budget: how many faults there are, from one to the most.
    pub fn faults(&mut self, short: u64, most: u64) -> u64 {
        if self.long { 1 + self.chance.below(most) } else { short }
    }

    /// When they happen: after so many tests.
    pub fn moments(&mut self, faults: u64, tests: usize) -> Vec<usize> {
        let last = tests as u64 * LAST_FAULT / 100;
        let mut moments: Vec<_> = (0..faults).map(|_| 1 + self.chance.below(last) as usize).collect();
        moments.sort_unstable();
        moments
    }

    /// When processes are killed: one where nothing else goes wrong, before any test has finished or when few are left.
    pub fn kills(&mut self, faults: u64, tests: usize) -> Vec<usize> {
        let mut moments = self.moments(faults - 1, tests);
        let last = tests as u64 * LAST_FAULT / 100;
        let late = last + self.chance.below(tests as u64 - last);
        moments.push(if self.chance.below(2) == 0 { 0 } else { late as usize });
        moments.sort_unstable();
        moments
    }

    pub fn pause(&mut self, most_ms: u64) {
        std::thread::sleep(Duration::from_millis(self.chance.below(most_ms)));
    }

    /// The whole fleet leaves, and the run is what it is undisturbed.
    #[track_caller]
    pub fn end(&self, fleet: Fleet, run: &Finished, faults: &str) {
        let subject = fleet.leave();
        subject.holds(run);
        subject.suite.marked().all_gone_within(GONE);
        self.tell(run, faults);
    }

    /// A line of the table.
    pub fn tell(&self, run: &Finished, faults: &str) {
        let (scenario, seed, seconds) = (self.scenario, self.seed, self.began.elapsed().as_secs());
        let (tests, lost) = (run.all("verdict").len(), run.all("executor_lost").len());
        let code = run.code;
        println!("| {scenario} | {seed} | {faults} | {lost} | {tests} | {code} | {seconds} s |");
    }
}
