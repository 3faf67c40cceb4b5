//! An attempt as its executor knows it: its queue, and what is not acknowledged yet.

use std::collections::{BTreeSet, VecDeque};

use seagull_domain::{
    Batch, BundleContents, DesiredAttempt, EndCause, Entry, Generation, ImageUsed, Outcome, Record, RunId,
    SlotIndex, SlotNumber, SuiteError, Surroundings, TestIndex, Used,
};

use crate::leave::is_drain;
use crate::slot::Worker;

#[derive(Debug, Clone)]
pub struct Attempt {
    pub run: RunId,
    pub slot: SlotIndex,
    pub number: SlotNumber,
    pub slots: u32,
    pub surroundings: Surroundings,
    pub discover: bool,
    /// The generation of the contents it works by; 0 while it has none.
    pub generation: Generation,
    /// Its tests are only expected to be there: one that is not found goes back, without a record, with the attempt's end.
    pub anticipated: bool,
    /// The generation that was asked for last.
    pub fetching: Generation,
    /// Not yet fed to a worker.
    pub queue: VecDeque<Entry>,
    /// Not found by a worker that collects lazily; to be looked for in a whole collection.
    pub unfound: VecDeque<Entry>,
    /// So many of the queue's first run alone: they were in one go together when that was killed or died.
    pub suspects: usize,
    /// How a worker died while it discovered.
    pub died: Option<String>,
    /// How a worker died that had several tests in one go, while none of them is known to have done it.
    pub unexplained: Option<SuiteError>,
    /// Relations of which something was fed.
    pub started_relations: BTreeSet<u32>,
    /// Relations of which something was executed.
    pub begun_relations: BTreeSet<u32>,
    /// Asked back in this generation, but here to stay.
    pub kept: Vec<TestIndex>,
    /// Fed and not reported on, by any worker of the slot.
    pub fed: u32,
    /// To be ended without running what is left.
    pub stopping: Option<EndCause>,
    /// Whether that is because another attempt has the result of the test that it is at.
    pub superseded: bool,
    pub ended: Option<EndCause>,
    /// Whether the scheduler still lists it.
    pub desired: bool,
    /// What it has taken so far.
    pub used: Used,
    /// The images that it has told of last.
    pub images: Vec<ImageUsed>,
    /// Not yet in a batch.
    pub records: Vec<Record>,
    /// Not yet acknowledged.
    pub outbox: VecDeque<Batch>,
    pub last_batch: u32,
}

impl Attempt {
    pub fn new(desired: &DesiredAttempt) -> Attempt {
        Attempt {
            run: desired.run.clone(),
            slot: desired.slot,
            number: desired.number,
            slots: desired.slots,
            surroundings: desired.surroundings,
            discover: desired.kind == seagull_domain::Kind::Discover,
            generation: Generation(0),
            anticipated: false,
            fetching: Generation(0),
            queue: VecDeque::new(),
            unfound: VecDeque::new(),
            suspects: 0,
            died: None,
            unexplained: None,
            started_relations: BTreeSet::new(),
            begun_relations: BTreeSet::new(),
            kept: Vec::new(),
            fed: 0,
            stopping: None,
            superseded: false,
            ended: None,
            desired: true,
            used: Used::default(),
            images: Vec::new(),
            records: Vec::new(),
            outbox: VecDeque::new(),
            last_batch: 0,
        }
    }

    /// Whether its contents are known, or it needs none.
    pub fn is_ready(&self) -> bool {
        self.discover || self.generation.0 > 0
    }

    pub fn is_open(&self) -> bool {
        self.ended.is_none() && self.stopping.is_none()
    }

    /// What a worker is to run next; what was not found, only one that has collected everything.
    pub fn next(&self, whole: bool) -> Option<&Entry> {
        self.queue.front().or_else(|| self.unfound.front().filter(|_| whole))
    }

    /// Whether something waits that belongs into the worker that is at the attempt, because something of its relation
    /// was fed to it.
    pub fn is_bound(&self, worker: &Worker) -> bool {
        let waiting = self.queue.iter().chain(self.unfound.iter().filter(|_| worker.whole));
        let mut related =
            waiting.filter(|entry| worker.relations.contains(&(worker.attempt, entry.relation)));
        !worker.relations.is_empty() && related.next().is_some()
    }

    /// Has the next of a relation follow at once.
    pub fn bring_forward(&mut self, relation: u32) {
        let place = self.queue.iter().position(|entry| entry.relation == relation);
        if let Some(entry) = place.and_then(|place| self.queue.remove(place)) {
            self.queue.push_front(entry);
        }
    }

    /// Takes contents of a newer generation: the first, or fewer tests than before. What has started stays, with all
    /// of its relation.
    pub fn take(&mut self, contents: BundleContents, fed: &BTreeSet<TestIndex>) {
        if contents.generation <= self.generation || !self.is_open() {
            return;
        }
        let first = self.generation.0 == 0;
        (self.generation, self.anticipated) = (contents.generation, contents.anticipated);
        if first {
            self.queue = contents.entries.into();
            return;
        }
        let wanted: BTreeSet<_> = contents.entries.iter().map(|entry| entry.test).collect();
        let started = &self.started_relations;
        let stays = |entry: &Entry| wanted.contains(&entry.test) || started.contains(&entry.relation);
        self.queue.retain(stays);
        let here = self.queue.iter().chain(&self.unfound).map(|entry| entry.test);
        let here: BTreeSet<_> = here.chain(self.undelivered()).chain(fed.iter().copied()).collect();
        self.kept = here.difference(&wanted).copied().collect();
    }

    /// What is executed from here on is in a sandbox of these.
    pub fn is_in(&mut self, images: &[ImageUsed]) {
        if self.images != images {
            self.images = images.to_vec();
            self.records.push(Record::Images(images.to_vec()));
        }
    }

    /// Records that the scheduler may not have.
    fn unheard(&self) -> impl Iterator<Item = &Record> {
        self.outbox.iter().flat_map(|batch| &batch.records).chain(&self.records)
    }

    pub fn has_unheard_failure(&self) -> bool {
        let failed =
            |record: &Record| matches!(record, Record::Result(result) if result.outcome == Outcome::Failed);
        self.unheard().any(failed)
    }

    /// Tests of these.
    fn undelivered(&self) -> impl Iterator<Item = TestIndex> {
        self.unheard().filter_map(|record| match record {
            Record::Result(result) => Some(result.test),
            Record::Missing { test, .. } => Some(*test),
            Record::SuiteError(_)
            | Record::Coverage(_)
            | Record::Attached { .. }
            | Record::Images(_)
            | Record::Used(_)
            | Record::Held { .. }
            | Record::Left { .. } => None,
        })
    }

    /// The worker is gone: what is left of a relation that had begun in it cannot go on here, because what has to
    /// run before it would have to run again. The scheduler gets it back, without a record, with the attempt's end.
    pub fn leave_broken_relations(&mut self) {
        let begun = &self.begun_relations;
        self.queue.retain(|entry| !begun.contains(&entry.relation));
        self.started_relations.clone_from(begun);
    }

    /// Ends it if nothing of it is left to do.
    pub fn end_if_done(&mut self) {
        if self.ended.is_some() || self.fed > 0 {
            return;
        }
        if let Some(cause) = &self.stopping {
            self.ended = Some(cause.clone());
        } else if !self.discover && self.is_ready() && self.queue.is_empty() && self.unfound.is_empty() {
            self.ended = Some(EndCause::Completed);
        }
        if self.ended.is_some() {
            self.records.extend(self.unexplained.take().map(Record::SuiteError));
            self.tell_used();
        }
    }

    /// What its worker took for it.
    pub fn takes(&mut self, more: Used) {
        let Used { cpu_us, peak_kib, whole } = more;
        self.used.cpu_us = self.used.cpu_us.saturating_add(cpu_us);
        self.used.peak_kib = self.used.peak_kib.max(peak_kib);
        self.used.whole = whole;
    }

    /// To be called once, when it has ended.
    pub fn tell_used(&mut self) {
        if self.used != Used::default() {
            self.records.push(Record::Used(self.used));
        }
    }

    /// A newer generation takes back some of what was dropped when the executor began to leave: what is here stays.
    pub fn keep_all(&mut self, generation: Generation, fed: &BTreeSet<TestIndex>) {
        if !self.runs_out() || self.discover || !self.is_ready() || generation <= self.generation {
            return;
        }
        (self.generation, self.fetching) = (generation, generation);
        let here: BTreeSet<_> = self.undelivered().chain(fed.iter().copied()).collect();
        self.kept = here.into_iter().collect();
    }

    /// Whether only what runs of it goes on, because its executor leaves.
    pub fn runs_out(&self) -> bool {
        self.ended.is_none() && self.stopping.as_ref().is_some_and(is_drain)
    }

    /// Drops what has not started. One that goes on to its end may still be cancelled.
    pub fn stop(&mut self, cause: EndCause) {
        let goes_on = self.runs_out() && (cause == EndCause::Cancelled || is_drain(&cause));
        if self.ended.is_none() && (self.stopping.is_none() || goes_on) {
            self.stopping = Some(cause);
            self.queue.clear();
            self.unfound.clear();
        }
    }
}
