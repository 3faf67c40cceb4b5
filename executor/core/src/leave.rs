//! Leaving: giving back what has not started, letting what runs end within a limit, and saying so before going.
//!
//! What runs goes on until there is only just time to interrupt it, to tear it down, and to deliver what it said. Then
//! it is given back too: its tests run elsewhere, and nobody is charged. A test that is predicted to need longer than that
//! is given back at once, for it would have to begin anew all the same. One that has taken longer than predicted may end at
//! any time.

use std::time::Duration;

use seagull_domain::{Drain, EndCause, InfraCause, Instant};

use crate::Effect;
use crate::slot::{Death, Phase, Worker};
use crate::state::State;

/// How long a farewell may go unheard.
const UNHEARD: Duration = Duration::from_secs(3);
/// What it takes to deliver results and logs after the last process has ended.
const DELIVERY: Duration = Duration::from_secs(5);

/// That the executor is to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub drain: Drain,
    /// How long it may be here yet.
    pub within: Duration,
}

impl Notice {
    /// A drain: somebody wants the executor to leave, though its machine stays.
    pub fn drain(why: impl Into<String>, within: Duration) -> Notice {
        Notice { drain: Drain { cause: InfraCause::Drained, why: why.into() }, within }
    }

    /// The machine is about to be taken away.
    pub fn spot(why: impl Into<String>, within: Duration) -> Notice {
        Notice { drain: Drain { cause: InfraCause::SpotNotice, why: why.into() }, within }
    }
}

/// An executor that leaves.
#[derive(Debug, Clone)]
pub struct Leaving {
    pub drain: Drain,
    /// When the last process is killed.
    pub last: Instant,
}

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

impl Leaving {
    /// When it goes, whatever it has still to deliver.
    fn end(&self) -> Instant {
        self.last + DELIVERY
    }

    fn cause(&self) -> EndCause {
        EndCause::GaveBack(self.drain.cause, self.drain.why.clone())
    }
}

/// Whether an attempt is stopped because its executor leaves, so that what runs of it may end.
pub(crate) fn is_drain(cause: &EndCause) -> bool {
    matches!(cause, EndCause::GaveBack(cause, _) if !cause.is_charged())
}

impl State {
    /// Of several notices the one with least time holds.
    pub(crate) fn leave(&mut self, notice: Notice) {
        let last = self.now + notice.within.saturating_sub(DELIVERY);
        if self.leaving.as_ref().is_some_and(|known| known.last <= last) {
            return;
        }
        let leaving = Leaving { drain: notice.drain, last };
        let ids: Vec<_> = self.attempts.keys().copied().collect();
        for id in ids {
            let fed = self.fed_of(self.attempts[&id].slot, id);
            let attempt = self.attempts.get_mut(&id).expect("it is listed");
            attempt.stop(leaving.cause());
            attempt.end_if_done();
            attempt.keep_all(attempt.fetching, &fed);
        }
        self.leaving = Some(leaving);
        self.runs.clear();
        self.report(false);
    }

    /// Why it takes nothing new, once it is leaving.
    pub(crate) fn drained(&self) -> Option<EndCause> {
        self.leaving.as_ref().map(Leaving::cause)
    }

    /// When what a worker is at is interrupted because the executor leaves.
    pub(crate) fn hand_back_at(&self, worker: &Worker) -> Option<Instant> {
        let last = self.leaving.as_ref()?.last;
        let last = Instant(last.0.saturating_sub(worker.grace_ms));
        let since = worker.predicted_end().filter(|(_, end)| *end > last).map(|(since, _)| since);
        Some(since.unwrap_or(last).min(last))
    }

    /// The next time that something is interrupted because the executor leaves.
    pub(crate) fn hand_back_deadline(&self) -> Option<Instant> {
        let workers = self.slots.iter().filter_map(|slot| slot.worker.as_ref());
        let goes_on = |worker: &&Worker| {
            let works = !worker.fed.is_empty() || self.is_discovering(worker);
            works && matches!(worker.phase, Phase::Starting | Phase::Ready)
        };
        workers.filter(goes_on).filter_map(|worker| self.hand_back_at(worker)).min()
    }

    /// When a process that was told to end is killed, and why: at its deadline, unless there is no time for that.
    pub(crate) fn end_of_session(&self, deadline: Instant, death: Death) -> (Instant, Death) {
        match &self.leaving {
            Some(leaving) if leaving.last <= deadline => (leaving.last, Death::HandedBack),
            _ => (deadline, death),
        }
    }

    /// Goes, once all is said and done; at its limit also where nobody takes what it has to say.
    pub(crate) fn part(&mut self) {
        if self.end().is_some_and(|end| end <= self.now) {
            self.effects.push(Effect::Left);
            return;
        }
        let said = self.slots.iter().all(|slot| slot.worker.is_none() && slot.gone.is_empty());
        if !(self.leaving.is_some() && said && self.attempts.is_empty()) {
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

    /// When it goes in any case, if nothing runs here any more.
    fn end(&self) -> Option<Instant> {
        let runs = self.slots.iter().any(|slot| slot.worker.is_some())
            || self.controllers.values().any(|controller| controller.is_alive());
        self.leaving.as_ref().filter(|_| !runs).map(Leaving::end)
    }

    pub(crate) fn farewell_deadline(&self) -> Option<Instant> {
        self.farewell.map(|farewell| farewell.deadline).into_iter().chain(self.end()).min()
    }
}
