//! What must hold after every step. Tests and the simulation call it.

use std::collections::{BTreeMap, BTreeSet};

use seagull_domain::Resources;

use crate::State;
use crate::controller::Node;
use crate::room::{takes_something, together};

impl State {
    /// Panics, saying what, if an invariant is broken.
    pub fn sanity_check(&self) {
        let workers = || self.slots.iter().filter_map(|slot| slot.worker.as_ref());
        let mut fed: BTreeMap<_, u32> = BTreeMap::new();
        for (attempt, _) in workers().flat_map(|worker| &worker.fed) {
            *fed.entry(*attempt).or_default() += 1;
        }
        for (id, attempt) in &self.attempts {
            let discovers = workers().any(|worker| worker.attempt == *id);
            let expected =
                fed.remove(id).unwrap_or(0) + u32::from(attempt.discover && attempt.fed > 0 && discovers);
            assert_eq!(attempt.fed, expected, "attempt {id}: fed");
            let waiting: Vec<_> =
                attempt.queue.iter().chain(&attempt.unfound).map(|entry| entry.test).collect();
            let distinct: BTreeSet<_> = waiting.iter().collect();
            assert_eq!(waiting.len(), distinct.len(), "attempt {id}: a test waits twice");
            assert!(attempt.ended.is_none() || waiting.is_empty(), "attempt {id}: ended with tests left");
            assert!(
                attempt.ended.is_none() || attempt.fed == 0,
                "attempt {id}: ended with tests at a worker"
            );
            let numbers: Vec<_> = attempt.outbox.iter().map(|batch| batch.number).collect();
            assert!(
                numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
                "attempt {id}: a gap between batches"
            );
        }
        for (run, controller) in &self.controllers {
            assert!(
                self.attempts.contains_key(&controller.attempt),
                "{run}: nothing takes what its controller says"
            );
        }
        for worker in workers() {
            let known = worker.node != Node::Told || self.controllers.contains_key(&worker.run);
            assert!(known, "{}: a worker waits for nobody", worker.run);
            assert!(!worker.has_last || worker.retired, "{}: a worker that has its last goes on", worker.run);
        }
        let needs = together(workers().map(|of| (&of.run, of.surroundings)));
        let all = needs.iter().copied().fold(Resources::default(), Resources::and);
        assert!(
            workers().filter(|of| takes_something(of.surroundings)).count() < 2
                || self.capacity.hold_all(needs.into_iter()),
            "workers need {all:?}, and there is {:?}",
            self.capacity
        );
        assert!(fed.is_empty(), "workers have tests of attempts that are forgotten: {fed:?}");
    }
}
