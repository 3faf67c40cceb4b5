//! Room: workers share what their executor has. One that finds too little waits until others have ended, and those with
//! nothing to do end for it.

use seagull_domain::{Resources, SlotIndex};

use crate::slot::Worker;
use crate::state::State;

impl State {
    /// Whether a worker that needs so much may start in a slot. Where no other needs anything it may, whatever it needs: it
    /// would wait for nothing.
    pub(crate) fn has_room(&self, slot: SlotIndex, needs: Resources) -> bool {
        let used =
            || self.living().filter(|(of, _)| *of != slot).map(|(_, worker)| worker.surroundings.needs);
        let is_free = used().all(|needs| needs == Resources::default());
        is_free || self.capacity.have_room(used(), needs)
    }

    /// Workers that hold what a slot's needs, and have nothing to do, end.
    pub(crate) fn make_room(&mut self, slot: SlotIndex) {
        let ends = |(of, worker): &(SlotIndex, &Worker)| {
            *of != slot
                && worker.surroundings.needs != Resources::default()
                && self.has_nothing_to_do(*of, worker)
        };
        let idle: Vec<SlotIndex> = self.living().filter(ends).map(|(of, _)| of).collect();
        idle.into_iter().for_each(|slot| self.finish(slot));
    }

    /// Whether there is room beside all workers for what the slots up to this one are going to start next.
    pub(crate) fn has_room_ahead(&self, slot: SlotIndex, needs: Resources) -> bool {
        let before = (0..slot.0).filter_map(|slot| self.wants_next(SlotIndex(slot)));
        let used = self.living().map(|(_, worker)| worker.surroundings.needs);
        self.capacity.have_room(used.chain(before.map(|(_, of)| of.needs)), needs)
    }

    pub(crate) fn living(&self) -> impl Iterator<Item = (SlotIndex, &Worker)> {
        (0..).map(SlotIndex).zip(&self.slots).filter_map(|(index, slot)| Some((index, slot.worker.as_ref()?)))
    }
}
