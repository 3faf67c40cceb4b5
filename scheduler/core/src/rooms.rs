//! The slots that matching may still give something to.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use seagull_domain::{BundleId, ExecutorId, RunId};

use crate::State;
use crate::run::Bundle;
use crate::sizes::{Promised, Wanted};
use crate::state::Place;

/// A slot gets its *next* attempt when its current one has no more than this left.
const NEXT_WHEN_LEFT_US: u64 = 1_000_000;

/// The slots that are not taken yet.
pub(crate) struct Rooms<'a> {
    pub idle: BTreeSet<Place<'a>>,
    /// Executors of which all slots are idle.
    pub unused: BTreeSet<&'a ExecutorId>,
    /// Executors with nothing to do that are kept for suspects of a run.
    pub kept: BTreeMap<&'a RunId, BTreeMap<BundleId, &'a ExecutorId>>,
    /// Busy slots that would hold one more attempt of their run as next.
    pub next: BTreeMap<&'a RunId, BTreeSet<Place<'a>>>,
    pub promised: Promised<'a>,
}

impl<'a> Rooms<'a> {
    pub fn of(state: &'a State) -> Rooms<'a> {
        let mut rooms = Rooms {
            idle: BTreeSet::new(),
            unused: BTreeSet::new(),
            kept: BTreeMap::new(),
            next: BTreeMap::new(),
            promised: Promised::new(),
        };
        let mut all_idle = Vec::new();
        for id in &state.fleet.with_room {
            let executor = &state.executors[id];
            let idle = executor.room.values().filter(|run| run.is_none()).count();
            if idle > 0 && idle == usize::from(executor.slots) && !executor.has_strays {
                rooms.unused.insert(id);
            }
            for (slot, run) in &executor.room {
                match run {
                    None => all_idle.push((id, *slot)),
                    Some(run) => drop(rooms.next.entry(run).or_default().insert((id, *slot))),
                }
            }
        }
        // They are in order, of which a set is made in one go.
        rooms.idle = all_idle.into_iter().collect();
        rooms.keep(state);
        rooms
    }

    /// Nothing goes to reserved executors but, once they have nothing, what runs there alone.
    fn keep(&mut self, state: &'a State) {
        for (executor, (run, bundle)) in &state.reserved.executors {
            if self.unused.contains(executor) {
                self.kept.entry(run).or_default().insert(*bundle, executor);
            }
            self.clear(state, executor);
        }
    }

    pub fn clear(&mut self, state: &'a State, executor: &'a ExecutorId) {
        self.unused.remove(executor);
        for (slot, run) in state.executors.get(executor).into_iter().flat_map(|of| &of.room) {
            match run {
                None => self.idle.remove(&(executor, *slot)),
                Some(run) => self.next.get_mut(run).is_some_and(|next| next.remove(&(executor, *slot))),
            };
        }
    }

    /// Whether there is a slot for a bundle of the run.
    pub fn has_any(&self, run: &RunId, bundle: &Bundle) -> bool {
        if bundle.alone {
            !self.unused.is_empty() || self.kept.contains_key(run)
        } else {
            !self.idle.is_empty() || self.next.get(run).is_some_and(|next| !next.is_empty())
        }
    }

    /// An executor that is kept for the bundle, or at least for the run, and that is not kept any more.
    pub fn take_kept(
        &mut self,
        run: &RunId,
        bundle: BundleId,
        goes: impl Fn(&ExecutorId) -> bool,
    ) -> Option<&'a ExecutorId> {
        let kept = self.kept.get_mut(run)?;
        let own = kept.get_key_value(&bundle).filter(|(_, executor)| goes(executor));
        let (&found, _) = own.or_else(|| kept.iter().find(|(_, executor)| goes(executor)))?;
        let executor = kept.remove(&found);
        if kept.is_empty() {
            self.kept.remove(run);
        }
        executor
    }

    /// Whether the place was idle.
    pub fn take_idle(&mut self, place: &Place<'a>) -> bool {
        self.unused.remove(place.0);
        self.idle.remove(place)
    }

    /// Something that wants so much goes there.
    pub fn promise(&mut self, place: Place<'a>, run: &'a RunId, wanted: &Wanted) {
        if !wanted.is_nothing() {
            self.promised.entry(place.0).or_default().push((place.1, run, *wanted));
        }
    }

    /// A bundle of the run goes there. Behind a short one there is room for another.
    pub fn take(&mut self, place: Place<'a>, run: &'a RunId, bundle: &Bundle) {
        let was_idle = self.take_idle(&place);
        let next = self.next.entry(run).or_default();
        if was_idle && is_short(bundle.predicted_us) {
            next.insert(place);
        } else {
            next.remove(&place);
        }
    }
}

/// The idle slots where a run has a worker of an environment, as far as they were looked for: of a large fleet that is idle
/// not all are looked at for a single bundle.
#[derive(Default)]
pub(crate) struct Warm<'a> {
    found: BTreeSet<Place<'a>>,
    /// All up to this one were looked at.
    looked_at: Option<Place<'a>>,
}

impl<'a> Warm<'a> {
    /// The first, in order, that may be taken.
    pub fn first(
        &mut self,
        idle: &BTreeSet<Place<'a>>,
        has_worker: impl Fn(&Place) -> bool,
        allowed: impl Fn(&Place) -> bool,
    ) -> Option<Place<'a>> {
        while self.found.first().is_some_and(|first| !idle.contains(first)) {
            self.found.pop_first();
        }
        if let Some(found) = self.found.iter().find(|place| idle.contains(place) && allowed(place)) {
            return Some(*found);
        }
        let from = self.looked_at.map_or(Bound::Unbounded, Bound::Excluded);
        for place in idle.range((from, Bound::Unbounded)) {
            self.looked_at = Some(*place);
            if has_worker(place) {
                self.found.insert(*place);
                if allowed(place) {
                    return Some(*place);
                }
            }
        }
        None
    }
}

/// Whether tests that take so long are so little that another attempt may wait behind them. Behind a single long test it
/// would wait while other slots become idle.
pub(crate) fn is_short(us: u64) -> bool {
    us <= NEXT_WHEN_LEFT_US
}
