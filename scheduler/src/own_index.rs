//! The index in a state directory itself: what a run came to is written when it is archived, and made good for runs that
//! were archived by a release without one.

use seagull_domain::{RunId, RunState, Seq};
use seagull_results::index::{Document, SqliteIndex};
use seagull_scheduler_core::What;

use crate::documents::Projection;
use crate::indexer::Kept;
use crate::past;
use crate::service::{Service, parse};

/// Documents that are written in one transaction.
const DOCUMENTS: usize = 20_000;

/// A run that is written while its stream is read.
pub(crate) struct Entry<'a> {
    index: &'a SqliteIndex,
    kept: Kept<'a>,
    projection: Projection,
    documents: Vec<Document>,
}

impl<'a> Entry<'a> {
    /// Of a run that ended then, in Unix milliseconds. None where the index is elsewhere.
    pub fn new(service: &'a Service, run: &RunId, at: u64) -> Option<Entry<'a>> {
        let index = service.own_index.as_ref()?;
        let kept = Kept { service, run: run.clone(), ended_at: at };
        Some(Entry { index, kept, projection: Projection::new(at), documents: Vec::new() })
    }

    pub fn take(&mut self, seq: Seq, what: What) -> Result<(), String> {
        self.documents.extend(self.projection.take(seq, what, &mut self.kept).map_err(String::from)?);
        if self.documents.len() >= DOCUMENTS { self.keep() } else { Ok(()) }
    }

    /// Done twice, it changes nothing.
    pub fn keep(&mut self) -> Result<(), String> {
        self.index.store(&self.documents).map_err(|error| error.to_string())?;
        self.documents.clear();
        Ok(())
    }
}

/// Sees to it that the newest so many archived runs of a project are in the index.
pub(crate) fn make_good(service: &Service, project: &str, runs: usize) -> Result<(), String> {
    let Some(index) = &service.own_index else { return Ok(()) };
    let archived = service.archive.newest().map_err(|error| error.to_string())?.into_iter();
    let ended = archived.filter_map(|(run, at)| past::ended(service, &run, past::unix_millis(at)).ok());
    for run in ended.filter(|run| run.project == project).take(runs) {
        let is_there = index.has_ended(&run.run, run.submitted_at).map_err(|error| error.to_string())?;
        if let RunState::Ended { at, .. } = run.state
            && !is_there
        {
            // One whose manifest is not kept any more says nothing of its tests.
            let _ = enter(service, &run.run, at);
        }
    }
    Ok(())
}

fn enter(service: &Service, run: &RunId, at: u64) -> Result<(), String> {
    let Some(mut entry) = Entry::new(service, run, at) else { return Ok(()) };
    for fact in service.archive.read(run, Seq(0)).map_err(|error| error.to_string())? {
        let (seq, body) = fact.map_err(|error| error.to_string())?;
        entry.take(seq, parse(seq, &body)?.what)?;
    }
    entry.keep()
}
