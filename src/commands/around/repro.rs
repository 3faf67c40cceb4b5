//! `seagull repro`: a test as it ran in a run, by the framework alone.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, anyhow};
use seagull_domain::{Framework, SecretSource, Setup, Workspace};
use seagull_executor::artifact;
use seagull_executor::control_groups::{Bounded, ControlGroups};
use seagull_executor::docker::{Files, LogOutput, Program, Room, forget_room};
use seagull_executor::interpreter;
use seagull_executor::sandbox::Home;
use seagull_executor::secrets::Secrets;
use seagull_executor::setup::{self, Prepared, Wanted};
use seagull_executor::supervisor::within;
use tokio::process::Command;

use super::command::{self, Line, Probe};
use super::others;
use super::repeat::{FAILED, Judge, Repeat};
use super::surroundings::{self, Surroundings};
use super::{Reach, logs};
use crate::cli;
use crate::commands::print;
use crate::commands::run::spec;
use crate::errors::{INTERRUPTED, say, usage, warn};
use crate::place::Place;
use crate::report::around::{Execution, Story};
use crate::report::{count, number, one_line};
use crate::signals::Signals;
use crate::state::State;

const PROBE: &str = include_str!("probe.py");
/// A plugin that tells what came of the test: pytest's own code is also of other tests, and of gates on the whole.
const OUTCOME: &str = include_str!("outcome.py");
const PLUGIN: &str = "seagull_repro_outcome";
/// A plugin that lets tests see which worker they ran in. It stays where it is, for command lines that name it.
const IDENTITY: (&str, &str) = ("seagull_identity", include_str!("seagull_identity.py"));
/// Lines of what pytest says when it refuses.
const WORDS: usize = 6;

pub async fn run(args: cli::Repro) -> anyhow::Result<u8> {
    let (run, test) = args.of.parts().map_err(usage)?;
    let reach = Reach::new(&args.from).await?;
    let story = logs::story(&reach, &run, test).await?;
    let state = state(&reach, &args.from)?;
    drop(reach);
    let execution = story.telling().ok_or_else(|| {
        usage(format!("{} was not executed in run {}\nhint: seagull explain says why", story.id, story.run))
    })?;
    let (root, directory) = directories(&story)?;
    let definition = surroundings::definition(&story, &root)?;
    if args.hold_on_failure.is_some() && definition.as_ref().is_none_or(|of| of.services.is_empty()) {
        return Err(usage(format!(
            "--hold-on-failure: {} has no services that could stay\nhint: without it the test is repeated alike",
            story.id
        )));
    }
    let container = definition.as_ref().and_then(|definition| definition.environment.container.clone());
    let mut given = Given::of(&story, &root, state, container.is_some())?;
    given.active.extend(
        story.spec.suite.environment(story.environment).into_iter().flat_map(|(_, of)| of.env.clone()),
    );
    let Some(definition) = definition else {
        return repeat(&args, &story, execution, &directory, (given, None)).await;
    };
    match (args.print, &container) {
        (true, Some(container)) => {
            return Err(usage(format!(
                "--print: {} ran in the image {}, beside its services\nhint: without --print it is repeated there",
                story.id, container.image
            )));
        }
        (true, None) => {
            let name = &definition.name;
            say!("it needs the services of {name}: eval \"$(seagull services up {name})\" has them");
            return repeat(&args, &story, execution, &directory, (given, None)).await;
        }
        (false, _) => {}
    }
    let state = State::open(args.from.state.state.as_deref(), &Place::here()?)?;
    let around = Surroundings::start(definition, &execution.images, &state, args.hold_on_failure).await?;
    given.active.extend(around.variables());
    let scratch = scratch()?;
    let code = match container {
        None => {
            let hosts = around.hosts(scratch.path())?;
            repeat(&args, &story, execution, &directory, (given, hosts.as_deref())).await
        }
        Some(container) => {
            say!("in a container of {}:", container.image);
            let files = files(&story, root, directory, scratch.path());
            in_room(&args, &story, execution, (files, &around), given).await
        }
    };
    // What came of the test is what was asked for.
    let ended = around.end(matches!(code, Ok(FAILED))).await;
    let ended = ended.and(forget_room(scratch.path()).map_err(Into::into));
    match (&code, ended) {
        (Ok(_), Err(error)) => warn(format!("not all of it is removed: {error:#}")),
        (Err(_), _) | (_, Ok(())) => {}
    }
    code
}

/// What a container of the test is shown.
fn files(story: &Story, root: PathBuf, directory: PathBuf, scratch: &Path) -> Files {
    let tree = match &story.spec.workspace {
        Workspace::Artifact { .. } => root,
        Workspace::InPlace { .. } => artifact::in_place(&directory).to_owned(),
    };
    Files { tree, directory, shared: scratch.join("shared"), scratch: scratch.to_owned() }
}

/// In a container as its worker had one. What is interrupted goes with that.
async fn in_room(
    args: &cli::Repro,
    story: &Story,
    execution: &Execution,
    (files, around): (Files, &Surroundings),
    given: Given,
) -> anyhow::Result<u8> {
    let mut signals = Signals::new()?;
    let (directory, shared) = (files.directory.clone(), files.shared.clone());
    fs::create_dir(&shared)?;
    let room = tokio::select! {
        room = around.room(files, given.secrets.clone()) => room?,
        () = signals.next() => return Ok(INTERRUPTED),
    };
    tokio::select! {
        code = pytest(args, story, execution, (&directory, Some((&room, &shared))), given) => code,
        () = signals.next() => Ok(INTERRUPTED),
    }
}

/// On this machine, within the bounds that its worker had, and where the names of its services are known.
async fn repeat(
    args: &cli::Repro,
    story: &Story,
    execution: &Execution,
    directory: &Path,
    (mut given, hosts): (Given, Option<&Path>),
) -> anyhow::Result<u8> {
    let bounded = if args.print { None } else { bounded(story)? };
    given.before = within(hosts, bounded.as_ref())?;
    let code = by_framework(args, story, execution, directory, given).await?;
    if !bounded.is_some_and(|bounded| bounded.was_out_of_memory()) {
        return Ok(code);
    }
    let name = story.spec.suite.environment(story.environment).map_or("", |(name, _)| name);
    say!(
        "it is over its memory limit: the kernel killed something of it; [environment.{name}] memory sets it"
    );
    Ok(FAILED)
}

/// The bounds of its environment, where there are any that can be set here.
fn bounded(story: &Story) -> anyhow::Result<Option<Bounded>> {
    let environment = story.spec.suite.environment(story.environment);
    let Some(limits) = environment.and_then(|(_, environment)| environment.bounds.as_ref()) else {
        return Ok(None);
    };
    let own = env::temp_dir().join(format!("repro-{}", std::process::id()));
    let bounded = ControlGroups::find().bounded(&own, limits);
    bounded.inspect_err(|error| warn(format!("it runs without bounds: {error}"))).map(Some).or(Ok(None))
}

async fn by_framework(
    args: &cli::Repro,
    story: &Story,
    execution: &Execution,
    directory: &Path,
    given: Given,
) -> anyhow::Result<u8> {
    match &story.spec.suite.framework {
        Framework::Pytest => pytest(args, story, execution, (directory, None), given).await,
        Framework::Cargo | Framework::Built(_) => {
            let (line, test) = others::cargo(story, execution.slot, directory)?;
            other(args, story, execution, (given.to(line, story), Judge::Cargo(test))).await
        }
        Framework::Command(commands) => {
            // A line that is printed needs what is in it.
            let scratch = if args.print { None } else { Some(scratch()?) };
            let kept = || kept().map(Cow::from);
            let folder = scratch.as_ref().map_or_else(kept, |home| Ok(home.path().into()))?;
            let (line, test) = others::command(commands, story, execution.slot, directory, &folder)?;
            let line = given.to(line, story);
            other(args, story, execution, (line, Judge::Command(test))).await
        }
    }
}

/// The state directory here, if there is one.
fn state(reach: &Reach, from: &cli::FromArgs) -> anyhow::Result<Option<PathBuf>> {
    match &reach.state {
        Some(state) => Ok(Some(state.clone())),
        None => Ok(State::find(from.state.state.as_deref(), &Place::here()?).map(|state| state.directory)),
    }
}

/// What this machine adds to the run's environment.
struct Given {
    state: Option<PathBuf>,
    prepared: Option<Prepared>,
    /// What the setup sets.
    active: Vec<(String, String)>,
    secrets: Secrets,
    /// What has it run where the names of its services are known.
    before: Vec<OsString>,
}

impl Given {
    /// An image has all that is to be prepared.
    fn of(story: &Story, root: &Path, state: Option<PathBuf>, in_image: bool) -> anyhow::Result<Given> {
        let prepared = if in_image { None } else { prepared(story, root, state.as_deref())? };
        let active = prepared.as_ref().map(|prepared| prepared.variables(env::var_os("PATH").as_deref()));
        let secrets = secrets(&story.spec.suite.secrets)?;
        Ok(Given { state, prepared, active: active.unwrap_or_default(), secrets, before: Vec::new() })
    }

    fn to(self, line: Line, story: &Story) -> Line {
        let line = line.beside(self.active).by(self.before);
        line.with_secrets(self.secrets, &story.spec.suite.secrets)
    }
}

fn secrets(sources: &BTreeMap<String, SecretSource>) -> anyhow::Result<Secrets> {
    const HINT: &str = "hint: it is looked for on this machine, in the same place as on the executor";
    Secrets::find(sources).map_err(|error| usage(format!("{error}\n{HINT}")))
}

/// A directory for as long as the test is repeated.
fn scratch() -> anyhow::Result<Home> {
    Ok(Home::create_for("repro", &env::temp_dir())?)
}

/// One that stays, for whoever is told of it.
fn kept() -> anyhow::Result<PathBuf> {
    Ok(tempfile::Builder::new().prefix("seagull-repro-").tempdir()?.keep())
}

/// A test that has a process of its own: nothing ran before it there.
async fn other(
    args: &cli::Repro,
    story: &Story,
    execution: &Execution,
    (line, judge): (Line, Judge),
) -> anyhow::Result<u8> {
    if args.print {
        print(|out| writeln!(out, "{}", line.as_shell()))?;
        return Ok(0);
    }
    say!("{}: {}", story.id, execution.facts());
    say!("{}", line.as_told());
    Repeat { line, judge, story, room: None }.run(args.until_fail).await
}

/// `inside`: a room, and a directory that is the same there.
async fn pytest(
    args: &cli::Repro,
    story: &Story,
    execution: &Execution,
    (directory, inside): (&Path, Option<(&Room, &Path)>),
    given: Given,
) -> anyhow::Result<u8> {
    let probe = match inside {
        Some((room, _)) => probe_inside(room, directory, story, &given.active).await?,
        None => {
            let python = match given.prepared.as_ref().and_then(Prepared::python) {
                Some(python) => python,
                None => interpreter::find(&story.spec.suite.python, directory)?,
            };
            let around = [given.active.as_slice(), given.secrets.variables()].concat();
            probe(&python, directory, story, &around).await?
        }
    };
    let home = match inside {
        Some((_, shared)) => {
            let home = shared.join("identity");
            write_identity(&home)?;
            home
        }
        None => identity(given.state.as_deref())?,
    };
    let mut line = given.to(Line::new(story, execution, &probe, directory, args.alone), story);
    line.plug(IDENTITY.0, &home);
    if let Some(giver) = probe.gives.as_ref().filter(|_| story.spec.suite.controller != Some(false)) {
        let giver = one_line(giver, 200);
        say!(
            "what the suite's controller puts into workerinput is made anew (pytest_configure_node in {giver})"
        );
    }
    if args.print {
        line.shorten(&probe, &std::env::temp_dir())?;
        print(|out| writeln!(out, "{}", line.as_shell()))?;
        return Ok(0);
    }
    let scratch = scratch()?;
    // Who is left of a repetition that was killed is known by it: the search path begins in the directory.
    let folder = &inside.map_or_else(|| scratch.path().join("shared"), |(_, shared)| shared.to_owned());
    fs::create_dir_all(folder)?;
    line.arguments.splice(0..0, ["-o".to_owned(), format!("cache_dir={}", folder.join("cache").display())]);
    line.shorten(&probe, folder)?;
    say(story, execution, &line, args.alone);
    fs::write(folder.join(PLUGIN).with_extension("py"), OUTCOME)?;
    fs::write(folder.join("test"), &story.id)?;
    line.plug(PLUGIN, folder);
    let judge = Judge::Pytest(folder.join("outcome"));
    Repeat { line, judge, story, room: inside.map(|(room, _)| room) }.run(args.until_fail).await
}

/// Writes the plugin of the test's identity into the state directory; where that cannot be written to, or be named on a
/// search path, into the system's temporary one. Says where it is.
fn identity(state: Option<&Path>) -> anyhow::Result<PathBuf> {
    let state = state.and_then(|state| state.canonicalize().ok());
    let home = state.filter(|state| !state.to_string_lossy().contains(':')).map(|state| state.join("repro"));
    if let Some(home) = home.filter(|home| write_identity(home).is_ok()) {
        return Ok(home);
    }
    let home = kept()?.canonicalize()?;
    write_identity(&home).with_context(|| format!("cannot write to {}", home.display()))?;
    Ok(home)
}

fn write_identity(home: &Path) -> std::io::Result<()> {
    let (name, text) = IDENTITY;
    let path = home.join(name).with_extension("py");
    if fs::read_to_string(&path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    fs::create_dir_all(home)?;
    let mut file = tempfile::NamedTempFile::new_in(home)?;
    file.write_all(text.as_bytes())?;
    file.persist(&path)?;
    Ok(())
}

/// Where the suite's files and its directory are here: of a run on a scheduler, those of this repository.
fn directories(story: &Story) -> anyhow::Result<(PathBuf, PathBuf)> {
    match &story.spec.workspace {
        Workspace::InPlace { directory, .. } => Ok((directory.into(), directory.into())),
        Workspace::Artifact { directory, .. } => {
            let place = Place::here()?;
            say!(
                "run {} had the files of revision {}; these are the ones that are here",
                story.run,
                story.spec.rev
            );
            let top = place.config.artifact_root.or(place.repository).unwrap_or(place.directory);
            let directory = top.join(directory);
            Ok((top, directory))
        }
    }
}

/// What the run's setup made, here.
fn prepared(story: &Story, root: &Path, state: Option<&Path>) -> anyhow::Result<Option<Prepared>> {
    let Some(setup) = &story.spec.suite.setup else { return Ok(None) };
    let directory = root.join(&setup.directory);
    let directory = directory.canonicalize().unwrap_or(directory);
    let wanted = Wanted {
        setup: Setup { directory: spec::text(&directory)?, ..setup.clone() },
        directory,
        variables: story.spec.suite.variables.clone(),
        passed: Default::default(),
        secrets: Default::default(),
        limit: setup::limit(None),
    };
    let found = state.map(|state| setup::find(state, &wanted)).transpose().map_err(anyhow::Error::msg)?;
    found.flatten().map(Some).ok_or_else(|| {
        usage(format!(
            "what the setup of run {} made is not here, or its inputs have changed\nhint: seagull doctor makes it",
            story.run
        ))
    })
}

/// Asks pytest what the run's arguments mean to it.
async fn probe(
    python: &Path,
    directory: &Path,
    story: &Story,
    active: &[(String, String)],
) -> anyhow::Result<Probe> {
    let mut command = Command::new(python);
    command.args(["-c", PROBE]).args(&story.spec.arguments).current_dir(directory).stdin(Stdio::null());
    command.envs(active.iter().cloned()).envs(command::variables(story));
    let output = command.output().await.with_context(|| format!("cannot start {}", python.display()))?;
    probed(story, &output.stdout, &output.stderr)
}

async fn probe_inside(
    room: &Room,
    directory: &Path,
    story: &Story,
    active: &[(String, String)],
) -> anyhow::Result<Probe> {
    let words = [room.python(), "-c", PROBE].map(str::to_owned).to_vec();
    let words = [words, story.spec.arguments.clone()].concat();
    let variables = [active, &command::variables(story)].concat();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let hear = |piece: LogOutput| match piece {
        LogOutput::StdErr { message } => stderr.extend_from_slice(&message),
        other => stdout.extend_from_slice(&other.into_bytes()),
    };
    room.run(Program { words, variables: &variables, directory }, hear).await?;
    probed(story, &stdout, &stderr)
}

fn probed(story: &Story, stdout: &[u8], stderr: &[u8]) -> anyhow::Result<Probe> {
    serde_json::from_slice(stdout).map_err(|_| {
        let said = String::from_utf8_lossy(stderr);
        let lines: Vec<_> = said.trim_end().lines().collect();
        let said = lines[lines.len().saturating_sub(WORDS)..].join("\n");
        anyhow!("pytest does not take the arguments of run {} any more:\n{said}", story.run)
    })
}

fn say(story: &Story, execution: &Execution, line: &Line, alone: bool) {
    let before = number(execution.before.len());
    say!("{}: {}", story.id, execution.facts());
    if before > 0 {
        let before = count(before, "test");
        say!("{before} before it in its worker{}", if alone { ", left out" } else { ", run first" });
    }
    say!("{}", line.as_told());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_is_not_here_is_looked_for_where_the_executor_had_it() {
        let source = "env:NOT_SET_HERE".parse().unwrap();
        let error = secrets(&BTreeMap::from([("TOKEN".to_owned(), source)])).err().unwrap();
        assert!(error.to_string().contains("\nhint: it is looked for on this machine"), "{error}");
    }
}
