//! `seagull repro`: a test as it ran in a run, by the framework alone.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::{Context, anyhow};
use seagull_domain::{Framework, Outcome, SecretSource, Setup, Workspace};
use seagull_executor::interpreter;
use seagull_executor::secrets::Secrets;
use seagull_executor::setup::{self, Prepared, Wanted};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::process::{ChildStdout, Command};

use super::command::{self, Line, Probe};
use super::others::{self, CargoTest, CommandTest};
use super::surroundings::{self, Surroundings};
use super::{Reach, logs};
use crate::cli;
use crate::commands::print;
use crate::commands::run::spec;
use crate::errors::{INTERRUPTED, say, usage};
use crate::place::Place;
use crate::report::around::{Execution, Story};
use crate::report::{count, number, one_line, times};
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
/// Bytes of what is kept of a process's words.
const KEPT: usize = 64 << 10;
/// As for a run with a failed test.
const FAILED: u8 = 100;

pub async fn run(args: cli::Repro) -> anyhow::Result<u8> {
    let (run, test) = args.of.parts().map_err(usage)?;
    let reach = Reach::new(&args.from).await?;
    let story = logs::story(&reach, &run, test).await?;
    let state = state(&reach, &args.from)?;
    drop(reach);
    let execution = story.telling().ok_or_else(|| {
        usage(format!("{} was not executed in run {}\nhint: seagull explain says why", story.id, story.run))
    })?;
    in_no_image(&story)?;
    let (root, directory) = directories(&story)?;
    let mut given = Given::of(&story, &root, state)?;
    given.active.extend(
        story.spec.suite.environment(story.environment).into_iter().flat_map(|(_, of)| of.env.clone()),
    );
    let Some(definition) = surroundings::definition(&story, &root)? else {
        return repeat(&args, &story, execution, &directory, given).await;
    };
    if args.print {
        let name = &definition.name;
        say!("it needs the services of {name}: eval \"$(seagull services up {name})\" has them");
        return repeat(&args, &story, execution, &directory, given).await;
    }
    let state = State::open(args.from.state.state.as_deref(), &Place::here()?)?;
    let around = Surroundings::start(definition, &execution.images, &state, args.hold_on_failure).await?;
    given.active.extend(around.variables());
    let code = repeat(&args, &story, execution, &directory, given).await;
    around.end(matches!(code, Ok(FAILED))).await?;
    code
}

/// On this machine it would be another test.
fn in_no_image(story: &Story) -> anyhow::Result<()> {
    let environment = story.spec.suite.environment(story.environment);
    match environment.and_then(|(_, environment)| environment.container.as_ref()) {
        None => Ok(()),
        Some(container) => Err(usage(format!(
            "{} ran in the image {}, where nothing is repeated\nhint: seagull run {} runs it there again",
            story.id, container.image, story.id
        ))),
    }
}

async fn repeat(
    args: &cli::Repro,
    story: &Story,
    execution: &Execution,
    directory: &Path,
    given: Given,
) -> anyhow::Result<u8> {
    match &story.spec.suite.framework {
        Framework::Pytest => pytest(args, story, execution, directory, given).await,
        Framework::Cargo | Framework::Built(_) => {
            let (line, test) = others::cargo(story, execution.slot, directory)?;
            other(args, story, execution, (given.to(line, story), Judge::Cargo(test))).await
        }
        Framework::Command(commands) => {
            let scratch = scratch()?;
            let (line, test) = others::command(commands, story, execution.slot, directory, scratch.path())?;
            let line = given.to(line, story);
            let code = other(args, story, execution, (line, Judge::Command(test))).await;
            if args.print {
                // The line needs what is in it.
                let _ = scratch.keep();
            }
            code
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
}

impl Given {
    fn of(story: &Story, root: &Path, state: Option<PathBuf>) -> anyhow::Result<Given> {
        let prepared = prepared(story, root, state.as_deref())?;
        let active = prepared.as_ref().map(|prepared| prepared.variables(env::var_os("PATH").as_deref()));
        let secrets = secrets(&story.spec.suite.secrets)?;
        Ok(Given { state, prepared, active: active.unwrap_or_default(), secrets })
    }

    fn to(self, line: Line, story: &Story) -> Line {
        line.beside(self.active).with_secrets(self.secrets, &story.spec.suite.secrets)
    }
}

fn secrets(sources: &BTreeMap<String, SecretSource>) -> anyhow::Result<Secrets> {
    const HINT: &str = "hint: it is looked for on this machine, in the same place as on the executor";
    Secrets::find(sources).map_err(|error| usage(format!("{error}\n{HINT}")))
}

fn scratch() -> anyhow::Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("seagull-repro-").tempdir()?)
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
    Repeat { line, judge, story }.run(args.until_fail).await
}

async fn pytest(
    args: &cli::Repro,
    story: &Story,
    execution: &Execution,
    directory: &Path,
    given: Given,
) -> anyhow::Result<u8> {
    let python = match given.prepared.as_ref().and_then(Prepared::python) {
        Some(python) => python,
        None => interpreter::find(&story.spec.suite.python, directory)?,
    };
    let around = [given.active.as_slice(), given.secrets.variables()].concat();
    let probe = probe(&python, directory, story, &around).await?;
    let home = identity(given.state.as_deref())?;
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
    let folder = scratch.path();
    line.arguments.splice(0..0, ["-o".to_owned(), format!("cache_dir={}", folder.join("cache").display())]);
    line.shorten(&probe, folder)?;
    say(story, execution, &line, args.alone);
    fs::write(folder.join(PLUGIN).with_extension("py"), OUTCOME)?;
    fs::write(folder.join("test"), &story.id)?;
    line.plug(PLUGIN, folder);
    let judge = Judge::Pytest(folder.join("outcome"));
    Repeat { line, judge, story }.run(args.until_fail).await
}

/// Writes the plugin of the test's identity into the state directory; where that cannot be written to, or be named on a
/// search path, into the system's temporary one. Says where it is.
fn identity(state: Option<&Path>) -> anyhow::Result<PathBuf> {
    let state = state.and_then(|state| state.canonicalize().ok());
    let home = state.filter(|state| !state.to_string_lossy().contains(':')).map(|state| state.join("repro"));
    if let Some(home) = home.filter(|home| write_identity(home).is_ok()) {
        return Ok(home);
    }
    let home = scratch()?.keep().canonicalize()?;
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
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
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

/// Who says what came of the test.
enum Judge {
    /// The plugin, in this file.
    Pytest(PathBuf),
    Cargo(CargoTest),
    Command(CommandTest),
}

impl Judge {
    fn program(&self) -> &'static str {
        match self {
            Judge::Pytest(_) => "pytest",
            Judge::Cargo(_) => "cargo test",
            Judge::Command(_) => "the run command",
        }
    }

    /// Forgets the last time.
    fn forget(&self) {
        match self {
            Judge::Pytest(outcome) => drop(fs::remove_file(outcome)),
            Judge::Cargo(_) => {}
            Judge::Command(test) => test.forget(),
        }
    }

    /// What came of the test; None if it was not come to.
    fn outcome(&self, status: ExitStatus, said: &str) -> Option<Outcome> {
        match self {
            Judge::Pytest(outcome) => outcome_of(&fs::read_to_string(outcome).unwrap_or_default()),
            Judge::Cargo(test) => test.outcome(said, status.success()),
            Judge::Command(test) => test.outcome(status.success()),
        }
    }
}

struct Repeat<'a> {
    line: Line,
    judge: Judge,
    story: &'a Story,
}

impl Repeat<'_> {
    /// `until_fail` is how often at most, 0 for any number; None for once.
    async fn run(&self, until_fail: Option<u32>) -> anyhow::Result<u8> {
        let mut signals = Signals::new()?;
        let most = match until_fail {
            None => 1,
            Some(0) => u32::MAX,
            Some(most) => most,
        };
        let mut outcome = Outcome::Passed;
        for number in 1..=most {
            self.judge.forget();
            let mut command = self.line.command();
            if let Judge::Cargo(_) = self.judge {
                command.stdout(Stdio::piped());
            }
            let cannot = || format!("{} cannot be started", self.judge.program());
            let mut child = command.spawn().with_context(cannot)?;
            let heard = hear(child.stdout.take());
            let ended = async { tokio::join!(child.wait(), heard) };
            tokio::pin!(ended);
            let mut interrupted = false;
            // It gets the signal of a terminal itself.
            let (status, said) = loop {
                tokio::select! {
                    ended = &mut ended => break ended,
                    () = signals.next() => interrupted = true,
                }
            };
            if interrupted {
                return Ok(INTERRUPTED);
            }
            outcome = self.outcome(status?, &said?)?;
            if outcome == Outcome::Failed {
                self.tell(outcome, number, until_fail);
                return Ok(FAILED);
            }
        }
        self.tell(outcome, most, until_fail);
        Ok(0)
    }

    fn tell(&self, outcome: Outcome, number: u32, until_fail: Option<u32>) {
        let told = told(outcome, number, until_fail);
        say!("{} {told}", self.story.id);
    }

    fn outcome(&self, status: ExitStatus, said: &str) -> anyhow::Result<Outcome> {
        self.judge.outcome(status, said).ok_or_else(|| {
            anyhow!(
                "{} ended ({status}) before it came to {}\nhint: its own words are above",
                self.judge.program(),
                self.story.id
            )
        })
    }
}

/// What came of a test at the last of so many tries.
fn told(outcome: Outcome, number: u32, until_fail: Option<u32>) -> String {
    match (until_fail, outcome) {
        (None, Outcome::Skipped) => "was skipped".to_owned(),
        (None, _) => outcome.word().to_owned(),
        (Some(_), Outcome::Failed) => format!("failed at try {number}"),
        (Some(_), _) => format!("did not fail; it was tried {}", times(number)),
    }
}

/// Passes on what a process writes, and keeps the beginning and the end of it.
async fn hear(stdout: Option<ChildStdout>) -> anyhow::Result<String> {
    let Some(mut stdout) = stdout else { return Ok(String::new()) };
    let (mut kept, mut chunk) = (Vec::new(), [0; 8 << 10]);
    loop {
        let read = stdout.read(&mut chunk).await?;
        if read == 0 {
            return Ok(String::from_utf8_lossy(&kept).into_owned());
        }
        print(|out| out.write_all(&chunk[..read]))?;
        kept.extend_from_slice(&chunk[..read]);
        if kept.len() > 2 * KEPT {
            kept.drain(KEPT / 2..kept.len() - KEPT / 2);
        }
    }
}

/// What came of the test, by the plugin's words; None if it did not begin. What began and did not end took pytest with it.
fn outcome_of(told: &str) -> Option<Outcome> {
    let has = |word| told.lines().any(|line| line == word);
    match has("started") {
        false => None,
        true if has("failed") || !has("finished") => Some(Outcome::Failed),
        true if has("skipped") => Some(Outcome::Skipped),
        true => Some(Outcome::Passed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_failed_by_its_own_words_alone() {
        let table = [
            ("", None),
            ("started\npassed\npassed\npassed\nfinished\n", Some(Outcome::Passed)),
            ("started\nskipped\npassed\nfinished\n", Some(Outcome::Skipped)),
            ("started\npassed\npassed\nfailed\nfinished\n", Some(Outcome::Failed)),
            // It killed its process, or left pytest.
            ("started\npassed\n", Some(Outcome::Failed)),
        ];
        for (told, expected) in table {
            assert_eq!(outcome_of(told), expected, "{told:?}");
        }
    }

    #[test]
    fn it_is_told_what_came_of_the_test_and_of_how_many_tries() {
        let table = [
            (Outcome::Skipped, None, "was skipped"),
            (Outcome::Passed, None, "passed"),
            (Outcome::Failed, Some(0), "failed at try 2"),
            (Outcome::Passed, Some(2), "did not fail; it was tried 2 times"),
        ];
        for (outcome, until_fail, expected) in table {
            assert_eq!(told(outcome, 2, until_fail), expected);
        }
    }

    #[test]
    fn a_secret_that_is_not_here_is_looked_for_where_the_executor_had_it() {
        let source = "env:NOT_SET_HERE".parse().unwrap();
        let error = secrets(&BTreeMap::from([("TOKEN".to_owned(), source)])).err().unwrap();
        assert!(error.to_string().contains("\nhint: it is looked for on this machine"), "{error}");
    }
}
