//! What faces and helpers ask of the actor, how they reach it, and what it has others do.

use std::collections::HashSet;

use seagull_domain::{
    AttemptId, BundleContents, Desired, Digest, DrainState, ExecutorId, Generation, Report, RunId,
    RunOverview, RunSpec, SlotNumber, Standing, SuiteError, TestIndex, Whereabouts,
};
use seagull_scheduler_core::{Event, Refusal};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::committer::Progress;

/// What faces and helpers ask of the actor.
pub(crate) enum Request {
    Submit {
        spec: Box<RunSpec>,
        reply: oneshot::Sender<Result<bool, Refusal>>,
    },
    Cancel {
        run: RunId,
        reply: oneshot::Sender<()>,
    },
    /// None while the client is still at it.
    Judge {
        run: RunId,
        word: Option<Vec<SuiteError>>,
        reply: oneshot::Sender<()>,
    },
    /// The reply is dropped without an answer where a newer call replaced this one.
    Report {
        report: Box<Report>,
        reply: oneshot::Sender<Result<Desired, Displaced>>,
    },
    Bundle {
        run: RunId,
        attempt: AttemptId,
        generation: Generation,
        reply: oneshot::Sender<Option<BundleContents>>,
    },
    Run {
        run: RunId,
        reply: oneshot::Sender<Option<RunSpec>>,
    },
    /// The runs that are not archived yet. When one ended is not known here, so that it says 0.
    Overviews {
        reply: oneshot::Sender<Vec<RunOverview>>,
    },
    /// Slots of the executors that are there.
    Slots {
        reply: oneshot::Sender<u32>,
    },
    /// Where a test without a verdict is.
    Find {
        run: RunId,
        test: TestIndex,
        reply: oneshot::Sender<Option<Whereabouts>>,
    },
    /// What a run under way waits for.
    Standing {
        run: RunId,
        reply: oneshot::Sender<Option<Standing>>,
    },
    /// Asks executors to leave; says how far each has come.
    Drain {
        executors: Vec<ExecutorId>,
        limit_ms: u64,
        reply: oneshot::Sender<Vec<DrainState>>,
    },
    /// The blobs that the state's runs are made of.
    Blobs {
        reply: oneshot::Sender<HashSet<Digest>>,
    },
    Event(Event),
    /// What is acknowledged cannot be kept any more, for this reason.
    Broken(String),
}

impl Request {
    /// Whether it changes nothing.
    pub fn only_asks(&self) -> bool {
        matches!(
            self,
            Request::Bundle { .. }
                | Request::Run { .. }
                | Request::Overviews { .. }
                | Request::Slots { .. }
                | Request::Find { .. }
                | Request::Standing { .. }
                | Request::Blobs { .. }
        )
    }

    /// Whether nobody waits for its answer any more.
    pub fn is_given_up(&self) -> bool {
        match self {
            Request::Submit { reply, .. } => reply.is_closed(),
            Request::Cancel { reply, .. } => reply.is_closed(),
            Request::Judge { reply, .. } => reply.is_closed(),
            Request::Report { reply, .. } => reply.is_closed(),
            Request::Drain { reply, .. } => reply.is_closed(),
            _ => false,
        }
    }
}

/// A newer process has taken the executor's name.
#[derive(Debug)]
pub(crate) struct Displaced;

/// What a slot runs now.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub run: RunId,
    pub executor: ExecutorId,
    pub slot: SlotNumber,
    pub test: Option<TestIndex>,
}

/// Work that takes I/O, done outside of the actor; its outcome comes back as an event.
pub(crate) enum Errand {
    Plan {
        spec: Box<RunSpec>,
        generation: Generation,
        discovered: Digest,
        slots: u32,
        anticipated: Option<Digest>,
    },
    Anticipate {
        spec: Box<RunSpec>,
        slots: u32,
    },
    Archive {
        run: RunId,
    },
}

/// How faces and errands reach the actor.
#[derive(Clone)]
pub(crate) struct Handle {
    pub requests: mpsc::Sender<Request>,
    pub live: broadcast::Sender<Live>,
    pub durable: watch::Receiver<Progress>,
}

impl Handle {
    /// Sends a request made with a reply channel and waits for the reply; None where there will be none.
    pub async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.ok()?;
        answer.await.ok()
    }

    pub async fn tell(&self, event: Event) {
        let _ = self.requests.send(Request::Event(event)).await;
    }
}
