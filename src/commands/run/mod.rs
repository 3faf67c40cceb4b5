//! `seagull run`: prepare a run, here or on a scheduler elsewhere, and follow it to its end.

mod artifact;
mod embedded;
mod follow;
mod remote;
mod screen;
mod spec;

use seagull_domain::{RunId, RunSpec};

use crate::again::Again;
use crate::cli;
use crate::errors::warn;
use crate::place::Place;
use crate::report::Settings;
use crate::signals::Signals;
use crate::state::State;

/// What the first interrupt of a run in this process says.
pub const INTERRUPTING: &str =
    "interrupted: tests are torn down, then the run ends; interrupt again to kill them now";

/// What both kinds of run begin with.
struct Start {
    args: cli::Run,
    place: Place,
    state: State,
    signals: Signals,
}

pub async fn run(args: cli::Run) -> anyhow::Result<u8> {
    let signals = Signals::new()?;
    let place = Place::here()?;
    place.config.warnings.iter().for_each(warn);
    let state = State::open(args.at.state.state.as_deref(), &place)?;
    let start = Start { args, place, state, signals };
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
