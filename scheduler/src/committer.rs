//! Group commit: a thread that makes batches of facts durable, as many at once as have come.
#![expect(clippy::disallowed_methods, reason = "a shell: the journal's thread starts here")]

use std::sync::{Arc, mpsc};

use seagull_domain::{RunId, Seq};
use seagull_scheduler_core::Fact;
use tokio::sync::watch;

use crate::disk::Disk;
use crate::journal::{Error, Journal};

pub(crate) enum Work {
    Facts(Vec<(Seq, Fact)>),
    /// The state as of a fact, and the runs it has.
    Snapshot {
        seq: Seq,
        body: String,
        runs: Vec<RunId>,
    },
}

/// Hands facts to the thread, and tells up to which fact all is durable.
pub(crate) struct Committer {
    work: mpsc::Sender<Work>,
    pub durable: watch::Receiver<Progress>,
}

/// How far the journal is durable.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    pub seq: Seq,
    pub wants_snapshot: bool,
    /// Set once, when nothing more can be made durable.
    pub failed: Option<String>,
}

impl Committer {
    pub fn start(mut journal: Journal, seq: Seq, disk: Arc<Disk>) -> Committer {
        let (committer, queue, progress) = Committer::with_queue(seq);
        let run = move || {
            while let Ok(first) = queue.recv() {
                match commit(&mut journal, first, &queue, &disk) {
                    Ok(Some(seq)) => progress.send_modify(|p| {
                        p.seq = seq;
                        p.wants_snapshot = journal.wants_snapshot();
                    }),
                    Ok(None) => progress.send_modify(|p| p.wants_snapshot = false),
                    Err(error) => return progress.send_modify(|p| p.failed = Some(error.to_string())),
                }
            }
        };
        std::thread::Builder::new().name("journal".into()).spawn(run).expect("a thread can be started");
        committer
    }

    /// A committer with the ends that its thread has.
    pub fn with_queue(seq: Seq) -> (Committer, mpsc::Receiver<Work>, watch::Sender<Progress>) {
        let (work, queue) = mpsc::channel();
        let (progress, durable) = watch::channel(Progress { seq, ..Progress::default() });
        (Committer { work, durable }, queue, progress)
    }

    /// The thread ends when a commit fails; `durable` tells.
    pub fn submit(&self, work: Work) {
        let _ = self.work.send(work);
    }
}

/// One transaction for all facts that wait; returns the last one's number.
fn commit(
    journal: &mut Journal,
    first: Work,
    queue: &mpsc::Receiver<Work>,
    disk: &Disk,
) -> Result<Option<Seq>, Error> {
    let mut facts = Vec::new();
    let mut next = Some(first);
    let mut snapshot = None;
    while let Some(work) = next {
        match work {
            Work::Facts(more) => facts.extend(more),
            Work::Snapshot { seq, body, runs } => {
                snapshot = Some((seq, body, runs));
                break;
            }
        }
        next = queue.try_recv().ok();
    }
    let last = facts.last().map(|(seq, _)| *seq);
    if !facts.is_empty() {
        let bytes = disk.keep(Error::is_full, || journal.append(&facts))?;
        journal.keep_at_hand(facts, bytes);
    }
    if let Some((seq, body, runs)) = snapshot {
        disk.keep(Error::is_full, || journal.snapshot(seq, &body, &runs))?;
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use seagull_domain::NotExecuted;
    use seagull_scheduler_core::{Settings, What};

    use super::*;

    #[tokio::test]
    async fn what_is_told_to_be_durable_can_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let (journal, state) = Journal::open(directory.path(), Settings::default()).unwrap();
        let reader = journal.reader().unwrap();
        let mut committer = Committer::start(journal, state.seq, Arc::new(Disk::new(true)));
        let run: RunId = "r".parse().unwrap();
        let what = What::Stopping { reason: NotExecuted::Cancelled };
        let fact = Fact { run: run.clone(), what };
        committer.submit(Work::Facts(vec![(Seq(1), fact.clone()), (Seq(2), fact.clone())]));
        let durable = committer.durable.wait_for(|progress| progress.seq > Seq(0)).await.unwrap().seq;
        assert_eq!(reader.read(&run, Seq(0), 9).unwrap().len() as u64, durable.0);
        assert_eq!(reader.at_hand(&run, Seq(0), 9), [(Seq(1), fact.clone()), (Seq(2), fact)]);
    }
}
