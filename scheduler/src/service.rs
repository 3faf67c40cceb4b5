//! What faces, watchers and errands share: the way to the actor, and the stores.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use seagull_domain::{RunId, RunSpec, Seq};
use seagull_results::{Archive, Blobs, History, Logs};
use seagull_scheduler_core::{Fact, What};
use tonic::Status;

use crate::actor::{self, Handle};
use crate::grpc::blocking;
use crate::journal::Reader;

pub(crate) struct Service {
    pub actor: Handle,
    pub blobs: Blobs,
    pub history: History,
    pub archive: Archive,
    /// `STATE/runs`: a directory for each run, with its logs and its archived stream.
    pub runs: PathBuf,
    pub reader: Mutex<Reader>,
}

impl Service {
    /// The logs of a run's attempts.
    pub fn logs(&self, run: &RunId) -> Result<Logs, Status> {
        let directory = self.runs.join(run.as_str()).join("logs");
        Logs::open(&directory).map_err(|error| Status::internal(error.to_string()))
    }

    /// Facts of a run after `after`: from the journal, or from the archive where the journal has dropped them.
    pub fn read_facts(&self, run: &RunId, after: Seq, limit: u32) -> Result<Vec<(Seq, Fact)>, String> {
        let live = {
            let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
            reader.read(run, after, limit).map_err(|error| error.to_string())?
        };
        if !live.is_empty() || !self.archive.contains(run) {
            return Ok(live);
        }
        let archived = self.archive.read(run, after).map_err(|error| error.to_string())?;
        let page = archived.take(limit as usize).map(|item| {
            let (seq, body) = item.map_err(|error| error.to_string())?;
            Ok((seq, serde_json::from_slice(&body).map_err(|error| error.to_string())?))
        });
        page.collect()
    }

    /// Whether there is, or was, such a run.
    pub async fn knows(self: &Arc<Self>, run: &RunId) -> Result<bool, Status> {
        let live = self.actor.ask(|reply| actor::Request::Run { run: run.clone(), reply }).await.flatten();
        Ok(live.is_some() || self.archived_spec(run).await?.is_some())
    }

    /// What a run that is archived was submitted as.
    pub async fn archived_spec(self: &Arc<Self>, run: &RunId) -> Result<Option<RunSpec>, Status> {
        if !self.archive.contains(run) {
            return Ok(None);
        }
        let (service, run) = (self.clone(), run.clone());
        let first = blocking(move || service.read_facts(&run, Seq(0), 1)).await?;
        Ok(first.into_iter().next().and_then(|(_, fact)| match fact.what {
            What::Submitted(spec) => Some(*spec),
            _ => None,
        }))
    }
}
