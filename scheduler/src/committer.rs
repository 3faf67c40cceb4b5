//! Group commit: a thread that makes batches of facts durable, as many at once as have come.

use std::sync::mpsc;

use seagull_domain::{RunId, Seq};
use seagull_scheduler_core::Fact;
use tokio::sync::watch;

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
    pub fn start(mut journal: Journal, seq: Seq) -> Committer {
        let (work, queue) = mpsc::channel();
        let (progress, durable) = watch::channel(Progress { seq, ..Progress::default() });
        let run = move || {
            while let Ok(first) = queue.recv() {
                match commit(&mut journal, first, &queue) {
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
        Committer { work, durable }
    }

    /// The thread ends when a commit fails; `durable` tells.
    pub fn submit(&self, work: Work) {
        let _ = self.work.send(work);
    }
}

/// One transaction for all facts that wait; returns the last one's number.
fn commit(journal: &mut Journal, first: Work, queue: &mpsc::Receiver<Work>) -> Result<Option<Seq>, Error> {
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
    if !facts.is_empty() {
        journal.append(&facts)?;
    }
    if let Some((seq, body, runs)) = snapshot {
        journal.snapshot(seq, &body, &runs)?;
    }
    Ok(facts.last().map(|(seq, _)| *seq))
}
