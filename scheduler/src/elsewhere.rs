//! What is known elsewhere of how long tests take: an index tells it, what that told last is kept here, and a copy of what
//! was learned is in the store. Planning waits for none of them for long.
#![expect(
    clippy::disallowed_methods,
    reason = "a shell: it waits for others for a while, and what it asked them may come later"
)]

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seagull_domain::Span;
use seagull_results::index::{Index, Learned};
use seagull_results::{Key, Lineage, Remote, Timings, digest};

use crate::indexer::Spool;
use crate::past::now;
use crate::service::Service;
use crate::told::Snapshot;

/// How long a plan waits for each.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long an index may take to tell all, for the next plan.
const LONGEST: Duration = Duration::from_secs(60);
/// An index that told of a project a moment ago is not asked again, nor is its copy made anew.
const FRESH_MS: u64 = 10 * 60 * 1000;

/// When the copy of each project was made, in Unix milliseconds.
#[derive(Default)]
pub(crate) struct Copies(Mutex<BTreeMap<String, u64>>);

impl Copies {
    /// Whether the copy is to be made anew, which it is then.
    fn are_due(&self, project: &str) -> bool {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = made.get(project).is_none_or(|at| now().saturating_sub(*at) >= FRESH_MS);
        if is_due {
            made.insert(project.to_owned(), now());
        }
        is_due
    }
}

fn key(project: &str) -> Key {
    Key::Timings(digest(project.as_bytes()))
}

/// Sends a copy of what the main branch of a project has learned to the store, now and then.
pub(crate) fn copy(service: &Service, project: &str) -> Result<(), String> {
    let Some(remote) = service.remote.as_ref().filter(|remote| !remote.has_packed(&key(project))) else {
        return Ok(());
    };
    if !service.copies.are_due(project) {
        return Ok(());
    }
    let mut snapshot = Snapshot { at: now(), learned: Vec::new() };
    let learned = service.history.each_timing(Lineage::trunk(project), |id, timing| {
        snapshot.learned.push(Learned::new(id.to_owned(), timing));
    });
    learned.map_err(|error| error.to_string())?;
    let text = serde_json::to_vec(&snapshot).map_err(|error| error.to_string())?;
    remote.replace(&key(project), &text).map_err(|error| error.to_string())
}

/// Takes what is known elsewhere of tests that are not known here; returns what is to be said of that.
pub(crate) fn learn(service: &Service, project: &str, timings: &mut Timings) -> Option<String> {
    let (snapshot, trouble) = match &service.spool {
        Some(spool) => told(service, spool, project),
        None => match copied(service.remote.as_ref()?, project) {
            Ok(copy) => (copy.unwrap_or_default(), None),
            Err(why) => (Snapshot::default(), Some(format!("durations are guessed: {why}"))),
        },
    };
    for learned in snapshot.learned {
        if timings.get(&learned.0).is_none() {
            timings.insert(&learned.0, learned.timing());
        }
    }
    trouble
}

/// What an index tells, else what it told last, else the copy in the store.
fn told(service: &Service, spool: &Arc<Spool>, project: &str) -> (Snapshot, Option<String>) {
    let last = spool.told.get(project).unwrap_or_default();
    let is_fresh = |last: &Snapshot| now().saturating_sub(last.at) < FRESH_MS && !last.learned.is_empty();
    let why = match last {
        Some(last) if is_fresh(&last) => return (last, None),
        _ => match ask(service.index.clone(), spool.clone(), project) {
            Ok(snapshot) => return (snapshot, None),
            Err(why) => why,
        },
    };
    let last = last.filter(|last| !last.learned.is_empty());
    let copy = || service.remote.as_ref().and_then(|remote| copied(remote, project).ok().flatten());
    let (snapshot, instead) = match last {
        Some(last) => {
            let instead = format!("by what the index told {}", ago(last.at));
            (last, instead)
        }
        None => match copy() {
            Some(copy) => {
                let instead = format!("by the copy in the store, of {}", ago(copy.at));
                (copy, instead)
            }
            None => (Snapshot::default(), "guessed".to_owned()),
        },
    };
    (snapshot, Some(format!("durations are {instead}: {why}")))
}

/// What comes too late for this plan is kept for the next.
fn ask(index: Arc<dyn Index>, spool: Arc<Spool>, project: &str) -> Result<Snapshot, String> {
    let project = project.to_owned();
    wait(async move {
        let mut snapshot = Snapshot { at: now(), learned: Vec::new() };
        let mut take = |learned: Learned| snapshot.learned.push(learned);
        match tokio::time::timeout(LONGEST, index.timings(&project, &mut take)).await {
            Ok(told) => drop(told.map_err(|error| error.to_string())?),
            Err(_) => return Err(format!("it has not told all within {LONGEST:?}")),
        }
        // What is not kept is asked for again.
        let _ = spool.told.set(&project, &snapshot);
        Ok(snapshot)
    })
}

fn copied(remote: &Arc<Remote>, project: &str) -> Result<Option<Snapshot>, String> {
    let (remote, key) = (remote.clone(), key(project));
    wait(async move {
        let read = tokio::task::spawn_blocking(move || remote.whole(&key)).await;
        let text = read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        text.map(|text| serde_json::from_slice(&text)).transpose().map_err(|error| error.to_string())
    })
}

/// Waits for a while; what is asked for goes on.
fn wait<T: Send + 'static>(
    asked: impl Future<Output = Result<T, String>> + Send + 'static,
) -> Result<T, String> {
    let asked = tokio::spawn(asked);
    match tokio::runtime::Handle::current().block_on(tokio::time::timeout(PATIENCE, asked)) {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("it has not told all within {PATIENCE:?}")),
    }
}

fn ago(at: u64) -> String {
    format!("{} ago", Span(now().saturating_sub(at) / 1000))
}
