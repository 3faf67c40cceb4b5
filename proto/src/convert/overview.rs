//! Lists of runs, and a test's history.

use seagull_domain::{NotPassed, PastRun, RunOverview, RunPlace, RunState, TestHistory};

use super::Invalid;
use super::scalar::{self, Checked};
use super::verdict::{verdict, verdict_parts};
use super::words::{self, Word};
use crate::v1::run_overview::State;
use crate::{limits, v1};

/// A call of `List`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListAsked {
    /// None for every project.
    pub project: Option<String>,
    pub limit: usize,
    /// Those that come after it.
    pub after: Option<RunPlace>,
}

/// A call of `History`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryAsked {
    pub project: String,
    pub test: String,
    pub runs: u32,
}

impl From<ListAsked> for v1::ListRequest {
    fn from(asked: ListAsked) -> Self {
        let limit = u32::try_from(asked.limit).unwrap_or(u32::MAX);
        let (after, after_submitted_at) =
            asked.after.map(|place| (place.run.into(), place.submitted_at)).unwrap_or_default();
        Self { project: asked.project.unwrap_or_default(), limit, after, after_submitted_at }
    }
}

impl TryFrom<v1::ListRequest> for ListAsked {
    type Error = Invalid;

    fn try_from(message: v1::ListRequest) -> Checked<Self> {
        let project = scalar::text(message.project, limits::WORD_BYTES, "ListRequest.project")?;
        let limit = scalar::at_least_one(message.limit, "ListRequest.limit")?;
        let limit = scalar::at_most(limit as usize, limits::LISTED_RUNS, "ListRequest.limit")?;
        let project = Some(project).filter(|project| !project.is_empty());
        let after = match message.after.is_empty() {
            true => None,
            false => Some(RunPlace {
                run: scalar::id(message.after, "ListRequest.after")?,
                submitted_at: moment(message.after_submitted_at, "ListRequest.after_submitted_at")?,
            }),
        };
        Ok(Self { project, limit, after })
    }
}

impl From<Vec<RunOverview>> for v1::ListResponse {
    fn from(runs: Vec<RunOverview>) -> Self {
        Self { runs: runs.into_iter().take(limits::LISTED_RUNS).map(Into::into).collect() }
    }
}

impl TryFrom<v1::ListResponse> for Vec<RunOverview> {
    type Error = Invalid;

    fn try_from(message: v1::ListResponse) -> Checked<Self> {
        scalar::list(message.runs, limits::LISTED_RUNS, "ListResponse.runs", TryInto::try_into)
    }
}

impl From<NotPassed> for v1::NotPassed {
    fn from(last: NotPassed) -> Self {
        let NotPassed { run, verdict, tests } = last;
        Self { run: run.into(), verdict: verdict.number(), tests: tests.min(limits::TESTS) }
    }
}

impl TryFrom<v1::NotPassed> for NotPassed {
    type Error = Invalid;

    fn try_from(message: v1::NotPassed) -> Checked<Self> {
        Ok(Self {
            run: scalar::id(message.run, "NotPassed.run")?,
            verdict: words::word(message.verdict, "NotPassed.verdict")?,
            tests: scalar::tests(message.tests, "NotPassed.tests")?,
        })
    }
}

impl From<RunOverview> for v1::RunOverview {
    fn from(run: RunOverview) -> Self {
        let word = |text| scalar::fitted(text, limits::WORD_BYTES);
        Self {
            id: run.run.into(),
            owner: word(run.owner),
            project: word(run.project),
            rev: word(run.rev),
            submitted_at: run.submitted_at.min(limits::MOMENT),
            rerun_of: run.rerun_of.map(Into::into).unwrap_or_default(),
            counts: Some(run.counts.into()),
            suite_errors: run.suite_errors,
            state: Some(match run.state {
                RunState::UnderWay => State::UnderWay(v1::RunUnderWay {}),
                RunState::BrokenOff => State::BrokenOff(v1::RunBrokenOff {}),
                RunState::Ended { verdict, exit_code, at } => State::Ended(v1::RunEnd {
                    verdict: verdict.number(),
                    exit_code: exit_code.into(),
                    at: at.min(limits::MOMENT),
                }),
            }),
        }
    }
}

impl TryFrom<v1::RunOverview> for RunOverview {
    type Error = Invalid;

    fn try_from(message: v1::RunOverview) -> Checked<Self> {
        let word = |text, field| scalar::text(text, limits::WORD_BYTES, field);
        let rerun_of = Some(message.rerun_of).filter(|of| !of.is_empty());
        Ok(Self {
            run: scalar::id(message.id, "RunOverview.id")?,
            owner: word(message.owner, "RunOverview.owner")?,
            project: word(message.project, "RunOverview.project")?,
            rev: word(message.rev, "RunOverview.rev")?,
            submitted_at: moment(message.submitted_at, "RunOverview.submitted_at")?,
            rerun_of: rerun_of.map(|of| scalar::id(of, "RunOverview.rerun_of")).transpose()?,
            counts: scalar::required(message.counts, "RunOverview.counts")?.try_into()?,
            suite_errors: message.suite_errors,
            state: match scalar::required(message.state, "RunOverview.state")? {
                State::UnderWay(v1::RunUnderWay {}) => RunState::UnderWay,
                State::BrokenOff(v1::RunBrokenOff {}) => RunState::BrokenOff,
                State::Ended(end) => ended(&end)?,
            },
        })
    }
}

fn ended(end: &v1::RunEnd) -> Checked<RunState> {
    let exit_code = u8::try_from(end.exit_code)
        .map_err(|_| Invalid::new("RunEnd.exit_code", format!("is {}", end.exit_code)))?;
    let verdict = words::word(end.verdict, "RunEnd.verdict")?;
    Ok(RunState::Ended { verdict, exit_code, at: moment(end.at, "RunEnd.at")? })
}

fn moment(moment: u64, field: &'static str) -> Checked<u64> {
    scalar::at_most(moment, limits::MOMENT, field)
}

impl From<HistoryAsked> for v1::HistoryRequest {
    fn from(asked: HistoryAsked) -> Self {
        Self { project: asked.project, test: asked.test, runs: asked.runs }
    }
}

impl TryFrom<v1::HistoryRequest> for HistoryAsked {
    type Error = Invalid;

    fn try_from(message: v1::HistoryRequest) -> Checked<Self> {
        let runs = scalar::at_least_one(message.runs, "HistoryRequest.runs")?;
        Ok(Self {
            project: scalar::text(message.project, limits::WORD_BYTES, "HistoryRequest.project")?,
            test: scalar::text(message.test, limits::ARGUMENT_BYTES, "HistoryRequest.test")?,
            runs: scalar::at_most(runs, limits::SEARCHED_RUNS, "HistoryRequest.runs")?,
        })
    }
}

impl From<TestHistory> for v1::HistoryResponse {
    fn from(history: TestHistory) -> Self {
        let mut room = limits::MATCHES_BYTES;
        let fits = |test: &String| {
            room = room.saturating_sub(test.len() + 1);
            room > 0
        };
        Self {
            tests: history.tests.into_iter().take(limits::MATCHES).take_while(fits).collect(),
            matching: history.matching.min(limits::TESTS),
            typical_us: history.typical_us.map(|micros| micros.min(limits::MOMENT)),
            learned_from: history.learned_from,
            runs: history.runs.into_iter().take(limits::SEARCHED_RUNS as usize).map(Into::into).collect(),
            searched: history.searched.min(limits::SEARCHED_RUNS),
            behind: history.behind.min(limits::SEARCHED_RUNS),
        }
    }
}

impl TryFrom<v1::HistoryResponse> for TestHistory {
    type Error = Invalid;

    fn try_from(message: v1::HistoryResponse) -> Checked<Self> {
        let test = |test| scalar::text(test, limits::MATCHES_BYTES, "HistoryResponse.tests");
        let bytes = message.tests.iter().map(|test| test.len() + 1).sum::<usize>();
        scalar::at_most(bytes, limits::MATCHES_BYTES, "HistoryResponse.tests")?;
        let typical_us = message.typical_us.map(|micros| moment(micros, "HistoryResponse.typical_us"));
        let most = limits::SEARCHED_RUNS;
        Ok(Self {
            tests: scalar::list(message.tests, limits::MATCHES, "HistoryResponse.tests", test)?,
            matching: scalar::tests(message.matching, "HistoryResponse.matching")?,
            typical_us: typical_us.transpose()?,
            learned_from: message.learned_from,
            runs: scalar::list(message.runs, most as usize, "HistoryResponse.runs", TryInto::try_into)?,
            searched: scalar::at_most(message.searched, most, "HistoryResponse.searched")?,
            behind: scalar::at_most(message.behind, most, "HistoryResponse.behind")?,
        })
    }
}

impl From<PastRun> for v1::PastRun {
    fn from(past: PastRun) -> Self {
        let (verdict, why) = verdict_parts(past.verdict);
        Self {
            run: past.run.into(),
            submitted_at: past.submitted_at.min(limits::MOMENT),
            verdict: verdict.into(),
            why,
            results: past.results,
            failed: past.failed,
            micros: past.micros.map(|micros| micros.min(limits::MOMENT)),
            executor: past.executor.map(Into::into),
        }
    }
}

impl TryFrom<v1::PastRun> for PastRun {
    type Error = Invalid;

    fn try_from(message: v1::PastRun) -> Checked<Self> {
        if message.micros.is_some() != message.executor.is_some() {
            return Err(Invalid::new("PastRun.executor", "is set if and only if there is a result"));
        }
        Ok(Self {
            run: scalar::id(message.run, "PastRun.run")?,
            submitted_at: moment(message.submitted_at, "PastRun.submitted_at")?,
            verdict: verdict(message.verdict, message.why)?,
            results: message.results,
            failed: scalar::at_most(message.failed, message.results, "PastRun.failed")?,
            micros: message.micros.map(|micros| moment(micros, "PastRun.micros")).transpose()?,
            executor: message.executor.map(|id| scalar::id(id, "PastRun.executor")).transpose()?,
        })
    }
}
