//! Errands: planning and archiving, off the actor's task. Each comes back as an event.
#![expect(clippy::disallowed_methods, reason = "a shell: errands run beside the actor")]

use std::collections::HashSet;
use std::sync::Arc;

use seagull_domain::{Record, RunId, Seq, TestIndex, Verdict};
use seagull_scheduler_core::{Event, PlanFailure, What};
use tokio::sync::mpsc;

use crate::actor::Errand;
use crate::plan;
use crate::service::Service;

/// Bytes of manifests and artifacts that are kept when a run has ended.
const BLOB_BYTES: u64 = 20 << 30;

/// Runs errands until the actor ends.
pub(crate) async fn run(service: Arc<Service>, mut errands: mpsc::UnboundedReceiver<Errand>) {
    while let Some(errand) = errands.recv().await {
        tokio::spawn(perform(service.clone(), errand));
    }
}

async fn perform(service: Arc<Service>, errand: Errand) {
    let actor = service.actor.clone();
    let event = match errand {
        Errand::Plan { spec, generation, discovered, slots } => {
            let run = spec.id.clone();
            let work = move || plan::make(&service, &spec, discovered, slots);
            let outcome =
                tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()));
            Event::Planned { run, generation, outcome: outcome.map(Box::new).map_err(PlanFailure) }
        }
        Errand::Archive { run } => {
            let of = run.clone();
            match tokio::task::spawn_blocking(move || archive(&service, &of)).await {
                Ok(Ok(())) => Event::Archived { run },
                // The run stays where it is; the next start of the scheduler tries again.
                Ok(Err(error)) => return eprintln!("warning: run {run} is not archived: {error}"),
                Err(error) => return eprintln!("warning: run {run} is not archived: {error}"),
            }
        }
    };
    actor.tell(event).await;
}

/// Learns from an ended run, then moves its stream into the archive. Done twice, it changes nothing.
fn archive(service: &Service, run: &RunId) -> Result<(), String> {
    let mut facts = Vec::new();
    let mut learned = Learned::default();
    let mut after = Seq(0);
    loop {
        let page = service.read_facts(run, after, 1000)?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        for (seq, fact) in page {
            learned.take(&fact.what);
            let body = serde_json::to_vec(&fact).map_err(|error| error.to_string())?;
            facts.push((seq, body));
        }
    }
    learned.keep(service, run)?;
    service.archive.write(run, facts).map_err(|error| error.to_string())?;
    // What unfinished runs need was wanted lately.
    service.blobs.evict(BLOB_BYTES, &HashSet::new()).map_err(|error| error.to_string())?;
    Ok(())
}

/// What an ended run says about its tests.
#[derive(Default)]
struct Learned {
    project: String,
    /// Nothing was left out of the suite by selection or argument.
    is_whole: bool,
    manifest: Option<seagull_domain::Digest>,
    micros: Vec<Option<u64>>,
    verdicts: Vec<Option<Verdict>>,
}

impl Learned {
    fn take(&mut self, what: &What) {
        match what {
            What::Submitted(spec) => {
                self.project.clone_from(&spec.project);
                self.is_whole = spec.select.is_empty() && spec.arguments.is_empty();
            }
            What::Planned { plan, .. } => {
                self.manifest = Some(plan.manifest);
                self.micros = vec![None; plan.predicted_us.len()];
                self.verdicts = vec![None; plan.predicted_us.len()];
            }
            What::Recorded { records, .. } => {
                for (record, evidence) in records {
                    if let (Record::Result(result), None) = (record, evidence) {
                        self.micros[result.test.0 as usize] = Some(result.micros());
                    }
                }
            }
            What::Decided { verdicts } => {
                for (TestIndex(test), verdict) in verdicts {
                    self.verdicts[*test as usize] = Some(*verdict);
                }
            }
            _ => {}
        }
    }

    fn keep(&self, service: &Service, run: &RunId) -> Result<(), String> {
        let Some(digest) = self.manifest else { return Ok(()) };
        let manifest = plan::load_manifest(service, &digest)?;
        let rows = manifest.ids().zip(&self.micros).zip(&self.verdicts);
        let rows = rows.filter_map(|((id, micros), verdict)| Some((id, *micros, (*verdict)?)));
        let kept = match self.is_whole {
            true => service.history.record(&self.project, run, rows),
            false => service.history.record_part(&self.project, run, rows),
        };
        kept.map_err(|error| error.to_string())
    }
}
