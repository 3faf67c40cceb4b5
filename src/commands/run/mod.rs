//! `seagull run`: prepare a run, here or on a scheduler elsewhere, and follow it to its end.

mod archive;
pub(super) mod artifact;
mod built;
mod coverage;
mod embedded;
mod follow;
pub(super) mod paths;
mod remote;
mod revision;
mod screen;
pub(super) mod spec;

use std::path::PathBuf;

pub use embedded::fits_here;
pub use follow::{End, Interrupt, Session, follow};
pub use screen::Screen;
use seagull_domain::{NotPassed, RunId, RunSpec, Workspace};
use seagull_executor::artifact::Patterns;
use seagull_executor::interpreter;

use crate::again::Again;
use crate::cli;
use crate::errors::{say, usage, warn};
use crate::framework;
use crate::place::Place;
use crate::report::{self, Settings};
use crate::signals::Signals;
use crate::state::State;

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

/// A run like `base`, which has ended or broken off, with its selection.
pub async fn again(args: cli::Run, base: RunSpec) -> anyhow::Result<u8> {
    let place = match &base.workspace {
        Workspace::InPlace { directory, .. } => Place::at(directory.into())?,
        Workspace::Artifact { .. } => Place::here()?,
    };
    begin(args, place, Some(Box::new(base))).await
}

async fn begin(args: cli::Run, place: Place, base: Option<Box<RunSpec>>) -> anyhow::Result<u8> {
    if args.at.scheduler.is_none() {
        refuse_what_is_remote(&args.at)?;
    }
    let signals = Signals::new()?;
    place.config.warnings.iter().for_each(warn);
    if base.is_none() {
        paths::check(&args, &place)?;
        paths::check_interpreter(&args, &place)?;
        warn_of_inputs(&args, &place)?;
    }
    let state = State::open(args.at.state.state.as_deref(), &place)?;
    let start = Start { args, base, place, state, signals };
    match start.args.at.scheduler.clone() {
        Some(url) => remote::run(start, url).await,
        None => embedded::run(start).await,
    }
}

/// An input that names nothing makes a setup that is kept whatever changes.
fn warn_of_inputs(args: &cli::Run, place: &Place) -> anyhow::Result<()> {
    // Those of a revision are not here.
    let setup = spec::setup(args, place, String::new()).filter(|_| args.at.rev.is_none());
    let Some(setup) = setup else { return Ok(()) };
    let directory = place.config.directory().unwrap_or(&place.directory);
    for pattern in Patterns::parse("", &setup.inputs).map_err(usage)?.find(directory)?.unmatched {
        warn(format!(
            "[setup] inputs: nothing is named by {pattern}, so the setup is not made again when that changes"
        ));
    }
    Ok(())
}

impl Start {
    /// Does what comes before the run, unless it is interrupted.
    async fn unless_interrupted<T>(
        &mut self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<Step<T>> {
        let Some(outcome) = self.signals.during(work).await else {
            say!("interrupted before the run began");
            return Ok(Step::Interrupted);
        };
        outcome.map(Step::Done)
    }

    /// How the run is shown; `attached` to one that was there already, its events may be old.
    fn settings(&self, attached: bool) -> Settings {
        let report = &self.args.report;
        let mut again = match &self.base {
            Some(_) => Again::of_rerun(&self.args, usual_state().as_deref()),
            None => Again::of(&self.args),
        };
        again.sign_of_another = framework::sign_of_another(&self.args, &self.place);
        let here = self.args.at.scheduler.is_none();
        let python = here.then(|| interpreter::find("", &self.place.directory).ok()).flatten();
        Settings {
            output: report.output,
            color: report.color,
            files: report.files(),
            live: !attached,
            again: again.with_python(python),
        }
    }
}

/// The state that commands here look at if none is named.
fn usual_state() -> Option<PathBuf> {
    Some(State::find(None, &Place::here().ok()?)?.directory)
}

/// Options that say something about runs on a scheduler only.
fn refuse_what_is_remote(at: &cli::WhereArgs) -> anyhow::Result<()> {
    if let Some(revision) = &at.rev {
        return Err(usage(format!(
            "--rev {revision} is for runs on a scheduler: here, tests run in the work tree as it is\n\
             hint: name a scheduler with --scheduler, or run in a work tree of that revision: \
             git worktree add --detach DIR {revision}"
        )));
    }
    let (token, ca) = (&at.token.token_file, &at.tls.tls_ca);
    let in_vain = [("--token-file", "SEAGULL_TOKEN_FILE", token), ("--tls-ca", "SEAGULL_TLS_CA", ca)];
    for (option, variable, given) in in_vain {
        // Whoever sets it for all commands means those on a scheduler.
        if given.is_some() && std::env::var_os(variable).is_none() {
            return Err(usage(format!(
                "{option} is for runs on a scheduler: the tests would run here\n\
                 hint: name a scheduler with --scheduler"
            )));
        }
    }
    let ends = "a run here ends with its command";
    let others = [
        ("--detach", at.detach, ends),
        ("--orphan", at.orphan.is_some(), ends),
        ("--yes", at.yes, "nothing is sent anywhere"),
    ];
    if let Some((option, _, why)) = others.into_iter().find(|(_, given, _)| *given) {
        return Err(usage(format!(
            "{option} is for runs on a scheduler: {why}\nhint: name a scheduler with --scheduler"
        )));
    }
    Ok(())
}

/// In a project whose last run did not pass: what would run of it.
fn say_what_did_not_pass(start: &Start, last: Option<NotPassed>) {
    let Some(NotPassed { run, verdict, tests }) = last.filter(|_| start.base.is_none()) else { return };
    if tests > 0 {
        let tests = report::count(tests, "test");
        say!(
            "the last run, {run}: {verdict}; --select not-passed runs what did not pass and is still there, at most {tests}"
        );
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
    say!("run {run} is there already: what has happened is shown first");
}

/// The spec's id, which outlives the spec.
fn id(spec: &RunSpec) -> RunId {
    spec.id.clone()
}
