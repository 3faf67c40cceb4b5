//! Sandboxes ahead: what the next worker of a slot needs is made while the present one runs, so that its bundle begins at once.
//! At most one for each slot, and only where its environment needs an engine and the machine has the memory.
#![expect(clippy::disallowed_methods, reason = "a shell: each is made by a task of its own")]

use std::collections::BTreeMap;

use seagull_domain::{Definition, InfraCause, Limits, RunId, Scope, SlotIndex, Surroundings};
use seagull_executor_core::{Start, State};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::launch::{Begun, Lodging, Unlodged, Wanted, lodge};
use super::worker::Shared;
use crate::docker::Held;
use crate::machine;

/// What is taken to be needed of memory by what has no limit, in KiB.
const UNLIMITED: u64 = 512 << 10;

/// Of each slot, the sandbox that is ready for its next worker, or is being made.
#[derive(Default)]
pub(super) struct Pool {
    ahead: BTreeMap<SlotIndex, Ahead>,
    /// Those that are being removed.
    ends: JoinSet<()>,
    /// How many there have been: each has a name of its own.
    made: u64,
}

/// A sandbox that nobody lives in yet.
pub(super) struct Ahead {
    what: (RunId, Surroundings),
    /// Whoever drops it gives the sandbox up.
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Made>,
    /// What the task came to, once somebody has waited for it.
    made: Option<Made>,
}

/// What came of it. What is held is to be removed after what lives there.
pub(super) struct Made {
    /// None where there was nothing to make.
    lodging: Result<Option<Lodging>, Unlodged>,
    begun: Begun,
}

impl Pool {
    /// Has those that the slots need now, and no others.
    pub fn keep(&mut self, core: &State, shared: &Shared) {
        while self.ends.try_join_next().is_some() {}
        for slot in (0..core.slots.len() as u16).map(SlotIndex) {
            let wanted = core.needs_next(slot);
            if self.ahead.get(&slot).is_some_and(|ahead| wanted.as_ref() != Some(&ahead.what)) {
                self.give_up(slot);
            }
            if let (Some(what), None) = (wanted, self.ahead.get(&slot)) {
                self.made += 1;
                self.ahead.insert(slot, Ahead::begin(shared.clone(), what, format!("ahead-{}", self.made)));
            }
        }
    }

    /// The one of a worker that starts.
    pub fn take(&mut self, start: &Start) -> Option<Ahead> {
        let fits = |ahead: &Ahead| ahead.what == (start.run.clone(), start.surroundings);
        if start.controller || !self.ahead.get(&start.slot).is_some_and(fits) {
            return None;
        }
        self.ahead.remove(&start.slot)
    }

    /// All go; returns when they are gone.
    pub async fn end(&mut self) {
        let slots: Vec<SlotIndex> = self.ahead.keys().copied().collect();
        slots.into_iter().for_each(|slot| self.give_up(slot));
        while self.ends.join_next().await.is_some() {}
    }

    fn give_up(&mut self, slot: SlotIndex) {
        if let Some(ahead) = self.ahead.remove(&slot) {
            self.ends.spawn(ahead.end());
        }
    }
}

impl Ahead {
    fn begin(shared: Shared, what: (RunId, Surroundings), name: String) -> Ahead {
        let (stop, stopped) = oneshot::channel();
        let (run, surroundings) = what.clone();
        let task = tokio::spawn(async move {
            let mut begun = Begun::default();
            let made = async {
                let Ok(context) = shared.contexts.get(&run).await else { return Ok(None) };
                let Ok(Some(definition)) = context.definition(surroundings) else { return Ok(None) };
                if !definition.needs_engine() || !has_room(&definition) {
                    return Ok(None);
                }
                let wanted = Wanted { context, surroundings, controller: false, name };
                let lodged = lodge(&shared, wanted, &mut begun).await;
                // What is not tried again is told as its worker's.
                if let Some(why) = lodged.as_ref().err().filter(|why| !why.had_time) {
                    shared.keeper.tell_of_ahead(&definition.name, &why.message);
                }
                lodged.map(Some)
            };
            let lodging = tokio::select! {
                lodging = made => lodging,
                _ = stopped => Ok(None),
            };
            Made { lodging, begun }
        });
        Ahead { what, stop: Some(stop), task, made: None }
    }

    /// Waits until it can be lived in; none if it cannot: then it goes, and its worker makes one, which may well succeed.
    /// The error is of one that its worker could only wait for as long once more. Called once; may be given up, and then
    /// there is [`Ahead::end`].
    pub async fn ready(&mut self) -> Result<Option<(Lodging, Option<Held>)>, String> {
        self.made = (&mut self.task).await.ok();
        let is_sound = match self.made.as_ref().map(|made| &made.lodging) {
            Some(Ok(Some(lodging))) => lodging.is_sound().await,
            _ => false,
        };
        match self.made.take() {
            None => Ok(None),
            Some(Made { lodging: Ok(Some(lodging)), begun }) if is_sound => Ok(Some((lodging, begun.held))),
            Some(made) => {
                let had_time = made.lodging.as_ref().err().filter(|why| why.had_time);
                let told = had_time.map(|why| why.message.clone());
                tokio::spawn(made.end());
                told.map_or(Ok(None), Err)
            }
        }
    }

    /// Gives it up; why it was not ready.
    pub async fn told(&mut self) -> Option<(InfraCause, String)> {
        self.stop = None;
        // Who waited for it may have been given up when it was made.
        if self.made.is_none() {
            self.made = Some((&mut self.task).await.ok()?);
        }
        Some(self.made.as_ref()?.begun.told().await)
    }

    /// Nobody is going to live there.
    pub async fn end(self) {
        drop(self.stop);
        match self.made {
            Some(made) => made.end().await,
            None => {
                if let Ok(made) = self.task.await {
                    made.end().await;
                }
            }
        }
    }
}

impl Made {
    async fn end(self) {
        if let Ok(Some(lodging)) = self.lodging {
            lodging.end().await;
        }
        if let Some(held) = self.begun.held {
            held.remove().await;
        }
    }
}

/// Whether the machine has the memory for another.
fn has_room(definition: &Definition) -> bool {
    // What is shared is there, or is going to be in any case.
    let own = definition.services.values().filter(|service| !Scope::SHARED.contains(&service.scope));
    let services = own.map(|service| &service.limits);
    let limits = services.chain(definition.environment.limits());
    let needed = limits.map(|limits: &Limits| limits.memory_kib.unwrap_or(UNLIMITED)).sum();
    machine::memory().is_some_and(|memory| memory.has_room(needed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ahead(lodging: Result<Option<Lodging>, Unlodged>) -> Ahead {
        let task = tokio::spawn(async { Made { lodging, begun: Begun::default() } });
        let what = ("r".parse().unwrap(), Surroundings::default());
        Ahead { what, stop: None, task, made: None }
    }

    #[tokio::test]
    async fn what_had_all_its_time_is_not_waited_for_again() {
        let why = |had_time| Unlodged { message: "not ready".to_owned(), had_time };
        assert_eq!(ahead(Err(why(true))).ready().await.err().as_deref(), Some("not ready"));
        assert!(matches!(ahead(Err(why(false))).ready().await, Ok(None)));
        assert!(matches!(ahead(Ok(None)).ready().await, Ok(None)));
    }

    #[tokio::test]
    async fn who_is_given_up_once_it_is_made_is_told_too() {
        let mut ahead = ahead(Ok(None));
        // As `ready` has it when it is given up while it looks whether services are sound.
        ahead.made = (&mut ahead.task).await.ok();
        let (cause, _) = ahead.told().await.expect("it was made");
        assert_eq!(cause, InfraCause::ArtifactUnavailable);
        ahead.end().await;
    }
}
