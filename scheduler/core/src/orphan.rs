//! Orphans: a run whose client was lost is cancelled when nobody has watched it for as long as its spec says. Who
//! watches is only seen, so it is volatile: patience begins anew after recovery, and a pause of the scheduler itself
//! extends it.

use std::time::Duration;

use seagull_domain::{Instant, NotExecuted, RunId};

use crate::step::Step;

/// Who watches a run that may become an orphan. There is one from its submission, or the recovery, until it stops or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    pub watchers: u32,
    /// When the last of them left; of no meaning while there is one.
    pub since: Instant,
    pub patience: Duration,
}

impl Watch {
    /// When the run is an orphan, if nobody comes.
    pub(crate) fn until(&self) -> Option<Instant> {
        (self.watchers == 0).then(|| self.since + self.patience)
    }
}

impl Step<'_> {
    /// From now on the run may become an orphan, if its spec has it so.
    pub fn expect_watchers(&mut self, run: &RunId) {
        let state = &self.state.runs[run];
        let Some(patience) = state.spec.orphan_ms.filter(|_| state.goes_on()) else { return };
        let watch = Watch { watchers: 0, since: self.now, patience: Duration::from_millis(patience) };
        self.state.watches.insert(run.clone(), watch);
    }

    pub fn watched(&mut self, run: &RunId) {
        if let Some(watch) = self.state.watches.get_mut(run) {
            watch.watchers += 1;
        }
    }

    pub fn unwatched(&mut self, run: &RunId) {
        if let Some(watch) = self.state.watches.get_mut(run) {
            watch.watchers = watch.watchers.saturating_sub(1);
            watch.since = self.now;
        }
    }

    /// Somebody asked for the run again, and is about to watch it.
    pub fn asked_again(&mut self, run: &RunId) {
        if let Some(watch) = self.state.watches.get_mut(run) {
            watch.since = self.now;
        }
    }

    /// Cancels the runs that nobody has come back to.
    pub fn stop_orphans(&mut self) {
        let due = |until: Option<Instant>| until.is_some_and(|until| until <= self.now);
        let orphans = self.state.watches.iter().filter(|(_, watch)| due(watch.until()));
        let orphans: Vec<_> = orphans.map(|(run, _)| run.clone()).collect();
        for run in orphans {
            self.state.watches.remove(&run);
            // One that has all its verdicts is about to end.
            if self.state.runs.get(&run).is_some_and(|run| run.goes_on() && !run.all_decided()) {
                self.stop(&run, NotExecuted::Orphaned);
            }
        }
    }

    /// The scheduler itself stood still: nobody could come back meanwhile.
    pub fn extend_patience(&mut self, pause: Duration) {
        for watch in self.state.watches.values_mut() {
            watch.since = watch.since + pause;
        }
    }
}
