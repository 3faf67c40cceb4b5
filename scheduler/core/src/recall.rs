//! Recall: all that has not started is taken back from an executor that drains, or is cordoned, and from a bundle that has
//! run for twice the cap, so that it does not wait for the test that runs there. What has started stays.

use std::time::Duration;

use seagull_domain::{AttemptId, ExecutorId, Instant, Recall, RunId, TestIndex};

use crate::State;
use crate::fact::What;
use crate::held_back::HeldBack;
use crate::run::{Attempt, Phase, Run};
use crate::state::Executor;
use crate::step::Step;

/// Unstarted tests to ask back of an attempt.
struct Asked {
    run: RunId,
    attempt: AttemptId,
    tests: Vec<TestIndex>,
    why: Recall,
}

impl Step<'_> {
    pub fn recall(&mut self) {
        for executor in self.dirty.clone() {
            let (asked, past_cap) = due(self.state, &executor, self.now);
            if let Some(known) = self.state.executors.get_mut(&executor) {
                known.past_cap = past_cap;
            }
            for Asked { run, attempt, tests, why } in asked {
                let generation = self.state.runs[&run].attempts[&attempt].generation.next();
                self.record(&run, What::TakeBack { attempt, generation, tests, why });
            }
        }
    }
}

/// What is to be asked back of an executor now, and when to look again.
fn due(state: &State, executor: &ExecutorId, now: Instant) -> (Vec<Asked>, Option<Instant>) {
    let (mut asked, mut next) = (Vec::new(), None);
    let Some(known) = state.executors.get(executor) else { return (asked, next) };
    let placed = state.placed.get(executor).into_iter().flatten();
    for (&id, run_id) in placed {
        let run = &state.runs[run_id];
        let mut tests = unstarted(known, id, &run.attempts[&id]).peekable();
        if run.phase != Phase::Running || tests.peek().is_none() {
            continue;
        }
        let begun = known.begun.get(&id);
        let past_cap = begun.map(|begun| *begun + Duration::from_millis(run.spec.cap_ms.saturating_mul(2)));
        let why = if begun.is_some() && known.draining {
            Recall::Drained
        } else if state.is_cordoned_since(run, executor, id) {
            Recall::Cordoned
        } else if past_cap.is_some_and(|at| at <= now) {
            Recall::PastCap
        } else {
            next = next.into_iter().chain(past_cap).min();
            continue;
        };
        asked.push(Asked { run: run_id.clone(), attempt: id, tests: tests.collect(), why });
    }
    (asked, next)
}

impl State {
    /// Whether the attempt was given to its executor before the run came to do without that.
    fn is_cordoned_since(&self, run: &Run, executor: &ExecutorId, attempt: AttemptId) -> bool {
        let cordon = run.sick.get(executor).and_then(|signs| signs.cordon);
        cordon.is_some_and(|cordon| attempt < cordon.first) && HeldBack::of(self, run).is_tried(executor)
    }
}

/// What an executor may not have started of an attempt that nothing is being asked back of.
fn unstarted<'a>(
    known: &'a Executor,
    id: AttemptId,
    attempt: &'a Attempt,
) -> impl Iterator<Item = TestIndex> + 'a {
    let is_asked = attempt.bundle.is_none() || !attempt.asked.is_empty() || known.done.contains(&id);
    let running = known.running.get(&attempt.slot).filter(|running| running.attempt == id);
    let running = running.map(|running| running.test);
    let left = attempt.left.values().filter(move |_| !is_asked).map(|(test, _)| *test);
    left.filter(move |test| !attempt.stays.contains(test) && running != Some(*test))
}
