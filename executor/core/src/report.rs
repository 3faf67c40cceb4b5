//! The report: the executor's current state, with as many unacknowledged results as a message holds.

use seagull_domain::{
    AttemptId, AttemptReport, AttemptState, Batch, Record, Report, TestIndex, WorkerReport,
};

use crate::attempt::Attempt;
use crate::state::State;

/// Bytes and number of records in one batch, and bytes of batches in one report; a message is at most 1 MiB.
const BATCH_BYTES: usize = 128 << 10;
const BATCH_RECORDS: usize = 200;
const REPORT_BYTES: usize = 640 << 10;

impl State {
    /// What there is to deliver is in batches from now on; what comes later will be in others.
    pub fn close_batches(&mut self) {
        for (id, attempt) in &mut self.attempts {
            attempt.make_batches(*id);
        }
    }

    /// The next report, with as many closed batches as it has room for.
    pub fn next_report(&mut self) -> Report {
        self.report_with(REPORT_BYTES)
    }

    /// The next report while nothing can be delivered.
    pub fn report_without_results(&mut self) -> Report {
        self.report_with(0)
    }

    /// An attempt is reported as ended only together with all it has to deliver.
    fn report_with(&mut self, mut room: usize) -> Report {
        self.sequence += 1;
        if let Some(farewell) = &mut self.farewell {
            farewell.said = true;
        }
        let mut batches = Vec::new();
        let mut attempts = Vec::new();
        let running = self.running();
        for (id, attempt) in &self.attempts {
            let complete = take_batches(attempt, &mut room, &mut batches);
            let test = running.iter().find(|(of, _)| of == id).map(|(_, test)| *test);
            attempts.push(attempt.status(*id, test, complete));
        }
        Report {
            executor: self.executor.clone(),
            boot: self.boot.clone(),
            sequence: self.sequence,
            known: self.known,
            slots: self.slots.len() as u16,
            capacity: self.capacity,
            labels: self.labels.clone(),
            draining: self.leaving.as_ref().map(|leaving| leaving.drain.clone()),
            attempts,
            workers: self.worker_reports(),
            batches,
        }
    }

    fn running(&self) -> Vec<(AttemptId, TestIndex)> {
        let workers = self.slots.iter().filter_map(|slot| slot.worker.as_ref());
        workers.filter_map(|w| Some((w.fed.front()?.0, w.running?.0))).collect()
    }

    fn worker_reports(&self) -> Vec<WorkerReport> {
        let mut workers = Vec::new();
        for (slot, state) in (0..).map(seagull_domain::SlotIndex).zip(&self.slots) {
            let alive = state.worker.iter().map(|w| (w.run.clone(), w.number));
            let gone = state.gone.iter().map(|(run, number, _)| (run.clone(), *number));
            workers.extend(alive.chain(gone).map(|(run, number)| WorkerReport { run, slot, number }));
        }
        for (run, controller) in self.controllers.iter().filter(|(_, controller)| controller.is_alive()) {
            let (slot, number) = (controller.slot, controller.number);
            if !workers.iter().any(|worker| (&worker.run, worker.slot) == (run, slot)) {
                workers.push(WorkerReport { run: run.clone(), slot, number });
            }
        }
        workers
    }
}

/// Moves what fits into the report; says whether that is all the attempt has.
fn take_batches(attempt: &Attempt, room: &mut usize, batches: &mut Vec<Batch>) -> bool {
    for batch in &attempt.outbox {
        let size = batch.records.iter().map(size_of_record).sum();
        let Some(rest) = room.checked_sub(size) else { return false };
        *room = rest;
        batches.push(batch.clone());
    }
    attempt.records.is_empty()
}

impl Attempt {
    fn make_batches(&mut self, id: AttemptId) {
        let mut records = std::mem::take(&mut self.records).into_iter().peekable();
        while records.peek().is_some() {
            let mut size = 0;
            let mut batch = Vec::new();
            while let Some(record) = records.next_if(|record| batch.is_empty() || fits(&batch, size, record))
            {
                size += size_of_record(&record);
                batch.push(record);
            }
            self.last_batch += 1;
            let (run, number) = (self.run.clone(), self.last_batch);
            self.outbox.push_back(Batch { run, attempt: id, number, records: batch });
        }
    }

    fn status(&self, attempt: AttemptId, running: Option<TestIndex>, complete: bool) -> AttemptReport {
        let state = match &self.ended {
            Some(cause) if complete => AttemptState::Ended(cause.clone()),
            None if self.fed == 0 => AttemptState::Waiting,
            _ => AttemptState::Running(running),
        };
        let (run, generation, kept) = (self.run.clone(), self.generation, self.kept.clone());
        AttemptReport { attempt, run, generation, kept, state }
    }
}

fn fits(batch: &[Record], size: usize, record: &Record) -> bool {
    batch.len() < BATCH_RECORDS && size + size_of_record(record) <= BATCH_BYTES
}

/// An upper estimate of a record's encoded size.
fn size_of_record(record: &Record) -> usize {
    64 + match record {
        Record::Result(result) => result.detail.len() + result.message.len() + result.location.len(),
        Record::Missing { reason, .. } => reason.len(),
        Record::SuiteError(error) => error.title.len() + error.message.len(),
        Record::Coverage(_) | Record::Used(_) => 0,
        Record::Attached { file, .. } => file.name.len(),
        Record::Held { hold, .. } => hold.environment.len() + hold.sandbox.len(),
        Record::Left { left, .. } => left.command.len() + left.phase.len() + 4 * left.ports.len(),
        Record::Images(images) => {
            images.iter().map(|used| 16 + used.image.len() + used.id.len() + used.digest.len()).sum()
        }
    }
}
