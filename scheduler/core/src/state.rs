//! The scheduler's whole state: durable runs, volatile executors.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use seagull_domain::{
    AttemptId, BootId, Epoch, ExecutorId, InfraCause, Instant, Resources, RunId, Seq, SlotIndex, SlotNumber,
    TestIndex,
};
use serde::{Deserialize, Serialize};

use crate::desired::Wanted;
use crate::drain::AskedToLeave;
use crate::suspects::Losses;
use crate::{Attempt, Call, Fleet, Reserved, Run, Watch};

/// What the operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long after its last report an executor's attempts are lost.
    pub lease: Duration,
    /// The same after its connection closed.
    pub lease_closed: Duration,
    /// How many runs may be unfinished at a time.
    pub max_runs: usize,
    /// Nobody joins but who is there from the beginning: the executor of a run that has one of its own.
    pub closed: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            lease: Duration::from_secs(15),
            lease_closed: Duration::from_secs(3),
            max_runs: 1000,
            closed: false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The number of the last fact.
    pub seq: Seq,
    pub next_attempt: AttemptId,
    pub runs: BTreeMap<RunId, Run>,
    /// The live attempts of each executor, oldest first.
    pub placed: BTreeMap<ExecutorId, BTreeMap<AttemptId, RunId>>,
    #[serde(skip)]
    pub epoch: Epoch,
    #[serde(skip)]
    pub settings: Settings,
    #[serde(skip)]
    pub executors: BTreeMap<ExecutorId, Executor>,
    #[serde(skip)]
    pub fleet: Fleet,
    /// Executors that are kept for suspects.
    #[serde(skip)]
    pub reserved: Reserved,
    /// Of the runs that become orphans where nobody watches them.
    #[serde(skip)]
    pub watches: BTreeMap<RunId, Watch>,
    /// Of the runs that wait for their client's word: until when.
    #[serde(skip)]
    pub judgements: BTreeMap<RunId, Instant>,
    #[serde(skip)]
    pub losses: Losses,
    /// Of each run, what it takes of late from giving an attempt to a worker that waits to its first test, in microseconds.
    #[serde(skip)]
    pub starts_us: BTreeMap<RunId, u64>,
    /// Until then executors may be there that have not reported since the recovery.
    #[serde(skip)]
    pub young_until: Instant,
    /// When it was last looked for what may be taken back.
    #[serde(skip)]
    pub looked_back: Instant,
    /// Of the executors that are cordoned for runs, when they are tried again; None where that is due.
    #[serde(skip)]
    pub trials: BTreeMap<(RunId, ExecutorId), Option<Instant>>,
    /// Who took which executor's name, the latest last; the oldest are forgotten.
    #[serde(skip)]
    pub names: VecDeque<(ExecutorId, BootId)>,
    /// Executors that are to leave, until they are gone.
    #[serde(skip)]
    pub drains: BTreeMap<ExecutorId, AskedToLeave>,
    /// The last version of any desired state in this epoch. One count for all executors, so that one that was lost
    /// and comes back is never sent a version that it takes for an old one.
    #[serde(skip)]
    pub last_version: u64,
}

/// A slot of an executor.
pub(crate) type Place<'a> = (&'a ExecutorId, SlotIndex);

/// An executor as it was last seen. Volatile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executor {
    /// None between the recovery of the scheduler and the executor's next report.
    pub boot: Option<BootId>,
    /// Whether it has had an answer since it took the name: it lives, and is no late message of a process that is gone.
    pub answered: bool,
    pub sequence: u64,
    pub lease_until: Instant,
    /// Since when the connection of its last report is closed.
    pub closed: Option<Instant>,
    /// When it is looked at next.
    pub due: Option<Instant>,
    /// When its process was first heard of.
    pub since: Instant,
    /// Since when it runs a suspect alone, or has run the last.
    pub alone_since: Option<Instant>,
    /// 0 until it has reported.
    pub slots: u16,
    /// What they share.
    pub capacity: Resources,
    pub labels: BTreeMap<String, String>,
    /// Whether it gets nothing more: it drains, or is asked to.
    pub draining: bool,
    /// Why it drains, once it says so.
    pub drains_for: Option<InfraCause>,
    pub held: Option<Held>,
    /// The version of `desired`; 0 while there is none.
    pub version: u64,
    pub desired: Wanted,
    /// The limit that it is told to leave within.
    pub told_to_leave: Option<u64>,
    /// The attempts that it last reported on.
    pub has: BTreeSet<AttemptId>,
    /// Whether it was still at one of them that is not placed there: one that it was lost with before it came back.
    pub has_strays: bool,
    /// What each slot runs, as last reported.
    pub running: BTreeMap<SlotIndex, Running>,
    /// When it is looked whether one of these is late.
    pub late_from: Option<Instant>,
    /// What workers that waited were given and have not come to yet, and when.
    pub given: BTreeMap<SlotIndex, (AttemptId, Instant)>,
    /// When each attempt of its was first reported to run.
    pub begun: BTreeMap<AttemptId, Instant>,
    /// When the first of these has run for twice the cap, if that has something unstarted then.
    pub past_cap: Option<Instant>,
    /// Live attempts that have ended by its last report, of plans that do not count yet.
    pub done: BTreeSet<AttemptId>,
    /// The slots with room, as of the last step: idle ones for any run, busy ones for one more attempt of their run.
    pub room: BTreeMap<SlotIndex, Option<RunId>>,
}

/// The test that a slot is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    pub run: RunId,
    pub attempt: AttemptId,
    pub number: SlotNumber,
    pub test: TestIndex,
    /// When it was first reported.
    pub since: Instant,
}

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub call: Call,
    /// When it is answered at the latest.
    pub until: Instant,
}

impl Executor {
    /// Whether it takes attempts, now or when it has reported for the first time since the recovery.
    pub(crate) fn may_take(&self) -> bool {
        !self.draining && (self.slots > 0 || self.boot.is_none())
    }
}

impl State {
    pub fn new(epoch: Epoch, settings: Settings) -> State {
        State {
            seq: Seq(0),
            next_attempt: AttemptId(1),
            runs: BTreeMap::new(),
            placed: BTreeMap::new(),
            epoch,
            settings,
            executors: BTreeMap::new(),
            fleet: Fleet::default(),
            reserved: Reserved::default(),
            watches: BTreeMap::new(),
            judgements: BTreeMap::new(),
            losses: Losses::default(),
            starts_us: BTreeMap::new(),
            young_until: Instant::default(),
            looked_back: Instant::default(),
            trials: BTreeMap::new(),
            names: VecDeque::new(),
            drains: BTreeMap::new(),
            last_version: 0,
        }
    }

    /// Read from a snapshot, in another life of the scheduler.
    #[must_use]
    pub fn reopened(mut self, epoch: Epoch, settings: Settings) -> State {
        (self.epoch, self.settings) = (epoch, settings);
        self.count_shares();
        self
    }

    /// The run of an id that a fact or an effect of ours names.
    pub(crate) fn run_mut(&mut self, run: &RunId) -> &mut Run {
        self.runs.get_mut(run).expect("a run that facts name was submitted")
    }

    /// Attempts on a slot, the current one first.
    pub fn queue(&self, executor: &ExecutorId, slot: SlotIndex) -> Vec<(AttemptId, &RunId)> {
        let placed = self.placed.get(executor).into_iter().flatten();
        placed
            .filter(|(id, run)| self.runs[*run].attempts[*id].slot == slot)
            .map(|(id, run)| (*id, run))
            .collect()
    }

    /// Whether a live attempt is its slot's current one, not its next.
    pub fn is_current(&self, run: &RunId, attempt: AttemptId) -> bool {
        let Attempt { executor, slot, .. } = &self.runs[run].attempts[&attempt];
        let mut open = self
            .queue(executor, *slot)
            .into_iter()
            .filter(|(id, run)| self.runs[*run].attempts[id].is_open());
        open.next().is_some_and(|(current, _)| current == attempt)
    }

    /// Whether somebody may be there soon who is not there yet: after a recovery executors report one after the other.
    pub(crate) fn may_be_joined(&self, now: Instant) -> bool {
        !self.settings.closed && now < self.young_until
    }

    /// Slots of the executors that are there.
    pub fn slots(&self) -> u32 {
        self.fleet.slots
    }

    /// When [`crate::Event::Tick`] is due, or sooner.
    pub fn next_deadline(&self) -> Option<Instant> {
        let orphans = self.watches.values().filter_map(Watch::until);
        let judgements = self.judgements.values().copied();
        let due = self.fleet.next_due().into_iter().chain(orphans).chain(judgements);
        due.chain(self.next_trial()).min()
    }
}
