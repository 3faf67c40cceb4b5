//! The indexer: follows the streams of runs and writes what they come to into an index elsewhere. Runs do not wait for it:
//! what it has not written yet is in their streams, which are its spool.
#![expect(clippy::disallowed_methods, reason = "a shell: a task beside the actor, and files have ages")]

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::mem;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use seagull_domain::{Digest, Manifest, RunId, Seq, TextRef};
use seagull_results::Lineage;
use seagull_results::index::{
    Body, DeadLetters, Document, Learned, Listener, Pace, TEXT_BYTES, TimingsBody, deliver, part,
};
use seagull_scheduler_core::{Fact, What};

use crate::cursors::{Cursor, Cursors};
use crate::documents::{Projection, Sources};
use crate::past::{now, unix_millis};
use crate::plan;
use crate::requests::Request;
use crate::room::Elsewhere;
use crate::service::{Facts, Service};
use crate::told::Told;
use crate::unread::Unread;
use crate::warn;

/// Facts read at a time, and documents after which they are written.
const PAGE: u32 = 200;
const DOCUMENTS: usize = 10_000;
/// How fast what has waited is written.
const PACE: Pace = Pace { most: 20_000 };
/// Facts that come one after the other are written together.
const GATHER: Duration = Duration::from_millis(300);
/// How often it is looked whether there are runs of which nobody has told.
const LOOK: Duration = Duration::from_secs(5);
/// Tests of the runs that are followed at a time; at least one run is.
const TESTS: usize = 4_000_000;
const WAITS: &str = "hint: results wait in their streams, and are indexed when that is over";
/// After an error of our own, or while a store is away that has texts of ended runs.
const PAUSE: Duration = Duration::from_secs(5);

/// An index elsewhere, and how far it is.
pub(crate) struct Spool {
    pub cursors: Cursors,
    pub told: Told,
    letters: DeadLetters,
}

impl Spool {
    /// In a directory of the state's.
    pub fn open(directory: &Path) -> Result<Spool, String> {
        std::fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        Ok(Spool {
            cursors: Cursors::open(&directory.join("cursors.sqlite"))?,
            told: Told::open(&directory.join("timings.sqlite"))?,
            letters: DeadLetters::new(&directory.join("dead-letters.jsonl")),
        })
    }
}

/// Indexes until the scheduler ends.
pub(crate) async fn run(service: Arc<Service>, spool: Arc<Spool>) {
    let mut durable = service.actor.durable.clone();
    let desk = Desk { service, spool, archived: HashMap::new() };
    let mut indexer = Indexer { desk, followed: Vec::new(), unreadable: HashSet::new(), away_until: None };
    let mut is_prepared = false;
    let mut told = HashSet::new();
    loop {
        durable.mark_unchanged();
        let outcome =
            if is_prepared { indexer.round().await } else { indexer.desk.prepare().await.map(|()| true) };
        match outcome {
            Ok(true) => {
                is_prepared = true;
                told.clear();
            }
            Ok(false) => {
                tokio::select! {
                    changed = durable.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        tokio::time::sleep(GATHER).await;
                    }
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
            Err(error) => {
                if told.insert(error.clone()) {
                    warn(&format!("{error}\n{WAITS}"));
                }
                indexer.desk.weigh();
                // What is half done is begun anew from its cursor.
                indexer.followed.clear();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

struct Indexer {
    desk: Desk,
    /// In the order in which they are written.
    followed: Vec<Follower>,
    /// Runs whose stream, or manifest, cannot be read: they are tried again by the next process.
    unreadable: HashSet<RunId>,
    /// Until when what only the store has is not asked for, since it did not answer.
    away_until: Option<Instant>,
}

/// Where streams are read and documents are written.
struct Desk {
    service: Arc<Service>,
    spool: Arc<Spool>,
    /// Archived streams of which all is indexed, by when they were written.
    archived: HashMap<RunId, SystemTime>,
}

/// A run as far as it has been read.
struct Follower {
    run: RunId,
    submitted_at: u64,
    cursor: Cursor,
    facts: Facts,
    read: VecDeque<(Seq, Fact)>,
    projection: Projection,
    /// Whether the main branch learns from it.
    is_trunk: bool,
    ended: bool,
}

impl Indexer {
    /// Writes something of each run; says whether there was anything.
    async fn round(&mut self) -> Result<bool, String> {
        let is_due = self.away_until.is_some_and(|until| until <= Instant::now());
        self.look().await?;
        let (mut has_written, mut is_away) = (false, false);
        for follower in mem::take(&mut self.followed) {
            let run = follower.run.clone();
            if self.is_put_off(&run) {
                continue;
            }
            match self.desk.read(follower).await {
                Ok((follower, upto, documents)) => {
                    let (follower, written) = self.desk.advance(follower, upto, documents).await?;
                    has_written |= written;
                    self.followed.extend(follower);
                }
                Err(Unread::Away(error)) => {
                    is_away = true;
                    if self.away_until.replace(Instant::now() + PAUSE).is_none() {
                        warn(&format!("run {run} is not indexed before its texts can be read: {error}"));
                    }
                    self.desk.weigh();
                }
                Err(Unread::Damaged(error) | Unread::Trouble(error)) => {
                    warn(&format!("run {run} cannot be indexed, and is kept: {error}"));
                    self.unreadable.insert(run);
                }
            }
        }
        if is_due && !is_away {
            self.away_until = None;
        }
        if self.desk.service.room.is_full(Elsewhere::Index) {
            self.desk.weigh();
        }
        Ok(has_written)
    }

    /// Whether a run waits for a store that is away. It is followed anew, from its cursor, when that may be over.
    fn is_put_off(&self, run: &RunId) -> bool {
        self.away_until.is_some_and(|until| Instant::now() < until) && self.desk.is_elsewhere(run)
    }

    /// Whether a run is followed, or cannot be.
    fn is_known(&self, run: &RunId) -> bool {
        self.unreadable.contains(run) || self.followed.iter().any(|follower| follower.run == *run)
    }

    /// Follows the runs there are: those that have waited longest first, as long as there is room for them.
    async fn look(&mut self) -> Result<(), String> {
        let live = self.desk.service.actor.ask(|reply| Request::Overviews { reply }).await;
        let live = live.ok_or("the scheduler is shutting down")?;
        let archived = self.desk.service.archive.newest().map_err(|error| error.to_string())?;
        let is_there: HashSet<_> = archived.iter().map(|(run, _)| run.clone()).collect();
        self.desk.archived.retain(|run, _| is_there.contains(run));
        let waiting = archived.into_iter().rev();
        let waiting: Vec<_> = waiting.filter(|(run, at)| self.desk.archived.get(run) != Some(at)).collect();
        let runs = waiting.into_iter().map(|(run, at)| (run, Some(at)));
        for (run, at) in runs.chain(live.into_iter().map(|run| (run.run, None))) {
            let tests: usize = self.followed.iter().map(|follower| follower.projection.ids().len()).sum();
            if tests > TESTS && !self.followed.is_empty() {
                break;
            }
            if self.is_known(&run) || self.is_put_off(&run) {
                continue;
            }
            match self.desk.follow(&run).await? {
                Some(follower) if follower.cursor.done => {
                    self.desk.archived.extend(at.map(|at| (run, at)));
                }
                Some(follower) => self.followed.push(follower),
                None => {}
            }
        }
        Ok(())
    }
}

impl Desk {
    /// Whether a run has ended of which no text is here.
    fn is_elsewhere(&self, run: &RunId) -> bool {
        let has_none = || self.service.logs(run).list().is_ok_and(|logs| logs.is_empty());
        self.service.archive.contains(run) && has_none()
    }

    async fn prepare(&self) -> Result<(), String> {
        self.service.index.prepare().await.map_err(|error| error.to_string())
    }

    /// None where its stream has not begun.
    async fn follow(&self, run: &RunId) -> Result<Option<Follower>, String> {
        let (service, spool, run) = (self.service.clone(), self.spool.clone(), run.clone());
        blocking(move || {
            let mut facts = Facts::of(service, run.clone(), Seq(0));
            let read: VecDeque<_> = facts.page(1)?.into();
            let Some((_, Fact { what: What::Submitted(spec), .. })) = read.front() else { return Ok(None) };
            let (submitted_at, is_trunk) = (spec.submitted_at, spec.branch.is_none());
            let cursor = spool.cursors.get(&run, submitted_at, now())?;
            let projection = Projection::new(cursor.at);
            Ok(Some(Follower { run, submitted_at, cursor, facts, read, projection, is_trunk, ended: false }))
        })
        .await
    }

    async fn read(&self, mut follower: Follower) -> Result<(Follower, Seq, Vec<Document>), Unread> {
        let service = self.service.clone();
        let read = tokio::task::spawn_blocking(move || {
            let (upto, documents) = follower.next(&service)?;
            Ok((follower, upto, documents))
        });
        read.await.unwrap_or_else(|error| Err(error.to_string().into()))
    }

    /// Writes what was read of a run up to a fact. None comes back where all of it is written.
    async fn advance(
        &self,
        mut follower: Follower,
        upto: Seq,
        documents: Vec<Document>,
    ) -> Result<(Option<Follower>, bool), String> {
        let has_written = upto > follower.cursor.seq;
        if has_written {
            self.write(documents).await?;
            follower.cursor.seq = upto;
            self.spool.cursors.set(&follower.run, follower.submitted_at, follower.cursor)?;
        }
        if !follower.ended {
            return Ok((Some(follower), has_written));
        }
        // Its timings were learned when it was archived.
        let (service, of) = (self.service.clone(), follower.projection.of().cloned());
        let ids = follower.projection.into_ids();
        if let Some(of) = of.filter(|_| follower.is_trunk) {
            let documents = blocking(move || {
                let parts = timings(&service, &of.project, &ids)?;
                let document = |body| Document { of: of.clone(), version: now(), body: Body::Timings(body) };
                Ok(parts.into_iter().map(document).collect())
            });
            self.write(documents.await?).await?;
        }
        let done = Cursor { done: true, ..follower.cursor };
        self.spool.cursors.set(&follower.run, follower.submitted_at, done)?;
        self.weigh();
        Ok((None, true))
    }

    async fn write(&self, documents: Vec<Document>) -> Result<(), String> {
        let mut trouble = Trouble { desk: self, is_told: false };
        let rejected = deliver(&*self.service.index, documents, PACE, &mut trouble).await;
        if rejected.is_empty() {
            return Ok(());
        }
        self.spool.letters.add(&rejected).map_err(|error| error.to_string())?;
        let (path, why) = (self.spool.letters.path().display(), &rejected[0].1);
        warn(&format!(
            "{} documents that the index does not take are set aside in {path}, the first because {why}",
            rejected.len()
        ));
        Ok(())
    }

    /// How much waits to be indexed, from above: streams of which not all is, and the journal.
    fn weigh(&self) {
        let streams = self.service.archive.newest().unwrap_or_default();
        let waiting = streams.iter().filter(|(run, at)| self.archived.get(run) != Some(at));
        let streams: u64 = waiting.map(|(run, _)| self.service.archive.stream_bytes(run)).sum();
        let bytes = streams + crate::journal::bytes(&self.service.journal);
        self.service.room.weigh(Elsewhere::Index, bytes);
    }
}

/// What is told of an index that takes nothing, once in a row.
struct Trouble<'a> {
    desk: &'a Desk,
    is_told: bool,
}

impl Listener for Trouble<'_> {
    fn in_vain(&mut self, why: &str, _: Duration) {
        if !std::mem::replace(&mut self.is_told, true) {
            warn(&format!("{why}\n{WAITS}"));
        }
        self.desk.weigh();
    }

    fn goes_on(&mut self) {
        self.is_told = false;
        warn("the index takes results again");
        self.desk.weigh();
    }
}

impl Follower {
    /// The documents of the next facts, and the last of these: up to where its cursor is they are only read.
    fn next(&mut self, service: &Arc<Service>) -> Result<(Seq, Vec<Document>), Unread> {
        let mut documents = Vec::new();
        let mut upto = self.cursor.seq;
        let archived_at = service.archive.ended_at(&self.run).map(unix_millis);
        let mut sources = Kept { service, run: self.run.clone(), ended_at: archived_at.unwrap_or_default() };
        while documents.len() < DOCUMENTS {
            let Some((seq, fact)) = self.read.pop_front() else {
                self.read = self.facts.page(PAGE)?.into();
                if self.read.is_empty() {
                    break;
                }
                continue;
            };
            if matches!(fact.what, What::Ended { .. }) {
                // The archive knows when, and soon has it.
                if archived_at.is_none() {
                    self.read.push_front((seq, fact));
                    break;
                }
                self.ended = true;
            }
            let brought = self.projection.take(seq, fact.what, &mut sources)?;
            if seq > self.cursor.seq {
                upto = seq;
                documents.extend(brought);
            }
        }
        Ok((upto, documents))
    }
}

/// The main branch's timings of the parts that these tests are in, whatever else is in them.
fn timings(service: &Service, project: &str, ids: &[String]) -> Result<Vec<TimingsBody>, String> {
    let wanted: HashSet<u32> = ids.iter().map(|id| part(id)).collect();
    let mut parts: BTreeMap<u32, Vec<Learned>> = BTreeMap::new();
    let learned = service.history.each_timing(Lineage::trunk(project), |id, timing| {
        let part = part(id);
        if wanted.contains(&part) {
            parts.entry(part).or_default().push(Learned::new(id.to_owned(), timing));
        }
    });
    learned.map_err(|error| error.to_string())?;
    Ok(parts.into_iter().map(|(part, learned)| TimingsBody { part, learned }).collect())
}

/// Manifests and texts of a run, where the scheduler keeps them.
pub(crate) struct Kept<'a> {
    pub service: &'a Service,
    pub run: RunId,
    /// In Unix milliseconds, once it has ended.
    pub ended_at: u64,
}

impl Sources for Kept<'_> {
    fn manifest(&mut self, digest: &Digest) -> Result<Manifest, Unread> {
        plan::load_manifest(self.service, digest)
    }

    fn ended_at(&self) -> u64 {
        self.ended_at
    }

    /// What is not kept any more is empty.
    fn text(&mut self, text: TextRef) -> Result<Option<String>, Unread> {
        let wanted = TextRef { length: text.length.min(TEXT_BYTES), ..text };
        let bytes = self.service.logs(&self.run).read(wanted)?.unwrap_or_default();
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()))
}
