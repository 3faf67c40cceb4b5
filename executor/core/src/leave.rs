//! Leaving: giving back what has not started, ending what runs, and saying so before going.

use std::time::Duration;

use seagull_domain::{EndCause, InfraCause, Instant};

use crate::Effect;
use crate::state::State;

/// How long a farewell may go unheard.
const UNHEARD: Duration = Duration::from_secs(3);

/// An executor that has nothing any more goes when the scheduler has heard so; else it would be waited for, and lost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Farewell {
    /// When it goes in any case.
    deadline: Instant,
    /// A report has told of it.
    pub said: bool,
    /// That report, or a later one, was answered.
    pub heard: bool,
}

impl State {
    pub(crate) fn leave(&mut self) {
        self.leaving = true;
        for attempt in self.attempts.values_mut() {
            attempt.stop(EndCause::GaveBack(InfraCause::Drained, String::new()));
            attempt.end_if_done();
        }
        self.runs.clear();
        self.report(false);
    }

    /// Goes, once all is said and done.
    pub(crate) fn part(&mut self) {
        let idle = self.slots.iter().all(|slot| slot.worker.is_none() && slot.gone.is_empty());
        if !(self.leaving && idle && self.attempts.is_empty()) {
            self.farewell = None;
            return;
        }
        match self.farewell {
            None => {
                self.farewell = Some(Farewell { deadline: self.now + UNHEARD, said: false, heard: false });
                self.report(false);
            }
            Some(farewell) if farewell.heard || farewell.deadline <= self.now => {
                self.effects.push(Effect::Left);
            }
            Some(_) => {}
        }
    }

    pub(crate) fn farewell_deadline(&self) -> Option<Instant> {
        self.farewell.map(|farewell| farewell.deadline)
    }
}
