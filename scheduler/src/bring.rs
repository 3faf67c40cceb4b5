//! Ended runs that are not here any more, or never were, come back from the store.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use seagull_domain::{RunId, Seq};
use seagull_results::{Key, Remote};
use seagull_scheduler_core::What;
use tonic::Status;

use crate::cursors::Cursor;
use crate::evict::evict;
use crate::grpc::blocking;
use crate::past;
use crate::service::{Service, parse};

/// Sees to it that an ended run is here if the store has it. A run that is here, or under way, is not asked for.
pub(crate) async fn bring(service: &Arc<Service>, run: &RunId) -> Result<(), Status> {
    let Some(remote) = service.remote.clone() else { return Ok(()) };
    if service.of_another(run).is_some() || service.knows(run).await? {
        return Ok(());
    }
    let (service, run) = (service.clone(), run.clone());
    blocking(move || fetch(&service, &remote, &run)).await
}

fn fetch(service: &Service, remote: &Arc<Remote>, run: &RunId) -> Result<(), String> {
    let key = Key::Stream(run.clone());
    let Some(at) = remote.modified(&key).map_err(|error| error.to_string())? else { return Ok(()) };
    let mut draft = service.archive.draft(run).map_err(|error| error.to_string())?;
    let (mut submitted_at, mut last) = (None, Seq(0));
    for fact in seagull_results::facts(remote.read(&key), PathBuf::from(key.to_string())) {
        let (seq, body) = fact.map_err(|error| error.to_string())?;
        if submitted_at.is_none() {
            let What::Submitted(spec) = parse(seq, &body)?.what else {
                return Err(format!("{key} does not begin with a run"));
            };
            submitted_at = Some(spec.submitted_at);
        }
        draft.write(seq, &body).map_err(|error| error.to_string())?;
        last = seq;
    }
    let submitted_at = submitted_at.ok_or_else(|| format!("{key} is empty"))?;
    // Who was there when it ended has indexed it.
    if let Some(spool) = &service.spool {
        let done = Cursor { at: past::unix_millis(at), seq: last, done: true };
        spool.cursors.set(run, submitted_at, done)?;
    }
    let kept = draft.finish_at(at).and_then(|()| service.archive.set_stored(run));
    kept.map_err(|error| error.to_string())?;
    // A scheduler evicts when a run has ended.
    if service.reads_only { evict(service, &HashSet::new()) } else { Ok(()) }
}
