//! What is done around a run: how its commands reach the runs there are, and which run and which test a person means.

mod attachments;
mod command;
mod explain;
mod history;
mod logs;
mod others;
mod ranking;
mod repeat;
mod repro;
mod rerun;
mod results;
mod runs;
mod search;
mod surroundings;
mod watch;

use std::path::PathBuf;

use anyhow::anyhow;
use seagull_domain::{RunId, RunState};
use seagull_proto::convert::ListAsked;
use seagull_proto::limits::LISTED_RUNS;
use seagull_proto::status::is_broken_off;
use seagull_results::{Found, StoreUrl};
use seagull_scheduler::{Server, Settings};
use tempfile::TempDir;

use crate::cli::{FormArgs, FromArgs, RunName};
use crate::client::{Client, Error, Notice};
use crate::errors::{Usage, say, usage, warn};
use crate::fresh;
use crate::place::Place;
use crate::report::{Form, number};
use crate::state::State;

pub use attachments::run as attachments;
pub use explain::run as explain;
pub use history::run as history;
pub use logs::run as logs;
pub use ranking::run as tests;
pub use repro::run as repro;
pub use rerun::run as rerun;
pub use results::run as results;
pub use runs::run as runs;
pub use search::run as search;
pub use watch::run as watch;

const NO_RUNS: &str =
    "hint: seagull run makes the first one; --state names another directory, --scheduler a scheduler";

/// The runs of a scheduler, or of a state directory here: those are read through a scheduler in this process that has
/// no run of its own, so that both are read the same way.
pub struct Reach {
    pub client: Client,
    pub project: String,
    /// Where they are, none can be run.
    reads_only: bool,
    /// The state directory, if the runs are here.
    state: Option<PathBuf>,
    /// Keep the scheduler in this process alive.
    _server: Option<(Server, TempDir)>,
}

impl Reach {
    pub async fn new(from: &FromArgs) -> anyhow::Result<Reach> {
        Reach::with(from, None).await
    }

    /// What the state directory's scheduler has in a store is read from there.
    pub async fn with(from: &FromArgs, blobs: Option<StoreUrl>) -> anyhow::Result<Reach> {
        let place = Place::here()?;
        place.config.warnings.iter().for_each(warn);
        let project = from.project.clone().unwrap_or_else(|| place.project());
        if let Some(url) = &from.scheduler {
            let token = crate::commands::token(&from.token)?;
            let client = crate::commands::client(url, &token, &from.tls)?;
            let reads_only = client.about().await?.reads_only;
            return Ok(Reach { client, project, reads_only, state: None, _server: None });
        }
        let state = State::find(from.state.state.as_deref(), &place)
            .ok_or_else(|| usage(format!("nothing has run here yet\n{NO_RUNS}")))?;
        let token = fresh::token()?;
        let scratch = tempfile::tempdir()?;
        let options = seagull_scheduler::Options {
            journal: scratch.path().to_owned(),
            state: state.directory.clone(),
            blobs,
            index: None,
            spool: seagull_scheduler::SPOOL_BYTES,
            settings: Settings::default(),
            token: token.clone(),
            reads_only: false,
        };
        let server = Server::start(options)?;
        let client = Client::new(server.connect(), &token);
        let (state, server) = (Some(state.directory), Some((server, scratch)));
        Ok(Reach { client, project, reads_only: false, state, _server: server })
    }

    pub async fn run(&self, name: &RunName) -> anyhow::Result<RunId> {
        if let RunName::Id(run) = name {
            return Ok(run.clone());
        }
        let project = &self.project;
        let asked = ListAsked { project: Some(project.clone()), limit: 1, after: None };
        let newest = self.client.list(asked).await?.into_iter().next();
        newest.map(|run| run.run).ok_or_else(|| {
            usage(format!(
                "there is no run of project {project}\nhint: seagull runs --all lists those of others"
            ))
        })
    }

    /// A run and a test of it, of words that may be either.
    async fn meant<'a>(
        &self,
        what: &'a str,
        test: Option<&'a str>,
    ) -> anyhow::Result<(RunName, Option<&'a str>)> {
        Ok(match (what.parse::<RunName>(), test) {
            (Ok(run), Some(test)) => (run, Some(test)),
            (Err(expected), Some(_)) => return Err(usage(format!("{what}: {expected}"))),
            (Ok(RunName::Id(run)), None) if self.is_there(&run).await? => (RunName::Id(run), None),
            (Ok(RunName::Last), None) => (RunName::Last, None),
            (_, None) => (RunName::Last, Some(what)),
        })
    }

    /// Whether there is a run of that name. Where that cannot be read, it is taken for none, as most words are.
    async fn is_there(&self, run: &RunId) -> anyhow::Result<bool> {
        match self.client.begun(run).await {
            Ok(begun) => Ok(begun.is_some()),
            Err(error) if error.is_out_of_reach() => {
                warn(format!(
                    "{run} is taken for a test, for whether there is such a run is not known: {error}"
                ));
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the process of a run that has not ended is gone, as far as that is known.
    async fn has_broken_off(&self, run: &RunId, project: &str) -> anyhow::Result<bool> {
        let asked = ListAsked { project: Some(project.to_owned()), limit: LISTED_RUNS, after: None };
        let runs = self.client.list(asked).await?;
        Ok(runs.iter().any(|one| one.run == *run && one.state == RunState::BrokenOff))
    }

    /// Tells all there is of a run now, in order.
    async fn tell(&self, run: &RunId, mut tell: impl FnMut(Told)) -> anyhow::Result<()> {
        let mut notices = self.client.look_at(run.clone());
        while let Some(notice) = notices.recv().await {
            match notice {
                Notice::Manifest(manifest) => tell(Told::Manifest(manifest)),
                Notice::Items(items) => items.into_iter().for_each(|item| tell(Told::Item(Box::new(item)))),
                Notice::Failed(error) => return Err(unread(run, error)),
                Notice::Disconnected(why) => return Err(anyhow!("{why}")),
                Notice::Waiting(word) => say!("{word}"),
                Notice::Expected(_)
                | Notice::Live(_)
                | Notice::Printed(_)
                | Notice::Said(_)
                | Notice::Reconnected => {}
            }
        }
        Ok(())
    }
}

/// What a run's stream has.
enum Told {
    /// Always before the event that confirms it.
    Manifest(std::sync::Arc<seagull_domain::Manifest>),
    Item(Box<seagull_domain::StreamItem>),
}

fn unread(run: &RunId, error: Error) -> anyhow::Error {
    if error.status().is_some_and(is_broken_off) {
        return anyhow!(
            "run {run} has broken off: its process is gone\nhint: it goes on by the same command with --run-id {run}\n\
             hint: seagull rerun {run} runs what has not passed in it"
        );
    }
    if error.is_not_found() {
        return usage(format!(
            "there is no run {run}, or it is not kept any more\nhint: seagull runs lists them; a results proxy has those that have ended"
        ));
    }
    anyhow::Error::new(error).context(format!("run {run} cannot be read"))
}

/// Why a word names no test, which is no run either.
fn neither(what: &str, of_test: anyhow::Error) -> anyhow::Error {
    match of_test.is::<Usage>() && what.parse::<RunName>().is_ok() {
        true => usage(format!("there is no run {what}, and {of_test}")),
        false => of_test,
    }
}

/// Several tests are meant, or none.
fn not_one(text: &str, found: &Found, place: &str) -> anyhow::Error {
    let listed = |ids: &[String]| ids.iter().map(|id| format!("\n  {id}")).collect::<String>();
    let more = found.matching.saturating_sub(number(found.ids.len()));
    let more = if more == 0 { String::new() } else { format!("\n  and {more} more") };
    match found.matching {
        0 => usage(format!(
            "no test of {place} matches {text:?}\nhint: give its id, the end of it, or a part of it"
        )),
        matching => usage(format!(
            "{matching} tests of {place} match {text:?}:{}{more}\nhint: give one of these ids, or more of it",
            listed(&found.ids)
        )),
    }
}

fn form(args: &FormArgs) -> Form {
    Form::on_stdout(args.output, args.color, fresh::unix_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_tests_some_are_named() {
        let found = Found { ids: vec!["a.py::x".into(), "b.py::x".into()], matching: 5 };
        let text = not_one("x", &found, "run r").to_string();
        assert!(
            text.starts_with("5 tests of run r match \"x\":\n  a.py::x\n  b.py::x\n  and 3 more\nhint: "),
            "{text}"
        );
        assert!(not_one("x", &Found::default(), "run r").is::<crate::errors::Usage>());
    }
}
