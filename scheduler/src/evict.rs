//! Eviction: what a state directory keeps of ended runs and of blobs, seen to after a run has ended.
#![expect(clippy::disallowed_methods, reason = "a shell: files have ages")]

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use seagull_domain::{Digest, RunId};

use crate::journal;
use crate::past;
use crate::service::Service;
use crate::uploads;

/// Ended runs that are kept, the newest.
const RUNS: usize = 1000;
/// Bytes of their streams and logs.
const RUN_BYTES: u64 = 20 << 30;
/// Bytes of manifests and artifacts.
const BLOB_BYTES: u64 = 20 << 30;

/// A file beside the runs that is written when all has been seen to.
const DONE: &str = ".evicted";
/// For how long that is enough: it takes a look at every file.
const PAUSE: Duration = Duration::from_secs(600);

/// Removes what is over the bounds but for runs that somebody keeps and the blobs that are wanted, if that was not done a
/// moment ago. The next time tries again what fails, or what the process's end breaks off.
pub(crate) fn evict(service: &Service, wanted: &HashSet<Digest>) -> Result<(), String> {
    let done = service.runs.join(DONE);
    if age(&done).is_some_and(|age| age < PAUSE) {
        return Ok(());
    }
    let runs = evict_runs(service, RUNS, RUN_BYTES);
    let ended = service.archive.newest().map_err(|error| error.to_string())?;
    let of_pinned = ended.iter().filter_map(|(run, _)| service.archive.pinned(run)).flatten();
    let wanted = wanted.iter().copied().chain(of_pinned).collect();
    let blobs = service.blobs.evict(BLOB_BYTES, &wanted);
    runs.and(blobs.map(drop).map_err(|error| error.to_string()))?;
    std::fs::write(&done, "\n").map_err(|error| format!("{}: {error}", done.display()))
}

/// None, too, for what is of the future.
fn age(path: &Path) -> Option<Duration> {
    path.metadata().ok()?.modified().ok()?.elapsed().ok()
}

/// Removes the journal of an embedded run that is archived: its stream says all.
pub(crate) fn remove_own_journal(service: &Service, run: &RunId) -> Result<(), String> {
    let directory = service.runs.join(run.as_str());
    if directory != service.journal {
        return Ok(());
    }
    journal::remove(&directory).map_err(|error| error.to_string())
}

/// Keeps the newest ended runs, at most so many, with at most so many bytes; the very newest in any case.
fn evict_runs(service: &Service, runs: usize, bytes: u64) -> Result<(), String> {
    let ended = service.archive.list().map_err(|error| error.to_string())?;
    let mut total = 0;
    let mut outcome = Ok(());
    for (newer, ended) in ended.iter().enumerate() {
        total += ended.bytes;
        let is_kept = newer == 0
            || (newer < runs && total <= bytes)
            || service.archive.pinned(&ended.run).is_some()
            || !is_indexed(service, &ended.run);
        outcome = outcome.and(settle(service, &ended.run, is_kept));
    }
    outcome
}

/// Whether all of an ended run is in an index elsewhere, if there is one.
fn is_indexed(service: &Service, run: &RunId) -> bool {
    let Some(spool) = &service.spool else { return true };
    let ended = past::ended(service, run, 0);
    ended.is_ok_and(|ended| spool.cursors.is_done(run, ended.submitted_at).unwrap_or(false))
}

/// Removes an ended run, or the journal that it has left. A run that some process has open stays as it is.
fn settle(service: &Service, run: &RunId, is_kept: bool) -> Result<(), String> {
    let directory = service.runs.join(run.as_str());
    if is_kept && !journal::exists(&directory) {
        return Ok(());
    }
    // What the store is to have is not removed before it is on its way there.
    let is_kept = is_kept || !uploads::is_packed(service, run)?;
    let Ok(_lock) = journal::lock(&directory) else { return Ok(()) };
    journal::remove(&directory).map_err(|error| error.to_string())?;
    if is_kept {
        return Ok(());
    }
    if let (Some(spool), Ok(ended)) = (&service.spool, past::ended(service, run, 0)) {
        spool.cursors.forget(run, ended.submitted_at)?;
    }
    service.archive.remove(run).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use seagull_proto::convert::{WatchAsked, submission};
    use seagull_proto::{Token, endpoint, v1};
    use seagull_scheduler_core::Settings;

    use super::*;
    use crate::journal::Journal;
    use crate::service::tests::{Embedded, spec};
    use crate::{Error, JournalError, Options, Server};

    fn at(embedded: &Embedded, run: &str) -> std::path::PathBuf {
        embedded.service.runs.join(run)
    }

    #[test]
    fn the_newest_ended_runs_are_kept_and_none_that_is_open_is_removed() {
        let embedded = Embedded::new("own");
        for (age, run) in (0..).zip(["own", "kept", "old", "open", "pinned", "oldest"]) {
            embedded.archived(&run.parse().unwrap(), 1);
            let ended = SystemTime::UNIX_EPOCH + Duration::from_secs(1000 - age);
            File::open(at(&embedded, run).join("stream.jsonl")).unwrap().set_modified(ended).unwrap();
        }
        std::fs::create_dir(at(&embedded, "oldest").join("logs")).unwrap();
        embedded.service.archive.pin(&"pinned".parse().unwrap(), &[]).unwrap();
        std::fs::create_dir(at(&embedded, "unfinished")).unwrap();
        let journal = |run| Journal::open(&at(&embedded, run), Settings::default()).unwrap().0;
        drop(["kept", "old"].map(journal));
        let _open = journal("open");

        remove_own_journal(&embedded.service, &"own".parse().unwrap()).unwrap();
        evict_runs(&embedded.service, 2, u64::MAX).unwrap();
        let left = |run| (at(&embedded, run).exists(), journal::exists(&at(&embedded, run)));
        assert_eq!((left("own"), left("kept")), ((true, false), (true, false)), "journals of ended runs");
        assert_eq!((left("old"), left("oldest"), left("pinned").0), ((false, false), (false, false), true));
        assert_eq!((left("open"), left("unfinished")), ((true, true), (true, false)));

        evict_runs(&embedded.service, 2, 0).unwrap();
        assert_eq!((left("own").0, left("kept").0, left("open").0), (true, false, true));
        assert!(left("pinned").0);
    }

    #[test]
    fn a_run_whose_logs_are_to_go_to_a_store_stays_until_they_are_on_their_way() {
        let store = tempfile::tempdir().unwrap();
        let embedded = Embedded::new("own").with(&format!("file:{}/s", store.path().display()), u64::MAX);
        for (run, age) in [("new", 1), ("old", 0)] {
            embedded.archived(&run.parse().unwrap(), 1);
            let ended = SystemTime::UNIX_EPOCH + Duration::from_secs(age);
            File::open(at(&embedded, run).join("stream.jsonl")).unwrap().set_modified(ended).unwrap();
        }
        let old = "old".parse().unwrap();
        let logs = embedded.service.logs(&old);
        logs.write_at(seagull_domain::AttemptId(1), 0, b"text").unwrap();
        evict_runs(&embedded.service, 1, u64::MAX).unwrap();
        assert!(at(&embedded, "old").exists());
        uploads::archived(&embedded.service, &old).unwrap();
        evict_runs(&embedded.service, 1, u64::MAX).unwrap();
        assert!(!at(&embedded, "old").exists() && at(&embedded, "new").exists());
    }

    #[test]
    fn all_is_looked_at_only_now_and_then() {
        let embedded = Embedded::new("own");
        let run = "ended".parse().unwrap();
        embedded.archived(&run, 1);
        let leave_a_journal = || drop(Journal::open(&at(&embedded, "ended"), Settings::default()).unwrap());
        let is_seen_to = || {
            leave_a_journal();
            evict(&embedded.service, &HashSet::new()).unwrap();
            !journal::exists(&at(&embedded, "ended"))
        };
        assert_eq!((is_seen_to(), is_seen_to()), (true, false));
        let done = File::options().write(true).open(embedded.service.runs.join(DONE)).unwrap();
        done.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert!(is_seen_to());
    }

    /// One process of an embedded run: it is submitted, cancelled and watched. Whether it was there already, and how many
    /// messages it took to its end.
    fn process(state: &std::path::Path) -> (bool, usize) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let token: Token = "secret".parse().unwrap();
            let start = || {
                let (journal, state) = (state.join("runs/r"), state.to_owned());
                Server::start(Options {
                    journal,
                    state,
                    blobs: None,
                    index: None,
                    spool: u64::MAX,
                    settings: Settings::default(),
                    token: token.clone(),
                    reads_only: false,
                })
            };
            let server = loop {
                match start() {
                    // The journal's thread of the process before ends a little later than its runtime.
                    Err(Error::Journal(JournalError::InUse { .. })) => tokio::task::yield_now().await,
                    started => break started.unwrap(),
                }
            };
            let mut client = endpoint::runs_client(server.connect(), &token);
            let submitted = client.submit(submission(spec("r")).unwrap()).await.unwrap().into_inner();
            client.cancel(v1::CancelRequest::from("r".parse::<RunId>().unwrap())).await.unwrap();
            let watch =
                WatchAsked { run: "r".parse().unwrap(), after: seagull_domain::Seq(0), output: false };
            let mut stream = client.watch(v1::WatchRequest::from(watch)).await.unwrap().into_inner();
            let mut messages = 0;
            while stream.message().await.unwrap().is_some() {
                messages += 1;
            }
            server.archived(&"r".parse().unwrap()).await;
            (submitted.attached, messages)
        })
    }

    #[test]
    fn an_embedded_run_leaves_its_stream_which_is_replayed() {
        let state = tempfile::tempdir().unwrap();
        assert!(!process(state.path()).0);
        let run = state.path().join("runs/r");
        assert!(run.join("stream.jsonl").is_file() && !journal::exists(&run));
        let (attached, messages) = process(state.path());
        assert!(attached && messages > 0);
    }
}
