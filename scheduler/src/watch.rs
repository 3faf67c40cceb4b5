//! The stream of a run: what is durable in the journal (or the archive), then what becomes durable, with live events
//! in between.
#![expect(clippy::disallowed_methods, reason = "a shell: each watcher is a task")]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use seagull_domain::{RunEvent, RunId, Seq, StreamItem};
use seagull_proto::convert::{LiveSlot, WatchAsked, Watched, pack_items};
use seagull_proto::status;
use seagull_proto::v1::WatchMessage;
use seagull_scheduler_core::{Event, Fact, project};
use tokio::sync::{broadcast, mpsc};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::evict::evict;
use crate::grpc::{blocking, reading};
use crate::journal;
use crate::outputs::Following;
use crate::requests::Live;
use crate::service::{Facts, Service};

/// Facts read at a time.
const PAGE: u32 = 256;
/// How often another process's journal is looked at, and what tests print.
const LOOK: Duration = Duration::from_millis(100);
/// What whoever follows a run is told of the disk.
const FULL: &str =
    "its disk is full, and it stands still until there is room: executors finish what they have, and wait";
const ROOM: &str = "there is room on its disk again, and all goes on";

type Message = Result<WatchMessage, Status>;

struct Watcher {
    service: Arc<Service>,
    run: RunId,
    after: Seq,
    /// What tests print, if that is wanted.
    output: Option<Following>,
    /// Turns when some test has printed something.
    told: tokio::sync::watch::Receiver<u64>,
    /// It was told that the disk is full.
    stands_still: bool,
    messages: mpsc::Sender<Message>,
}

pub(crate) async fn stream(
    service: Arc<Service>,
    asked: WatchAsked,
) -> Result<impl Stream<Item = Message> + Send + 'static, Status> {
    let WatchAsked { run, after, output } = asked;
    let reader = match service.of_another(&run).is_some() || service.knows(&run).await? {
        true => Facts::of(service.clone(), run.clone(), after),
        false => {
            let (of, wanted) = (service.clone(), run.clone());
            let stored = reading(move || Facts::stored(&of, &wanted, after)).await?;
            stored.ok_or_else(|| Status::not_found(format!("no run {run}")))?
        }
    };
    if service.reads_only {
        // A scheduler does so when a run has ended.
        let of = service.clone();
        blocking(move || evict(&of, &HashSet::new())).await?;
    }
    let (messages, stream) = mpsc::channel(16);
    tokio::spawn(async move {
        let (failed, actor) = (messages.clone(), service.actor.clone());
        let output = output.then(|| service.outputs.follow(&run));
        let told = service.outputs.told();
        let watcher =
            Watcher { service, run: run.clone(), after, output, told, stands_still: false, messages };
        actor.tell(Event::Watched { run: run.clone() }).await;
        let outcome = watcher.run(reader).await;
        actor.tell(Event::Unwatched { run }).await;
        if let Err(status) = outcome {
            let _ = failed.send(Err(status)).await;
        }
    });
    Ok(ReceiverStream::new(stream))
}

impl Watcher {
    /// Ends after the run's last event, or when nobody listens any more.
    async fn run(mut self, mut reader: Facts) -> Result<(), Status> {
        let mut durable = self.service.actor.durable.clone();
        let mut live = self.service.actor.live.subscribe();
        let (mut caught_up, mut gone) = (false, false);
        loop {
            durable.mark_unchanged();
            let facts;
            (facts, reader) = reading(move || reader.page(PAGE).map(|facts| (facts, reader))).await?;
            if facts.is_empty() && !caught_up {
                caught_up = true;
                self.send(Watched::CaughtUp { after: self.after }.into()).await?;
            }
            let empty = facts.is_empty();
            if self.pass_on(facts).await? {
                return Ok(());
            }
            if !empty {
                continue;
            }
            self.pass_output_on().await?;
            if reader.is_of_another() {
                if gone {
                    return Err(status::broken_off());
                }
                gone = self.look_again().await?;
            } else if !self.wait(&mut durable, &mut live).await? {
                return Ok(());
            }
        }
    }

    /// Sends what the facts mean; says whether that was the run's end.
    async fn pass_on(&mut self, facts: Vec<(Seq, Fact)>) -> Result<bool, Status> {
        let Some((last, _)) = facts.last() else { return Ok(false) };
        self.after = *last;
        let project = |(seq, fact): &(Seq, Fact)| {
            let seq = *seq;
            project(fact).into_iter().map(move |event| StreamItem { seq, event })
        };
        let items: Vec<_> = facts.iter().flat_map(project).collect();
        let ended = items.iter().any(|item| matches!(item.event, RunEvent::RunFinished { .. }));
        for message in pack_items(items) {
            self.send(message).await?;
        }
        Ok(ended)
    }

    /// Sends what tests have printed since the last time.
    async fn pass_output_on(&mut self) -> Result<(), Status> {
        let Some(mut output) = self.output.take() else { return Ok(()) };
        self.told.mark_unchanged();
        let news;
        (news, output) = blocking(move || Ok::<_, String>((output.news(), output))).await?;
        self.output = Some(output);
        for printed in news {
            self.send(Watched::Printed(printed).into()).await?;
        }
        Ok(())
    }

    /// Waits until facts that another process writes are worth another look; says whether it is the last.
    async fn look_again(&self) -> Result<bool, Status> {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = self.messages.closed() => return Err(Status::cancelled("nobody listens")),
        }
        let directory = self.service.runs.join(self.run.as_str());
        blocking(move || Ok::<_, String>(!journal::is_open(&directory))).await
    }

    /// Waits for facts that may be the run's, or for what tests print, if that is wanted; passes live events on meanwhile.
    /// False when the scheduler ends.
    async fn wait(
        &mut self,
        durable: &mut tokio::sync::watch::Receiver<crate::committer::Progress>,
        live: &mut broadcast::Receiver<Live>,
    ) -> Result<bool, Status> {
        let disk = self.service.disk.clone();
        loop {
            tokio::select! {
                () = disk.full(), if !self.stands_still => self.say(FULL).await?,
                () = disk.room(), if self.stands_still => self.say(ROOM).await?,
                changed = durable.changed() => return Ok(changed.is_ok()),
                () = self.messages.closed() => return Ok(false),
                Ok(()) = self.told.changed(), if self.output.is_some() => {
                    tokio::time::sleep(LOOK).await;
                    return Ok(true);
                }
                event = live.recv() => match event {
                    Ok(event) if event.run == self.run => self.send_live(event).await?,
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return Ok(false),
                },
            }
        }
    }

    async fn send_live(&self, Live { executor, slot, test, .. }: Live) -> Result<(), Status> {
        let slots = vec![LiveSlot { executor, slot, test }];
        self.send(Watched::Live { after: self.after, slots, word: String::new() }.into()).await
    }

    async fn say(&mut self, word: &str) -> Result<(), Status> {
        self.stands_still = word == FULL;
        self.send(Watched::Live { after: self.after, slots: Vec::new(), word: word.to_owned() }.into()).await
    }

    async fn send(&self, message: WatchMessage) -> Result<(), Status> {
        self.messages.send(Ok(message)).await.map_err(|_| Status::cancelled("nobody listens"))
    }
}
