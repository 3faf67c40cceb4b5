//! Errands: planning and archiving, off the actor's task. Each comes back as an event.
#![expect(clippy::disallowed_methods, reason = "a shell: errands run beside the actor")]

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use seagull_domain::{RunId, Seq};
use seagull_scheduler_core::{Event, Fact, PlanFailure, What};
use tokio::sync::mpsc;

use crate::anticipate;
use crate::elsewhere;
use crate::evict::{evict, remove_own_journal};
use crate::learned::Learned;
use crate::own_index::Entry;
use crate::past::now;
use crate::plan;
use crate::requests::{Errand, Request};
use crate::service::{Service, parse};
use crate::uploads;

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
        Errand::Plan { spec, generation, discovered, slots, anticipated } => {
            let run = spec.id.clone();
            let make =
                move || plan::make(&service, &spec, discovered, slots, anticipated).map(|(plan, _)| plan);
            let outcome = blocking(make).await;
            Event::Planned { run, generation, outcome: outcome.map(Box::new).map_err(PlanFailure) }
        }
        Errand::Anticipate { spec, slots } => {
            let run = spec.id.clone();
            // Nothing waits for it: a run without goes on as well.
            let Ok(Some((discovered, plan))) =
                blocking(move || anticipate::make(&service, &spec, slots)).await
            else {
                return;
            };
            Event::Anticipated { run, discovered, plan: Box::new(plan) }
        }
        Errand::Archive { run } => return finish(service, run).await,
    };
    actor.tell(event).await;
}

/// Archives an ended run, then evicts: the process of an embedded run does not wait for that, and may end meanwhile.
async fn finish(service: Arc<Service>, run: RunId) {
    archive_at_last(&service, &run).await;
    let (of, ended) = (service.clone(), run.clone());
    tidy(move || remove_own_journal(&of, &ended)).await;
    let (of, ended) = (service.clone(), run.clone());
    tidy(move || of.outputs.forget(&ended).map_err(|error| error.to_string())).await;
    let (of, ended) = (service.clone(), run.clone());
    // What fails is tried again with all that waits.
    let _ = blocking(move || uploads::archived(&of, &ended)).await;
    // Asked as long as there surely is an actor.
    let wanted = service.actor.ask(|reply| Request::Blobs { reply }).await;
    service.actor.tell(Event::Archived { run }).await;
    if let Some(wanted) = wanted {
        tidy(move || evict(&service, &wanted)).await;
    }
}

async fn tidy(work: impl FnOnce() -> Result<(), String> + Send + 'static) {
    if let Err(error) = blocking(work).await {
        let _ = writeln!(
            std::io::stderr(),
            "warning: not all that is over the bounds of the state directory is removed: {error}"
        );
    }
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
        let _ = writeln!(
            std::io::stderr(),
            "warning: run {run} is not archived, which is tried again in {pause:?}: {error}"
        );
        tokio::time::sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Learns from an ended run, and copies its stream into the archive. Done twice, it changes nothing.
fn archive(service: &Service, run: &RunId) -> Result<(), String> {
    let mut learned = Learned::default();
    let mut draft = service.archive.draft(run).map_err(|error| error.to_string())?;
    let mut entry = Entry::new(service, run, now());
    let (mut after, mut trunk) = (Seq(0), None);
    loop {
        let page = service.journalled(run, after, PAGE)?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        for (seq, body) in page {
            let fact = parse(seq, &body)?;
            let body = for_all(&fact)?.unwrap_or(body);
            if let What::Submitted(spec) = &fact.what {
                trunk = spec.branch.is_none().then(|| spec.project.clone());
            }
            if let Some(entry) = &mut entry {
                entry.take(seq, fact.what.clone())?;
            }
            learned.take(fact.what);
            draft.write(seq, &body).map_err(|error| error.to_string())?;
        }
    }
    learned.keep(&service.history, &service.blobs, run)?;
    entry.as_mut().map_or(Ok(()), Entry::keep)?;
    draft.finish().map_err(|error| error.to_string())?;
    // Without it, another scheduler guesses.
    let _ = trunk.map(|project| elsewhere::copy(service, &project));
    Ok(())
}

/// What everybody may read of a fact, if it is not the whole: some values are for executors alone, and an ended run needs
/// them no more.
fn for_all(fact: &Fact) -> Result<Option<Vec<u8>>, String> {
    let What::Submitted(spec) = &fact.what else { return Ok(None) };
    if spec.suite.passed.is_empty() {
        return Ok(None);
    }
    let shown = Fact { run: fact.run.clone(), what: What::Submitted(Box::new(spec.shown())) };
    serde_json::to_vec(&shown).map(Some).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use seagull_domain::{Counts, RunVerdict};
    use seagull_results::Lineage;

    use super::*;
    use crate::service::tests::{Embedded, passed, spec};

    fn ended(verdict: RunVerdict) -> Vec<What> {
        let end = What::Ended { verdict, counts: Counts::default(), exit_code: 0, suite_errors: 0 };
        vec![What::Submitted(Box::new(spec("r"))), What::DiscoveryFailed { message: "m".into() }, end]
    }

    #[test]
    fn a_run_without_tests_is_archived_and_was_the_last() {
        let run: RunId = "r".parse().unwrap();
        let mut embedded = Embedded::new("r");
        let before = "before".parse().unwrap();
        embedded.service.history.record(&passed(&before, &[]), std::iter::empty()).unwrap();
        assert!(archive(&embedded.service, &run).is_err(), "it has not begun");
        assert!(!embedded.service.archive.contains(&run));

        embedded.append(&run, ended(RunVerdict::Incomplete));
        archive(&embedded.service, &run).unwrap();
        archive(&embedded.service, &run).unwrap();
        assert!(
            !embedded.service.history.last_verdicts(Lineage::trunk("p")).unwrap().unwrap().last_run_passed
        );
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
        // Until it can be told, nothing is evicted.
        let full = embedded.requests.max_capacity();
        for _ in 0..full {
            embedded.service.actor.tell(Event::Tick).await;
        }
        reply.send(Default::default()).unwrap();
        tokio::time::sleep(PAUSE / 4).await;
        let evicted = embedded.service.runs.join(".evicted");
        assert!(!evicted.exists());
        for _ in 0..full {
            assert!(matches!(embedded.requests.recv().await, Some(Request::Event(Event::Tick))));
        }
        let told = embedded.requests.recv().await;
        assert!(matches!(told, Some(Request::Event(Event::Archived { .. }))));
        errand.await.unwrap();
        assert!(evicted.exists());
    }
}
