//! What is told of one test: what it came to in the runs that had it, as far as they are indexed.

use std::collections::HashSet;
use std::sync::Arc;

use seagull_domain::{RunId, RunOverview, RunState, TestHistory};
use seagull_proto::convert::HistoryAsked;
use seagull_proto::limits;
use tonic::Status;

use crate::grpc::blocking;
use crate::own_index;
use crate::past::{self, overviews, refused};
use crate::service::Service;

/// What is kept of the test that is meant, if it is one.
pub(crate) async fn history(service: Arc<Service>, asked: HistoryAsked) -> Result<TestHistory, Status> {
    service.may_search()?;
    let (of, project) = (service.clone(), asked.project.clone());
    let runs = usize::try_from(asked.runs).unwrap_or(usize::MAX);
    let history = blocking(move || known(&of, &asked)).await?;
    let [id] = history.tests.as_slice() else { return Ok(history) };
    if history.matching != 1 {
        return Ok(history);
    }
    let behind = behind(&service, &project, runs).await?;
    let (runs, searched) =
        service.index.history(&project, id, runs).await.map_err(|error| refused(&error))?;
    if runs.is_empty() && service.reads_only {
        return Err(Status::not_found(format!(
            "no run that is indexed has a test {id}\n\
             hint: a results proxy takes a whole id, as seagull results shows it; --project names another project"
        )));
    }
    Ok(TestHistory { runs, searched, behind, ..history })
}

/// How many of the newest so many ended runs are of a project and not indexed yet.
async fn behind(service: &Arc<Service>, project: &str, runs: usize) -> Result<u32, Status> {
    let ended = |run: &RunOverview| run.project == project && matches!(run.state, RunState::Ended { .. });
    let live: HashSet<_> =
        overviews(service).await?.into_iter().filter(ended).map(|run| (run.run, run.submitted_at)).collect();
    let (service, project) = (service.clone(), project.to_owned());
    blocking(move || {
        let mut ended = live;
        let archived = service.archive.newest().map_err(|error| error.to_string())?;
        let archived = archived.into_iter().take(runs);
        let archived = archived.filter_map(|(run, _)| past::ended(&service, &run, 0).ok());
        let of_it = archived.filter(|run| run.project == project);
        ended.extend(of_it.map(|run| (run.run, run.submitted_at)));
        let is_behind = |(run, submitted_at): &(RunId, u64)| match &service.spool {
            Some(spool) => spool.cursors.is_done(run, *submitted_at).map(|is_done| !is_done),
            // It is indexed before it is archived.
            None => Ok(!service.archive.contains(run)),
        };
        let behind = ended.iter().map(is_behind).collect::<Result<Vec<_>, String>>()?;
        let behind = behind.into_iter().filter(|is_behind| *is_behind).count();
        Ok::<_, String>(u32::try_from(behind).unwrap_or(u32::MAX))
    })
    .await
}

/// Which tests are meant, and what is known of the one, if it is one.
fn known(service: &Service, asked: &HistoryAsked) -> Result<TestHistory, String> {
    let found = service.history.find(&asked.project, &asked.test, limits::MATCHES);
    let found = found.map_err(|error| error.to_string())?;
    let mut history = TestHistory { tests: found.ids, matching: found.matching, ..TestHistory::default() };
    // Who learns nothing knows no ids: it takes a whole one.
    if service.reads_only {
        (history.tests, history.matching) = (vec![asked.test.clone()], 1);
    }
    let [id] = history.tests.as_slice() else { return Ok(history) };
    let timing = service.history.timing(&asked.project, id).map_err(|error| error.to_string())?;
    own_index::make_good(service, &asked.project, usize::try_from(asked.runs).unwrap_or(usize::MAX))?;
    let typical_us = timing.map(|timing| timing.robust_micros());
    let learned_from = timing.map_or(0, |timing| timing.runs);
    Ok(TestHistory { typical_us, learned_from, ..history })
}

#[cfg(test)]
mod tests {
    use seagull_domain::{PastRun, RunVerdict, Seq, Verdict};

    use super::*;
    use crate::cursors::Cursor;
    use crate::indexer::Spool;
    use crate::past::tests::archive;
    use crate::requests::Request;
    use crate::service::tests::{Embedded, spec};

    const JUST: RunState = RunState::Ended { verdict: RunVerdict::Passed, exit_code: 0, at: 0 };

    #[test]
    fn what_an_index_elsewhere_does_not_have_yet_is_counted() {
        let mut embedded = Embedded::new("own");
        archive(&embedded, "r", 7);
        archive(&embedded, "s", 8);
        let spool = Arc::new(Spool::open(&embedded.service.runs.with_file_name("index")).unwrap());
        Arc::get_mut(&mut embedded.service).unwrap().spool = Some(spool.clone());
        let mut behind = |runs| {
            let (service, requests) = (embedded.service.clone(), &mut embedded.requests);
            let core = async {
                let Some(Request::Overviews { reply }) = requests.recv().await else {
                    panic!("it asks for runs")
                };
                reply.send(vec![RunOverview::of(&spec("own"), JUST)]).unwrap();
            };
            let asked = async { tokio::join!(behind(&service, "p", runs), core).0.unwrap() };
            tokio::runtime::Runtime::new().unwrap().block_on(asked)
        };
        assert_eq!((behind(9), behind(0)), (3, 1));
        let indexed = |run: &str, submitted_at, done| {
            let cursor = Cursor { at: 1, seq: Seq(9), done };
            spool.cursors.set(&run.parse().unwrap(), submitted_at, cursor).unwrap();
        };
        indexed("r", 7, true);
        indexed("s", 8, false);
        // A run that had the id before.
        indexed("own", 99, true);
        assert_eq!(behind(9), 2);
        indexed("s", 8, true);
        indexed("own", 0, true);
        assert_eq!(behind(9), 0);
    }

    #[test]
    fn a_test_has_a_line_for_each_run_that_had_it() {
        let mut embedded = Embedded::new("own");
        let run = "r".parse().unwrap();
        archive(&embedded, "r", 7);
        let rows = ["a.py::t0", "a.py::t1", "gone.py::t"].map(|id| (id.to_owned(), Some(9), Verdict::Passed));
        embedded.service.history.record(&crate::service::tests::passed(&run, &[]), rows.into_iter()).unwrap();
        let mut history = |test: &str| {
            let asked = HistoryAsked { project: "p".into(), test: test.into(), runs: 9 };
            let (service, requests) = (embedded.service.clone(), &mut embedded.requests);
            let core = async {
                while let Some(Request::Overviews { reply }) = requests.recv().await {
                    reply.send(vec![RunOverview::of(&spec("own"), JUST)]).unwrap();
                }
            };
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                tokio::select! {
                    history = history(service, asked) => history.unwrap(),
                    () = core => panic!("it asks something else"),
                }
            })
        };
        let known = history("t0");
        assert_eq!(
            (known.tests.as_slice(), known.searched, known.learned_from, known.behind),
            (&["a.py::t0".to_owned()][..], 1, 1, 1)
        );
        let expected = PastRun {
            run: run.clone(),
            submitted_at: 7,
            verdict: Verdict::Flaky,
            results: 2,
            failed: 1,
            micros: Some(9),
            executor: Some("e".parse().unwrap()),
        };
        assert_eq!(known.runs, [expected]);
        assert_eq!(history("gone.py::t").runs, []);
        let many = history("a.py");
        assert_eq!((many.tests.len(), many.matching, many.searched), (2, 2, 0));
    }
}
