//! `seagull run`: prepare a run, here or on a scheduler elsewhere, and follow it to its end.
#![expect(clippy::disallowed_methods, reason = "a shell: what it looks up may take a while")]

pub(super) mod artifact;
mod embedded;
mod follow;
mod remote;
mod screen;
pub(super) mod spec;

use std::time::Duration;

pub use follow::{End, Interrupt, Session, follow};
pub use screen::Screen;
use seagull_domain::{RunId, RunSpec, RunState, RunVerdict, Workspace};
use seagull_proto::convert::ListAsked;

use crate::again::Again;
use crate::cli;
use crate::client::Client;
use crate::errors::warn;
use crate::place::Place;
use crate::report::{self, Settings};
use crate::signals::Signals;
use crate::state::State;

/// How long it may take to look at the last run.
const LOOKING_BACK: Duration = Duration::from_secs(2);
/// What the first interrupt of a run in this process says.
pub const INTERRUPTING: &str =
    "interrupted: tests are torn down, then the run ends; interrupt again to kill them now";

/// What both kinds of run begin with.
struct Start {
    args: cli::Run,
    /// The run that is asked for once more, but for what it selects.
    base: Option<Box<RunSpec>>,
    place: Place,
    state: State,
    signals: Signals,
}

pub async fn run(args: cli::Run) -> anyhow::Result<u8> {
    begin(args, Place::here()?, None).await
}

/// A run like `base`, which has ended, with its selection.
pub async fn again(args: cli::Run, base: RunSpec) -> anyhow::Result<u8> {
    let place = match &base.workspace {
        Workspace::InPlace { directory, .. } => Place::at(directory.into())?,
        Workspace::Artifact { .. } => Place::here()?,
    };
    begin(args, place, Some(Box::new(base))).await
}

async fn begin(args: cli::Run, place: Place, base: Option<Box<RunSpec>>) -> anyhow::Result<u8> {
    let signals = Signals::new()?;
    place.config.warnings.iter().for_each(warn);
    let state = State::open(args.at.state.state.as_deref(), &place)?;
    let start = Start { args, base, place, state, signals };
    match start.args.at.scheduler.clone() {
        Some(url) => remote::run(start, url).await,
        None => embedded::run(start).await,
    }
}

impl Start {
    /// Does what comes before the run, unless it is interrupted.
    async fn unless_interrupted<T>(
        &mut self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<Step<T>> {
        tokio::select! {
            outcome = work => outcome.map(Step::Done),
            () = self.signals.next() => {
                eprintln!("interrupted before the run began");
                Ok(Step::Interrupted)
            }
        }
    }

    /// How the run is shown; `attached` to one that was there already, its events may be old.
    fn settings(&self, attached: bool) -> Settings {
        let report = &self.args.report;
        Settings {
            output: report.output,
            color: report.color,
            junit: report.junit.clone(),
            live: !attached,
            again: Again::of(&self.args),
        }
    }
}

/// In a project whose last run did not pass: what would run of it. Nothing depends on it, so that it may fail.
async fn say_what_did_not_pass(start: &Start, client: &Client, run: &RunId, project: String) {
    if start.base.is_some() || !start.args.what.select.is_empty() {
        return;
    }
    // This run, and others that have not ended, may be newer than the last.
    let asked = ListAsked { project: Some(project), limit: 5 };
    let Ok(Ok(listed)) = tokio::time::timeout(LOOKING_BACK, client.list(asked)).await else { return };
    let ended = listed.runs.iter().filter(|other| other.run != *run);
    let last = ended.filter_map(|other| match other.state {
        RunState::Ended { verdict, .. } => Some((&other.run, verdict)),
        RunState::UnderWay | RunState::BrokenOff => None,
    });
    if let Some((last, verdict)) = last.take(1).find(|(_, verdict)| *verdict != RunVerdict::Passed)
        && listed.not_passed > 0
    {
        let tests = report::count(listed.not_passed, "test");
        eprintln!("the last run, {last}: {verdict}; --select not-passed would run {tests} that did not pass");
    }
}

enum Step<T> {
    Done(T),
    Interrupted,
}

/// The outcome of a step, or the end of the command.
macro_rules! done {
    ($step:expr) => {
        match $step? {
            Step::Done(value) => value,
            Step::Interrupted => return Ok(INTERRUPTED),
        }
    };
}
use done;

/// Says that a run goes on or is shown again.
fn say_attached(run: &RunId) {
    eprintln!("run {run} is there already: what has happened is shown first");
}

/// The spec's id, which outlives the spec.
fn id(spec: &RunSpec) -> RunId {
    spec.id.clone()
}
