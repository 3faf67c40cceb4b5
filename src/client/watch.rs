//! A run's stream, resumed where it was when the connection is lost. A task of its own reads it, so that whoever shows
//! it may do other things meanwhile.
#![expect(clippy::disallowed_methods, reason = "a shell: the stream is read by a task")]

use std::pin::pin;
use std::sync::Arc;

use seagull_domain::{Digest, Manifest, RunEvent, RunId, RunSpec, Seq, StreamItem};
use seagull_proto::convert::{LiveSlot, Printed, WatchAsked, Watched};
use seagull_proto::v1;
use tokio::sync::mpsc;

use super::{Client, Error, QUIET, backoff};
use crate::errors::say;

/// A scheduler that answers only with errors of its own is given up after so many in a row.
const INTERNAL: u32 = 10;

/// What a watcher has to tell.
#[derive(Debug)]
pub enum Notice {
    /// Always before the event that confirms it.
    Manifest(Arc<Manifest>),
    /// Always before the event that names tests of it: the manifest that was expected to be found.
    Expected(Arc<Manifest>),
    Items(Vec<StreamItem>),
    Live(Vec<LiveSlot>),
    /// What a test prints while it runs.
    Printed(Printed),
    /// What the scheduler says of itself.
    Said(String),
    /// An answer is waited for, which takes long.
    Waiting(String),
    /// The connection is lost, for this reason; tries go on.
    Disconnected(String),
    Reconnected,
    /// Nothing more will come.
    Failed(Error),
}

impl Client {
    /// Watches a run from its beginning to its end; with what tests print while they run, if that is wanted.
    pub fn watch(&self, run: RunId, output: bool) -> mpsc::Receiver<Notice> {
        self.read(run, Extent { output, until_now: false })
    }

    /// Watches a run from its beginning to where it is now.
    pub fn look_at(&self, run: RunId) -> mpsc::Receiver<Notice> {
        self.read(run, Extent { output: false, until_now: true })
    }

    /// What a run was asked for as, if there is one.
    pub async fn begun(&self, run: &RunId) -> Result<Option<RunSpec>, Error> {
        let mut notices = self.look_at(run.clone());
        let begun = |item: StreamItem| match item.event {
            RunEvent::RunStarted(spec) => Some(*spec),
            _ => None,
        };
        while let Some(notice) = notices.recv().await {
            match notice {
                Notice::Items(items) => return Ok(items.into_iter().find_map(begun)),
                Notice::Waiting(word) => say!("{word}"),
                Notice::Failed(error) if error.is_not_found() => return Ok(None),
                Notice::Failed(error) => return Err(error),
                _ => {}
            }
        }
        Ok(None)
    }

    fn read(&self, run: RunId, extent: Extent) -> mpsc::Receiver<Notice> {
        let (notices, receiver) = mpsc::channel(16);
        let (client, position) = (self.clone(), Position::default());
        let watcher = Watcher { client, run, position, expected: None, notices, lost: false, extent };
        tokio::spawn(watcher.run());
        receiver
    }
}

struct Watcher {
    client: Client,
    run: RunId,
    position: Position,
    /// The manifest that was told last of those that turned out to be others.
    expected: Option<Digest>,
    notices: mpsc::Sender<Notice>,
    /// The loss of the connection was told, and not yet that it is back.
    lost: bool,
    extent: Extent,
}

/// How much of a run is wanted.
#[derive(Clone, Copy)]
struct Extent {
    /// What tests print while they run.
    output: bool,
    /// Nothing that happens from now on.
    until_now: bool,
}

/// Why reading stopped.
enum Stop {
    /// The run has ended, or nobody listens.
    Done,
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Error(error)
    }
}

impl Watcher {
    async fn run(mut self) {
        let (mut failures, mut internal) = (0, 0);
        loop {
            let before = self.position;
            let error = match self.read().await {
                Stop::Done => return,
                Stop::Error(error) => error.at(self.client.url.as_ref()),
            };
            if self.position != before {
                (failures, internal) = (0, 0);
            }
            failures += 1;
            internal = if error.is_internal() { internal + 1 } else { 0 };
            if !error.is_transient() || internal > INTERNAL {
                let _ = self.notices.send(Notice::Failed(error)).await;
                return;
            }
            // The first reconnect is immediate; if it succeeds, there is nothing worth telling.
            if failures > 1 {
                if !self.lost && self.tell(Notice::Disconnected(error.to_string())).await.is_err() {
                    return;
                }
                self.lost = true;
                tokio::time::sleep(backoff(failures)).await;
            }
        }
    }

    /// Reads until the stream breaks off or ends.
    async fn read(&mut self) -> Stop {
        match self.read_on().await {
            Ok(()) => Stop::Done,
            Err(stop) => stop,
        }
    }

    async fn read_on(&mut self) -> Result<(), Stop> {
        let Extent { output, until_now } = self.extent;
        let asked = WatchAsked { run: self.run.clone(), after: self.position.resume(), output };
        let mut runs = self.client.runs.clone();
        let mut answer = pin!(runs.watch(v1::WatchRequest::from(asked)));
        let answer = match tokio::time::timeout(QUIET, &mut answer).await {
            Ok(answer) => answer,
            Err(_) => {
                if let Some(word) = self.client.waits() {
                    self.tell(Notice::Waiting(word)).await?;
                }
                answer.await
            }
        };
        let mut messages = answer.map_err(Error::from)?.into_inner();
        let mut here = Position::default();
        while let Some(message) = messages.message().await.map_err(Error::from)? {
            if std::mem::take(&mut self.lost) {
                self.tell(Notice::Reconnected).await?;
            }
            match Watched::try_from(message).map_err(Error::new)? {
                Watched::Items(mut items) => {
                    let mut position = self.position;
                    items.retain(|item| position.is_new(&mut here, item.seq));
                    let ended = items.iter().any(|item| matches!(item.event, RunEvent::RunFinished { .. }));
                    self.items(items).await?;
                    self.position = position;
                    if ended {
                        return Ok(());
                    }
                }
                Watched::Live { slots, word, .. } => {
                    self.tell(Notice::Live(slots)).await?;
                    if !word.is_empty() {
                        self.tell(Notice::Said(word)).await?;
                    }
                }
                Watched::Printed(printed) => self.tell(Notice::Printed(printed)).await?,
                Watched::CaughtUp { .. } if until_now => return Ok(()),
                Watched::CaughtUp { .. } => {}
            }
        }
        Err(Error::from(tonic::Status::unavailable("the stream broke off")).into())
    }

    async fn items(&mut self, items: Vec<StreamItem>) -> Result<(), Stop> {
        for item in &items {
            match item.event {
                RunEvent::ManifestConfirmed { manifest, .. } => {
                    let manifest = self.client.manifest(manifest).await?;
                    self.tell(Notice::Manifest(Arc::new(manifest))).await?;
                }
                // Without it, what it is about has no names, and is of no consequence.
                RunEvent::ResultsDiscarded { manifest, .. } if self.expected != Some(manifest) => {
                    if let Ok(expected) = self.client.manifest(manifest).await {
                        self.tell(Notice::Expected(Arc::new(expected))).await?;
                        self.expected = Some(manifest);
                    }
                }
                _ => {}
            }
        }
        if items.is_empty() { Ok(()) } else { self.tell(Notice::Items(items)).await }
    }

    async fn tell(&self, notice: Notice) -> Result<(), Stop> {
        self.notices.send(notice).await.map_err(|_| Stop::Done)
    }
}

/// How far a stream was read: several events may share one number, always in the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Position {
    seq: Seq,
    /// How many events of that number.
    events: usize,
}

impl Position {
    /// After which number to begin, so that nothing is missing.
    fn resume(self) -> Seq {
        Seq(self.seq.0.saturating_sub(1))
    }

    fn pass(&mut self, seq: Seq) {
        self.events = if seq == self.seq { self.events + 1 } else { 1 };
        self.seq = seq;
    }

    /// Counts an event of this connection, which is `here`; says whether it was not read over an earlier one.
    fn is_new(&mut self, here: &mut Position, seq: Seq) -> bool {
        here.pass(seq);
        let new = (here.seq, here.events) > (self.seq, self.events);
        if new {
            *self = *here;
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of the events of a stream.
    const STREAM: [u64; 8] = [1, 2, 2, 2, 5, 5, 6, 9];

    #[test]
    fn wherever_a_stream_breaks_off_each_event_is_read_once() {
        for first in 0..=STREAM.len() {
            for second in 0..=STREAM.len() {
                let mut position = Position::default();
                let mut read = Vec::new();
                for cut in [first, second, STREAM.len()] {
                    let mut here = Position::default();
                    let resumed = STREAM.iter().filter(|seq| **seq > position.resume().0).take(cut);
                    for seq in resumed.copied().collect::<Vec<_>>() {
                        if position.is_new(&mut here, Seq(seq)) {
                            read.push(seq);
                        }
                    }
                }
                assert_eq!(read, STREAM, "cut after {first}, then {second}");
            }
        }
    }
}
