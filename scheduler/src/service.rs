//! What faces, watchers and errands share: the way to the actor, and the stores.
#![expect(clippy::disallowed_methods, reason = "a shell: what the services share")]

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seagull_domain::{Digest, RunId, RunSpec, Seq};
use seagull_proto::status;
use seagull_results::index::{Index, SqliteIndex};
use seagull_results::{Archive, ArchivedFacts, Attached, Blobs, Error, History, Key, Logs, Remote};
use seagull_scheduler_core::{Fact, What};
use tokio::sync::oneshot;
use tonic::Status;

use crate::disk::Disk;
use crate::elsewhere::Copies;
use crate::grpc::{blocking, reading};
use crate::indexer::Spool;
use crate::journal::{self, Reader};
use crate::outputs::Outputs;
use crate::requests::{Handle, Request};
use crate::room::Room;
use crate::unread::Unread;

pub(crate) struct Service {
    pub actor: Handle,
    pub blobs: Blobs,
    /// The store behind the blobs, where the logs of ended runs go too.
    pub remote: Option<Arc<Remote>>,
    pub history: History,
    pub archive: Archive,
    /// What runs came to, as it is searched.
    pub index: Arc<dyn Index>,
    /// The same, where it is the state directory's own.
    pub own_index: Option<SqliteIndex>,
    /// How far it is, where it is elsewhere.
    pub spool: Option<Arc<Spool>>,
    /// When what was learned was copied to the store.
    pub copies: Copies,
    /// What may wait for the store and the index.
    pub room: Room,
    /// How long a report with results is held while there is no room.
    pub hold: Duration,
    /// Room on the disk of the state directory.
    pub disk: Arc<Disk>,
    /// It takes no runs.
    pub reads_only: bool,
    /// What tests print while they run.
    pub outputs: Arc<Outputs>,
    /// `STATE/runs`: a directory for each run, with its logs and its archived stream.
    pub runs: PathBuf,
    /// The journal's directory: the state directory itself, or that of the one run.
    pub journal: PathBuf,
    pub reader: Mutex<Reader>,
}

impl Service {
    /// Refuses what changes something where nothing may.
    pub fn may_change(&self) -> Result<(), Status> {
        if self.reads_only {
            return Err(Status::failed_precondition(
                "a results proxy only reads\nhint: --scheduler takes the URL of the scheduler itself",
            ));
        }
        Ok(())
    }

    /// Refuses what only an index tells, where a results proxy was given none.
    pub fn may_search(&self) -> Result<(), Status> {
        if self.reads_only && self.own_index.is_some() {
            return Err(Status::failed_precondition(
                "this results proxy has no index: it knows runs by their ids only\n\
                 hint: seagull results-proxy --index takes the one that the scheduler writes to",
            ));
        }
        Ok(())
    }

    /// Asks the core for what it can only do when there is room on the disk, which is not waited for for long.
    pub async fn change<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Status> {
        tokio::select! {
            biased;
            answer = self.actor.ask(request) => {
                answer.ok_or_else(|| Status::unavailable("the scheduler is shutting down"))
            }
            () = self.disk.full() => Err(status::stands_still()),
        }
    }

    /// The logs of a run's attempts.
    pub fn logs(&self, run: &RunId) -> Logs {
        logs_of(&self.runs, run).packed_into(self.remote.clone(), run)
    }

    /// The small files that a run's tests have left.
    pub fn attached(&self, run: &RunId) -> Attached {
        attached_of(&self.runs, run).packed_into(self.remote.clone(), run)
    }

    /// A file that a run's tests have left.
    pub fn attachment(&self, run: &RunId, digest: &Digest) -> Result<File, Error> {
        match self.attached(run).read(digest) {
            Err(Error::NoBlob(_)) => self.blobs.read_of(run, digest),
            read => read,
        }
    }

    /// Whether a run has not ended.
    pub async fn is_under_way(&self, run: &RunId) -> bool {
        let live = self.actor.ask(|reply| Request::Run { run: run.clone(), reply }).await;
        live.flatten().is_some() && !self.archive.contains(run)
    }

    /// Facts of a run after `after` that the journal has, each as JSON.
    pub fn journalled(&self, run: &RunId, after: Seq, limit: u32) -> Result<Vec<(Seq, Vec<u8>)>, String> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader.read(run, after, limit).map_err(|error| error.to_string())
    }

    /// The directory of a run that another process has, or had: an embedded one that is not archived.
    pub fn of_another(&self, run: &RunId) -> Option<PathBuf> {
        let directory = self.runs.join(run.as_str());
        (directory != self.journal && journal::exists(&directory)).then_some(directory)
    }

    /// Whether there is, or was, such a run.
    pub async fn knows(self: &Arc<Self>, run: &RunId) -> Result<bool, Status> {
        let live = self.actor.ask(|reply| Request::Run { run: run.clone(), reply }).await;
        let live = live.ok_or_else(|| Status::unavailable("the scheduler is shutting down"))?;
        Ok(live.is_some() || self.archived_spec(run).await?.is_some())
    }

    /// Those of these runs that have ended and are not here any more, or never were, but in the store; which is not asked for
    /// those that broke off here.
    pub fn stored(&self, mut runs: BTreeSet<RunId>) -> Result<BTreeSet<RunId>, Unread> {
        let Some(remote) = &self.remote else { return Ok(BTreeSet::new()) };
        runs.retain(|run| !self.archive.contains(run) && self.of_another(run).is_none());
        let mut stored = BTreeSet::new();
        for run in runs {
            if remote.contains(&Key::Stream(run.clone()))? {
                stored.insert(run);
            }
        }
        Ok(stored)
    }

    /// The facts of an ended run after a number, from the store; None where it has no such run.
    pub fn stored_facts(&self, run: &RunId, after: Seq) -> Result<Option<ArchivedFacts>, Unread> {
        let Some(remote) = &self.remote else { return Ok(None) };
        if !remote.contains(&Key::Stream(run.clone()))? {
            return Ok(None);
        }
        Ok(Some(Box::new(
            remote.facts(run).filter(move |fact| fact.as_ref().map_or(true, |(seq, _)| *seq > after)),
        )))
    }

    /// What a run that is archived was submitted as.
    pub async fn archived_spec(self: &Arc<Self>, run: &RunId) -> Result<Option<RunSpec>, Status> {
        if !self.archive.contains(run) {
            return Ok(None);
        }
        let mut facts = Facts::of(self.clone(), run.clone(), Seq(0));
        blocking(move || facts.page(1)).await.map(submitted)
    }

    /// What a run that has ended was submitted as, also where only the store has it. A store that does not say so in time is taken
    /// for one that has not: no run waits for it.
    pub async fn ended_spec(self: &Arc<Self>, run: &RunId) -> Result<Option<RunSpec>, Status> {
        let archived = self.archived_spec(run).await?;
        let Some(remote) = self.remote.clone().filter(|_| archived.is_none()) else { return Ok(archived) };
        if self.knows(run).await? || self.of_another(run).is_some() {
            return Ok(None);
        }
        let (service, run) = (self.clone(), run.clone());
        let first = reading(move || -> Result<_, Unread> {
            if remote.says_it_has(&Key::Stream(run.clone())) != Some(true) {
                return Ok(None);
            }
            let facts = Facts::stored(&service, &run, Seq(0))?;
            facts.map(|mut facts| facts.page(1)).transpose()
        });
        Ok(first.await?.and_then(submitted))
    }
}

/// What a run was submitted as, by its first fact.
fn submitted(first: Vec<(Seq, Fact)>) -> Option<RunSpec> {
    first.into_iter().next().and_then(|(_, fact)| match fact.what {
        What::Submitted(spec) => Some(*spec),
        _ => None,
    })
}

/// The logs of a run, by the directory of all runs.
pub(crate) fn logs_of(runs: &Path, run: &RunId) -> Logs {
    Logs::new(&runs.join(run.as_str()).join("logs"))
}

/// The small files of a run, likewise.
pub(crate) fn attached_of(runs: &Path, run: &RunId) -> Attached {
    Attached::new(&runs.join(run.as_str()).join("attached"))
}

/// The facts of a run after a number, page by page: from the journal, or from the archive where the journal has
/// dropped them.
pub(crate) struct Facts {
    service: Arc<Service>,
    run: RunId,
    after: Seq,
    /// The journal of another process.
    another: Option<Reader>,
    /// From where it is opened on, the stream is whole.
    archived: Option<ArchivedFacts>,
}

impl Facts {
    pub fn of(service: Arc<Service>, run: RunId, after: Seq) -> Facts {
        Facts { service, run, after, another: None, archived: None }
    }

    /// Those of an ended run that only the store has; None where it has no such run.
    pub fn stored(service: &Arc<Service>, run: &RunId, after: Seq) -> Result<Option<Facts>, Unread> {
        let Some(stored) = service.stored_facts(run, after)? else { return Ok(None) };
        Ok(Some(Facts { archived: Some(stored), ..Facts::of(service.clone(), run.clone(), after) }))
    }

    /// Whether they are written by another process, so that nobody tells of new ones.
    pub fn is_of_another(&self) -> bool {
        self.another.is_some() && self.archived.is_none()
    }

    /// The next facts, at most so many; none where there are no more yet.
    pub fn page(&mut self, limit: u32) -> Result<Vec<(Seq, Fact)>, Unread> {
        let mut facts = self.at_hand(limit);
        if facts.is_empty() {
            let parsed = |(seq, body): (Seq, Vec<u8>)| Ok::<_, Unread>((seq, parse(seq, &body)?));
            facts = self.bodies(limit)?.into_iter().map(parsed).collect::<Result<_, _>>()?;
        }
        if let Some((last, _)) = facts.last() {
            self.after = *last;
        }
        Ok(facts)
    }

    fn at_hand(&self, limit: u32) -> Vec<(Seq, Fact)> {
        if self.archived.is_some() {
            return Vec::new();
        }
        let reader = self.service.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader.at_hand(&self.run, self.after, limit)
    }

    fn bodies(&mut self, limit: u32) -> Result<Vec<(Seq, Vec<u8>)>, Unread> {
        if self.archived.is_none() {
            let live = self.journalled(limit)?;
            if !live.is_empty() || !self.service.archive.contains(&self.run) {
                return Ok(live);
            }
            let archived = self.service.archive.read(&self.run, self.after);
            self.archived = Some(archived?);
        }
        let page = self.archived.iter_mut().flatten().take(limit as usize);
        Ok(page.collect::<Result<_, _>>()?)
    }

    fn journalled(&mut self, limit: u32) -> Result<Vec<(Seq, Vec<u8>)>, String> {
        let own = self.service.journalled(&self.run, self.after, limit)?;
        if !own.is_empty() {
            return Ok(own);
        }
        if self.another.is_none()
            && let Some(directory) = self.service.of_another(&self.run)
        {
            self.another = Reader::of_another(&directory).map_err(|error| error.to_string())?;
        }
        let Some(another) = &self.another else { return Ok(own) };
        another.read(&self.run, self.after, limit).map_err(|error| error.to_string())
    }
}

pub(crate) fn parse(seq: Seq, body: &[u8]) -> Result<Fact, String> {
    serde_json::from_slice(body).map_err(|error| format!("fact {seq}: {error}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use seagull_domain::RunVerdict;
    use seagull_results::{EndedRun, Lineage};
    use seagull_scheduler_core::Settings;
    use tokio::sync::{broadcast, mpsc, watch};

    use super::*;
    use crate::committer::Progress;
    use crate::journal::Journal;

    pub fn spec(run: &str) -> RunSpec {
        let spec = serde_json::json!({
            "id": run, "owner": "o", "project": "p", "submitted_at": 0, "arguments": [], "cap_ms": 1, "retries": 0,
            "fail_fast": null, "grace_ms": 1, "seed": 1, "environment": {},
            "workspace": {"in_place": {"directory": "/"}},
        });
        serde_json::from_value(spec).unwrap()
    }

    /// A run that ended before.
    pub fn passed<'a>(run: &'a RunId, arguments: &'a [String]) -> EndedRun<'a> {
        EndedRun {
            of: Lineage::trunk("p"),
            run,
            submitted_at: 0,
            verdict: RunVerdict::Passed,
            arguments: Some(arguments),
            discovered: None,
            bundles: &[],
            setups: &[],
        }
    }

    /// The stores of a run; what its actor would be asked comes out of `requests`.
    pub struct Embedded {
        _state: tempfile::TempDir,
        pub service: Arc<Service>,
        pub journal: Journal,
        pub requests: mpsc::Receiver<Request>,
    }

    impl Embedded {
        pub fn new(run: &str) -> Embedded {
            let state = tempfile::tempdir().unwrap();
            let path = state.path();
            let runs = path.join("runs");
            let (journal, _) = Journal::open(&runs.join(run), Settings::default()).unwrap();
            let (sender, requests) = mpsc::channel(16);
            let (_, durable) = watch::channel(Progress::default());
            let index = SqliteIndex::open(&path.join("history.sqlite")).unwrap();
            let service = Service {
                index: Arc::new(index.clone()),
                own_index: Some(index),
                spool: None,
                copies: Copies::default(),
                room: Room::new(u64::MAX),
                hold: Duration::from_secs(1),
                reads_only: false,
                actor: Handle { requests: sender, live: broadcast::channel(1).0, durable },
                blobs: Blobs::open(&path.join("blobs")).unwrap(),
                remote: None,
                history: History::open(&path.join("history.sqlite")).unwrap(),
                archive: Archive::open(&runs).unwrap(),
                disk: Arc::new(Disk::new(true)),
                outputs: Arc::new(Outputs::new(&runs, true)),
                journal: runs.join(run),
                runs,
                reader: Mutex::new(journal.reader().unwrap()),
            };
            Embedded { _state: state, service: Arc::new(service), journal, requests }
        }

        /// With a store behind, for which at most so many bytes wait.
        pub fn with(mut self, store: &str, bound: u64) -> Embedded {
            let service = Arc::get_mut(&mut self.service).unwrap();
            let (runs, spool) = (service.runs.clone(), service.runs.with_file_name("spool"));
            let remote = crate::server::remote(&store.parse().unwrap(), &runs, &spool, bound).unwrap();
            service.blobs = service.blobs.clone().with(Some(remote.clone()));
            service.remote = Some(remote);
            service.room = Room::new(bound);
            self
        }

        /// Journals the facts of a run, the only ones.
        pub fn append(&mut self, run: &RunId, facts: Vec<What>) {
            let facts = (1..).map(Seq).zip(facts.into_iter().map(|what| Fact { run: run.clone(), what }));
            self.journal.append(&facts.collect::<Vec<_>>()).unwrap();
        }

        /// Archives a run of so many facts that say nothing.
        pub fn archived(&self, run: &RunId, facts: u64) {
            let fact = Fact { run: run.clone(), what: What::Archived };
            let mut draft = self.service.archive.draft(run).unwrap();
            (1..=facts).for_each(|seq| draft.write(Seq(seq), &serde_json::to_vec(&fact).unwrap()).unwrap());
            draft.finish().unwrap();
        }
    }

    #[test]
    fn a_stream_is_read_from_the_journal_then_from_the_archive_which_is_opened_once() {
        let run: RunId = "r".parse().unwrap();
        let mut embedded = Embedded::new("r");
        embedded.append(&run, vec![What::Archived, What::Archived]);
        embedded.archived(&run, 5);
        let mut facts = Facts::of(embedded.service.clone(), run.clone(), Seq(0));
        let mut page =
            |limit| facts.page(limit).unwrap().into_iter().map(|(seq, _)| seq.0).collect::<Vec<_>>();
        assert_eq!((page(1), page(9), page(1)), (vec![1], vec![2], vec![3]));
        embedded.service.archive.remove(&run).unwrap();
        assert_eq!((page(1), page(9), page(9)), (vec![4], vec![5], vec![]));
    }
}
