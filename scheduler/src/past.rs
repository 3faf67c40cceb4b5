//! What is told of runs besides their streams: lists of them, what is found in many, and the verdicts of one.
#![expect(clippy::disallowed_methods, reason = "a shell: a run that ends at this moment ends now")]

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use seagull_domain::{
    Counts, FailureGroup, NotExecuted, Ranked, RunId, RunOverview, RunState, Seq, TestIndex, Verdict,
};
use seagull_proto::convert::{ListAsked, RankAsked, SearchAsked};
use seagull_proto::status;
use seagull_results::index::{self, Window};
use seagull_scheduler_core::What;
use tonic::Status;

use crate::grpc::blocking;
use crate::journal::{self, Reader};
use crate::own_index;
use crate::plan::load_manifest;
use crate::requests::Request;
use crate::service::{Service, parse};

/// How long a list of runs waits for the index.
const PATIENCE: Duration = Duration::from_secs(5);
/// Facts read at a time.
const PAGE: u32 = 1000;

/// The runs that the core has.
pub(crate) async fn overviews(service: &Service) -> Result<Vec<RunOverview>, Status> {
    let live = service.actor.ask(|reply| Request::Overviews { reply }).await;
    live.ok_or_else(|| Status::unavailable("the scheduler is shutting down"))
}

/// The newest runs that are known here or to the index.
pub(crate) async fn listed(service: &Arc<Service>, asked: ListAsked) -> Result<Vec<RunOverview>, Status> {
    service.may_search()?;
    let live = overviews(service).await?;
    let of = service.clone();
    let (project, limit, after) = (asked.project.clone(), asked.limit, asked.after.clone());
    let mut listed = blocking(move || list(&of, live, &asked)).await?;
    let pages = after.is_some();
    if pages || listed.len() < limit {
        // Others, of which only the index knows: older ones as a rule, but pinned ones are here that are older yet. Who reads
        // all, page by page, is told where it does not answer; else the list is of those that are here, if any are.
        let runs = service.index.runs(project.as_deref(), after.as_ref(), limit);
        match tokio::time::timeout(PATIENCE, runs).await {
            Ok(Ok(indexed)) => add_older(&mut listed, indexed, limit),
            Ok(Err(error)) if pages || listed.is_empty() => return Err(refused(&error)),
            Err(_) if pages || listed.is_empty() => {
                let why = format!("its index has not answered for {} s", PATIENCE.as_secs());
                return Err(status::out_of_reach(why));
            }
            _ => {}
        }
    }
    Ok(listed)
}

/// The first of a project's tests by a ranking.
pub(crate) async fn ranked(service: &Arc<Service>, asked: RankAsked) -> Result<Vec<Ranked>, Status> {
    service.may_search()?;
    let RankAsked { project, ranking, days, limit } = asked;
    make_good(service, &project).await?;
    let ranked = service.index.ranked(&project, ranking, window(days), limit as usize).await;
    ranked.map_err(|error| refused(&error))
}

/// Failures by their words.
pub(crate) async fn searched(
    service: &Arc<Service>,
    asked: SearchAsked,
) -> Result<Vec<FailureGroup>, Status> {
    service.may_search()?;
    let SearchAsked { project, text, days, limit } = asked;
    make_good(service, &project).await?;
    let groups = service.index.search(&project, &text, window(days), limit as usize).await;
    groups.map_err(|error| refused(&error))
}

/// The newest runs: those of `live`, which the core has, those of other processes, and those that are archived.
fn list(service: &Service, live: Vec<RunOverview>, asked: &ListAsked) -> Result<Vec<RunOverview>, String> {
    let is_wanted = |run: &RunOverview| {
        let is_of_it = asked.project.as_ref().is_none_or(|project| run.project == *project);
        is_of_it && asked.after.as_ref().is_none_or(|after| run.place() < *after)
    };
    let mut runs: Vec<_> = live.into_iter().map(ended_now).filter(is_wanted).collect();
    runs.extend(others(service)?.into_iter().filter(is_wanted));
    runs.retain(|run| !service.archive.contains(&run.run));
    for (run, at) in service.archive.newest().map_err(|error| error.to_string())? {
        let at = unix_millis(at);
        // What ended before so many were submitted was submitted before them.
        if runs.iter().filter(|run| run.submitted_at > at).count() >= asked.limit {
            break;
        }
        // One that cannot be read, or is removed at this moment, does not hide the others.
        runs.extend(ended(service, &run, at).ok().filter(is_wanted));
    }
    newest_first(&mut runs, asked.limit);
    Ok(runs)
}

/// Adds runs that are not listed yet.
fn add_older(listed: &mut Vec<RunOverview>, indexed: Vec<RunOverview>, limit: usize) {
    let is_listed: HashSet<_> = listed.iter().map(|run| run.run.clone()).collect();
    listed.extend(indexed.into_iter().filter(|run| !is_listed.contains(&run.run)));
    newest_first(listed, limit);
}

fn newest_first(runs: &mut Vec<RunOverview>, limit: usize) {
    runs.sort_by_key(|run| Reverse(run.place()));
    runs.truncate(limit);
}

/// By this machine's clock.
pub(crate) fn now() -> u64 {
    unix_millis(SystemTime::now())
}

pub(crate) fn unix_millis(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The core does not know the time.
fn ended_now(mut run: RunOverview) -> RunOverview {
    if let RunState::Ended { at, .. } = &mut run.state {
        *at = now();
    }
    run
}

/// An archived run, from the ends of its stream.
pub(crate) fn ended(service: &Service, run: &RunId, at: u64) -> Result<RunOverview, String> {
    let [first, last] = service.archive.ends(run).map_err(|error| error.to_string())?;
    match (parse(Seq(0), &first)?.what, parse(Seq(0), &last)?.what) {
        (What::Submitted(spec), What::Ended { verdict, counts, exit_code, suite_errors }) => {
            let state = RunState::Ended { verdict, exit_code, at };
            Ok(RunOverview { counts, suite_errors, ..RunOverview::of(&spec, state) })
        }
        _ => Err("its stream has no beginning or no end".to_owned()),
    }
}

/// Runs of other processes that are not archived.
fn others(service: &Service) -> Result<Vec<RunOverview>, String> {
    let entries = std::fs::read_dir(&service.runs).map_err(|error| error.to_string())?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let runs = names.filter_map(|name| name.parse().ok());
    let others = runs.filter(|run| service.of_another(run).is_some() && !service.archive.contains(run));
    // One that is removed at this moment, or is damaged, does not hide the others.
    Ok(others.filter_map(|run| of_another(service, &run).ok().flatten()).collect())
}

fn of_another(service: &Service, run: &RunId) -> Result<Option<RunOverview>, String> {
    let directory = service.runs.join(run.as_str());
    let is_open = journal::is_open(&directory);
    let state = if is_open { RunState::UnderWay } else { RunState::BrokenOff };
    let mut overview: Option<RunOverview> = None;
    read_another(service, run, |what| tell(&mut overview, what, state))?;
    Ok(overview.map(ended_now))
}

/// What has happened in a run of another process.
fn read_another(service: &Service, run: &RunId, mut take: impl FnMut(What)) -> Result<(), String> {
    let directory = service.runs.join(run.as_str());
    let reader = Reader::of_another(&directory).map_err(|error| error.to_string())?;
    let Some(reader) = reader else { return Ok(()) };
    let mut after = Seq(0);
    loop {
        let page = reader.read(run, after, PAGE).map_err(|error| error.to_string())?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = *last;
        for (seq, body) in page {
            take(parse(seq, &body)?.what);
        }
    }
}

fn tell(overview: &mut Option<RunOverview>, what: What, state: RunState) {
    match (what, overview) {
        (What::Submitted(spec), overview) => *overview = Some(RunOverview::of(&spec, state)),
        (What::Planned { plan, .. }, Some(run)) => run.counts = total(plan.predicted_us.len()),
        (What::Confirmed { tests, .. }, Some(run)) => run.counts = total(tests as usize),
        (What::Decided { verdicts }, Some(run)) => {
            verdicts.iter().for_each(|(_, verdict)| run.counts.add(*verdict));
        }
        (What::Ended { verdict, exit_code, suite_errors, .. }, Some(run)) => {
            run.suite_errors = suite_errors;
            run.state = RunState::Ended { verdict, exit_code, at: 0 };
        }
        _ => {}
    }
}

fn total(tests: usize) -> Counts {
    Counts { total: u32::try_from(tests).unwrap_or(u32::MAX), ..Counts::default() }
}

/// What cannot be said of a run that goes on.
pub(crate) fn not_ended(run: &RunId) -> String {
    format!("run {run} has not ended, or is not kept\nhint: seagull runs lists the runs there are")
}

/// Whether the process that had a run is gone.
pub(crate) fn has_broken_off(service: &Service, run: &RunId) -> bool {
    service.of_another(run).is_some_and(|directory| !journal::is_open(&directory))
}

/// What the tests of a run came to that has ended or broken off. What such a one did not come to is not executed.
pub(crate) fn verdicts(service: &Service, run: &RunId) -> Result<Vec<(String, Verdict)>, String> {
    let (mut manifest, mut verdicts) = (None, HashMap::new());
    let mut take = |what| match what {
        What::Planned { plan, .. } => manifest = Some(plan.manifest),
        What::Confirmed { manifest: confirmed, .. } => manifest = Some(confirmed),
        What::Decided { verdicts: decided } => verdicts.extend(decided),
        _ => {}
    };
    if has_broken_off(service, run) && !service.archive.contains(run) {
        read_another(service, run, take)?;
    } else {
        let kept = match service.archive.contains(run) {
            true => Some(service.archive.read(run, Seq(0)).map_err(|error| error.to_string())?),
            false => service.stored_facts(run, Seq(0))?,
        };
        for fact in kept.ok_or_else(|| not_ended(run))? {
            let (seq, body) = fact.map_err(|error| error.to_string())?;
            take(parse(seq, &body)?.what);
        }
    }
    let Some(manifest) = manifest else { return Ok(Vec::new()) };
    let tests = (0..).map(TestIndex).zip(load_manifest(service, &manifest)?.ids().collect::<Vec<_>>());
    let none = Verdict::NotExecuted(NotExecuted::Cancelled);
    Ok(tests.map(|(test, id)| (id, verdicts.get(&test).copied().unwrap_or(none))).collect())
}

/// Archived runs that are made good before they are searched, where they are not indexed yet.
const MADE_GOOD: usize = 20;
const DAY_MS: u64 = 24 * 3600 * 1000;

/// Sees to it that what was archived before there was an index is in it.
async fn make_good(service: &Arc<Service>, project: &str) -> Result<(), Status> {
    let (service, project) = (service.clone(), project.to_owned());
    blocking(move || own_index::make_good(&service, &project, MADE_GOOD)).await
}

/// The last so many days.
fn window(days: u32) -> Window {
    let until = now().saturating_add(1);
    Window { since: until.saturating_sub(u64::from(days) * DAY_MS), until }
}

/// What an index does not answer.
pub(crate) fn refused(error: &index::Error) -> Status {
    let hint = match error {
        index::Error::Unavailable { .. } => "\nhint: seagull doctor --stores URL says what is wrong there",
        index::Error::Refused { .. } | index::Error::Address(_) => "",
    };
    Status::failed_precondition(format!("{error}{hint}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use seagull_domain::{
        AttemptId, FileTests, Generation, Manifest, Outcome, PlanSummary, Record, RunVerdict, SlotNumber,
        TestResult,
    };
    use seagull_scheduler_core::Fact;

    use super::*;
    use crate::service::tests::{Embedded, spec};

    fn result(test: u32, outcome: Outcome, micros: u64) -> Record {
        Record::Result(TestResult {
            cpu_us: 0,
            test: TestIndex(test),
            ordinal: 0,
            last: true,
            outcome,
            detail: String::new(),
            cause: None,
            phases: [0, micros, 0],
            peak_kib: 0,
            started_at: 0,
            message: String::new(),
            location: String::new(),
            text: None,
        })
    }

    /// Archives a run of the tests `a.py::t0` to `a.py::t2`: one flaky, one failed, one not executed.
    pub fn archive(embedded: &Embedded, run: &str, submitted_at: u64) {
        let suffixes = (0..3).map(|test| format!("::t{test}")).collect();
        let manifest =
            Manifest { files: vec![FileTests { path: "a.py".into(), suffixes }], ..Manifest::default() };
        let mut writer = embedded.service.blobs.writer(0).unwrap();
        writer.write(&seagull_results::encode_manifest(&manifest)).unwrap();
        let manifest = writer.finish(None).unwrap();
        let recorded = |records: Vec<Record>| What::Recorded {
            attempt: AttemptId(1),
            batch: 1,
            executor: "e".parse().unwrap(),
            slot: SlotNumber(0),
            records: records.into_iter().map(|record| (record, None)).collect(),
        };
        let verdicts = vec![
            (TestIndex(0), Verdict::Flaky),
            (TestIndex(1), Verdict::Failed),
            (TestIndex(2), Verdict::NotExecuted(NotExecuted::FailFast)),
        ];
        let counts = Counts { total: 3, flaky: 1, failed: 1, not_executed: 1, ..Counts::default() };
        let mut submitted = spec(run);
        submitted.submitted_at = submitted_at;
        let facts = [
            What::Submitted(Box::new(submitted)),
            What::Confirmed {
                generation: Generation(1),
                manifest,
                tests: 3,
                summary: PlanSummary::default(),
            },
            recorded(vec![result(0, Outcome::Failed, 5), result(1, Outcome::Failed, 6)]),
            recorded(vec![result(0, Outcome::Passed, 9)]),
            What::Decided { verdicts },
            What::Ended { verdict: RunVerdict::Failed, counts, exit_code: 100, suite_errors: 2 },
        ];
        let id: RunId = run.parse().unwrap();
        let mut draft = embedded.service.archive.draft(&id).unwrap();
        for (seq, what) in (1..).zip(facts) {
            let fact = Fact { run: id.clone(), what };
            draft.write(Seq(seq), &serde_json::to_vec(&fact).unwrap()).unwrap();
        }
        draft.finish().unwrap();
    }

    fn asked(project: Option<&str>, limit: usize) -> ListAsked {
        ListAsked { project: project.map(str::to_owned), limit, after: None }
    }

    #[test]
    fn runs_are_listed_by_when_they_were_submitted_whoever_has_them() {
        let embedded = Embedded::new("own");
        // Submitted last, but not the last to end.
        archive(&embedded, "newer", 5);
        archive(&embedded, "old", 1);
        let live = vec![RunOverview { submitted_at: 3, ..RunOverview::of(&spec("own"), RunState::UnderWay) }];
        // Another process began a run, and is gone.
        let other = embedded.service.runs.join("other");
        let (mut journal, _) = journal::Journal::open(&other, Default::default()).unwrap();
        let mut submitted = spec("other");
        submitted.submitted_at = 4;
        let facts = [
            What::Submitted(Box::new(submitted)),
            What::Decided { verdicts: vec![(TestIndex(0), Verdict::Passed)] },
        ];
        let facts = facts.map(|what| Fact { run: "other".parse().unwrap(), what });
        journal.append(&(1..).map(Seq).zip(facts).collect::<Vec<_>>()).unwrap();
        let list = |limit, project| list(&embedded.service, live.clone(), &asked(project, limit)).unwrap();
        let names = |listed: &[RunOverview]| listed.iter().map(|run| run.run.to_string()).collect::<Vec<_>>();
        let all = list(9, None);
        assert_eq!(names(&all), ["newer", "other", "own", "old"]);
        assert_eq!((all[0].counts.flaky, all[0].suite_errors, all[1].counts.passed), (1, 2, 1));
        assert!(matches!(all[0].state, RunState::Ended { exit_code: 100, at: 1.., .. }));
        assert_eq!(all[1].state, RunState::UnderWay, "its process has it open");
        drop(journal);
        assert_eq!(list_state(&embedded, "other"), RunState::BrokenOff);
        assert_eq!(names(&list(2, Some("p"))), ["newer", "other"]);
        assert_eq!(names(&list(1, None)), ["newer"]);
        // Page by page.
        let mut page = asked(None, 3);
        page.after = all.get(2).map(RunOverview::place);
        let rest = super::list(&embedded.service, live.clone(), &page).unwrap();
        assert_eq!(names(&rest), ["old"]);
        // What ended before it need not be looked at.
        archive(&embedded, "newest", u64::MAX);
        assert_eq!(names(&list(1, None)), ["newest"]);
        assert_eq!(names(&list(9, Some("q"))), [""; 0]);
    }

    #[test]
    fn a_page_has_what_is_here_and_what_only_the_index_has_without_gaps() {
        let run = |name: &str, submitted_at| RunOverview {
            run: name.parse().unwrap(),
            submitted_at,
            ..RunOverview::of(&spec("r"), RunState::UnderWay)
        };
        let (here, indexed) =
            ([run("e", 5), run("b", 2)], [run("e", 5), run("d", 4), run("c", 3), run("b", 2), run("a", 1)]);
        let mut listed: Vec<String> = Vec::new();
        let mut after = None;
        loop {
            let behind = |all: &[RunOverview]| -> Vec<_> {
                let is_behind = |run: &&RunOverview| after.as_ref().is_none_or(|after| run.place() < *after);
                all.iter().filter(is_behind).take(2).cloned().collect()
            };
            let mut page = behind(&here);
            add_older(&mut page, behind(&indexed), 2);
            let Some(last) = page.last() else { break };
            after = Some(last.place());
            listed.extend(page.iter().map(|run| run.run.to_string()));
        }
        assert_eq!(listed, ["e", "d", "c", "b", "a"]);
    }

    fn list_state(embedded: &Embedded, run: &str) -> RunState {
        let all = list(&embedded.service, Vec::new(), &asked(None, 9)).unwrap();
        all.iter().find(|listed| listed.run.as_str() == run).unwrap().state
    }

    #[test]
    fn the_verdicts_of_a_run_are_by_id() {
        let embedded = Embedded::new("own");
        archive(&embedded, "r", 1);
        let verdicts = verdicts(&embedded.service, &"r".parse().unwrap()).unwrap();
        assert_eq!(verdicts[1], ("a.py::t1".to_owned(), Verdict::Failed));
        assert_eq!(verdicts.len(), 3);
        for run in ["own", "nope"] {
            let error = super::verdicts(&embedded.service, &run.parse().unwrap()).unwrap_err();
            assert!(error.contains("has not ended, or is not kept\nhint: "), "{error}");
        }
    }

    #[test]
    fn what_a_run_that_broke_off_did_not_come_to_is_not_executed() {
        let embedded = Embedded::new("own");
        archive(&embedded, "r", 1);
        let run: RunId = "r".parse().unwrap();
        let other = embedded.service.runs.join("other");
        let (mut journal, _) = journal::Journal::open(&other, Default::default()).unwrap();
        let facts = embedded.service.archive.read(&run, Seq(0)).unwrap();
        let mut facts: Vec<_> = facts.map(|fact| fact.unwrap()).collect();
        facts.truncate(5);
        let whats = facts.iter().map(|(seq, body)| (*seq, parse(*seq, body).unwrap().what));
        let mut facts: Vec<_> =
            whats.map(|(seq, what)| (seq, Fact { run: "other".parse().unwrap(), what })).collect();
        let Some((_, Fact { what: What::Decided { verdicts }, .. })) = facts.last_mut() else { panic!() };
        verdicts.truncate(1);
        journal.append(&facts).unwrap();
        let other = "other".parse().unwrap();
        assert!(super::verdicts(&embedded.service, &other).is_err(), "its process has it open");
        drop(journal);
        let verdicts = super::verdicts(&embedded.service, &other).unwrap();
        let rest = Verdict::NotExecuted(NotExecuted::Cancelled);
        assert_eq!(
            verdicts.iter().map(|(_, verdict)| *verdict).collect::<Vec<_>>(),
            [Verdict::Flaky, rest, rest]
        );
    }
}
