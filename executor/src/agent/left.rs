//! Which processes tests have left: those that outlive a session that has ended in order, and whose test began them.

use std::sync::atomic::Ordering;

use seagull_domain::{Leftover, TestIndex};
use seagull_executor_core::{Event, Start, WorkerEvent};

use super::worker::Voice;
use crate::sandbox::{Exit, Left};

/// How often it is told of a run on one executor.
const OF_RUN: usize = 1000;

/// Says what a worker has left. Whatever a session that broke off would have ended is nobody's fault.
pub(super) async fn tell(voice: &Voice, exit: &Exit) {
    if !voice.stage.is_over() {
        return;
    }
    for left in &exit.left {
        if voice.context.told_left.fetch_add(1, Ordering::Relaxed) >= OF_RUN {
            return;
        }
        let (test, phase) = whose(&left.during, |id| voice.context.test(voice.attempt(), id));
        let Left { command, processes, ports, .. } = left;
        let command = voice.secrets.hidden_in(command.clone());
        let left = Leftover { command, processes: (*processes).max(1), ports: ports.clone(), phase };
        let Start { slot, worker, .. } = voice.start;
        let event = WorkerEvent::Left { test, left };
        let _ = voice.shared.events.send(Event::Worker { slot, worker, event }).await;
    }
}

/// The test that ran when a process began, and its phase, by what pytest said: `ID (PHASE)`.
fn whose(during: &str, find: impl Fn(&str) -> Option<TestIndex>) -> (Option<TestIndex>, String) {
    let said = during.strip_suffix(')').and_then(|during| during.rsplit_once(" ("));
    let found = said.and_then(|(id, phase)| Some((find(id)?, phase)));
    found.map_or((None, String::new()), |(test, phase)| (Some(test), phase.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_of_the_test_that_ran_when_it_began() {
        let find = |id: &str| (id == "a.py::t[x (y)]").then_some(TestIndex(3));
        assert_eq!(whose("a.py::t[x (y)] (call)", find), (Some(TestIndex(3)), "call".to_owned()));
        for other in ["", "a.py::t[x (y)]", "a.py::u (call)", ")", " ("] {
            assert_eq!(whose(other, find), (None, String::new()), "{other}");
        }
    }
}
