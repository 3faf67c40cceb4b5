//! Errands: planning and archiving, off the actor's task. Each comes back as an event.
#![expect(clippy::disallowed_methods, reason = "a shell: errands run beside the actor")]

use std::sync::Arc;
use std::time::Duration;

use seagull_domain::{Manifest, Record, RunId, RunSpec, RunVerdict, Seq, TestIndex, Verdict};
use seagull_results::EndedRun;
use seagull_scheduler_core::{Event, PlanFailure, What};
use tokio::sync::mpsc;

use crate::actor::{Errand, Request};
use crate::evict::evict;
use crate::plan;
use crate::service::{Service, parse};

/// Facts read at a time.
const PAGE: u32 = 1000;
/// How long after a failure archiving is tried again; twice as long each time, up to the longest.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

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
            let outcome = blocking(move || plan::make(&service, &spec, discovered, slots)).await;
            Event::Planned { run, generation, outcome: outcome.map(Box::new).map_err(PlanFailure) }
        }
        Errand::Archive { run } => {
            archive_at_last(&service, &run).await;
            if let Some(wanted) = actor.ask(|reply| Request::Blobs { reply }).await
                && let Err(error) = blocking(move || evict(&service, &wanted)).await
            {
                eprintln!(
                    "warning: not all that is over the bounds of the state directory is removed: {error}"
                );
            }
            Event::Archived { run }
        }
    };
    actor.tell(event).await;
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()))
}

/// Until then the run stays where it is.
async fn archive_at_last(service: &Arc<Service>, run: &RunId) {
    let mut pause = PAUSE;
    loop {
        let (service, of) = (service.clone(), run.clone());
        let Err(error) = blocking(move || archive(&service, &of)).await else { return };
        eprintln!("warning: run {run} is not archived, which is tried again in {pause:?}: {error}");
        tokio::time::sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Learns from an ended run, and copies its stream into the archive. Done twice, it changes nothing.
fn archive(service: &Service, run: &RunId) -> Result<(), String> {
    let mut learned = Learned::default();
    let mut draft = service.archive.draft(run).map_err(|error| error.to_string())?;
    let mut after = Seq(0);
    loop {
        let page = service.journalled(run, after, PAGE)?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        for (seq, body) in page {
            learned.take(parse(seq, &body)?.what);
            draft.write(seq, &body).map_err(|error| error.to_string())?;
        }
    }
    learned.keep(service, run)?;
    draft.finish().map_err(|error| error.to_string())
}

/// What an ended run says about its tests.
#[derive(Default)]
struct Learned {
    spec: Option<Box<RunSpec>>,
    verdict: Option<RunVerdict>,
    manifest: Option<seagull_domain::Digest>,
    micros: Vec<Option<u64>>,
    verdicts: Vec<Option<Verdict>>,
}

impl Learned {
    fn take(&mut self, what: What) {
        match what {
            What::Submitted(spec) => self.spec = Some(spec),
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
                    self.verdicts[test as usize] = Some(verdict);
                }
            }
            What::Ended { verdict, .. } => self.verdict = Some(verdict),
            _ => {}
        }
    }

    /// A run without a manifest has no tests, but it was the project's last.
    fn keep(&self, service: &Service, run: &RunId) -> Result<(), String> {
        let (Some(spec), Some(verdict)) = (&self.spec, self.verdict) else {
            return Err("its stream has no beginning or no end".to_owned());
        };
        let manifest =
            self.manifest.map_or(Ok(Manifest::default()), |of| plan::load_manifest(service, &of))?;
        let rows = manifest.ids().zip(&self.micros).zip(&self.verdicts);
        let rows = rows.filter_map(|((id, micros), verdict)| Some((id, *micros, (*verdict)?)));
        let is_whole = self.manifest.is_some() && spec.select.is_empty();
        let arguments = is_whole.then_some(spec.arguments.as_slice());
        let ended = EndedRun { project: &spec.project, run, verdict, arguments };
        service.history.record(&ended, rows).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use seagull_domain::Counts;

    use super::*;
    use crate::service::tests::{Embedded, spec};

    fn ended(verdict: RunVerdict) -> Vec<What> {
        let end = What::Ended { verdict, counts: Counts::default(), exit_code: 0 };
        vec![What::Submitted(Box::new(spec("r"))), What::DiscoveryFailed { message: "m".into() }, end]
    }

    #[test]
    fn a_run_without_tests_is_archived_and_was_the_last() {
        let run: RunId = "r".parse().unwrap();
        let mut embedded = Embedded::new("r");
        let before = "before".parse().unwrap();
        let before =
            EndedRun { project: "p", run: &before, verdict: RunVerdict::Passed, arguments: Some(&[]) };
        embedded.service.history.record(&before, std::iter::empty()).unwrap();
        assert!(archive(&embedded.service, &run).is_err(), "it has not begun");
        assert!(!embedded.service.archive.contains(&run));

        embedded.append(&run, ended(RunVerdict::Incomplete));
        archive(&embedded.service, &run).unwrap();
        archive(&embedded.service, &run).unwrap();
        assert!(!embedded.service.history.last_verdicts("p").unwrap().unwrap().last_run_passed);
        let archived = embedded.service.archive.read(&run, Seq(0)).unwrap().map(Result::unwrap);
        assert_eq!(archived.collect::<Vec<_>>(), embedded.service.journalled(&run, Seq(0), 9).unwrap());
    }

    #[tokio::test]
    async fn archiving_is_tried_again_until_it_succeeds() {
        let run: RunId = "r".parse().unwrap();
        let mut embedded = Embedded::new("another");
        embedded.append(&run, ended(RunVerdict::Passed));
        let obstacle = embedded.service.runs.join("r");
        std::fs::write(&obstacle, "").unwrap();
        let errand = tokio::spawn(perform(embedded.service.clone(), Errand::Archive { run: run.clone() }));
        tokio::time::sleep(PAUSE / 4).await;
        assert!(embedded.requests.try_recv().is_err() && !errand.is_finished());
        std::fs::remove_file(&obstacle).unwrap();
        let Some(Request::Blobs { reply }) = embedded.requests.recv().await else {
            panic!("it is archived, then it is asked what must not be evicted")
        };
        assert!(embedded.service.archive.contains(&run));
        reply.send(Default::default()).unwrap();
        let told = embedded.requests.recv().await;
        assert!(matches!(told, Some(Request::Event(Event::Archived { .. }))));
    }
}
