//! What executors get instead of building it: cargo builds the tests here, and its words are shown, or there is an archive.
#![expect(clippy::disallowed_methods, reason = "a shell: a build takes real time")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{self, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, anyhow};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use seagull_domain::{Built, RunSpec};
use seagull_executor::adapters::cargo::{self, Build, Exported, Given};
use seagull_executor::artifact::BUILT;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{ChildStderr, Command};

use super::archive::{Opened, Wanted};
use super::artifact::Source;
use super::spec;
use crate::cli;
use crate::client::Client;
use crate::errors::{say, usage, warn};
use crate::framework::{self, Name};
use crate::place::Place;

/// What cargo says of each binary that it believes to run.
const RUNNING: [&str; 2] = ["     Running", "   Doc-tests"];
/// Where in a line that stands at the latest, behind its colour.
const INDENT: usize = 16;
/// How long the last words of a process that has ended may take.
const LAST_WORDS: Duration = Duration::from_secs(2);
const ELSEWHERE: &str = "hint: [cargo] build = \"executors\" in seagull.toml builds on each executor instead";

/// What goes along with the files of a run.
pub enum Along {
    Nothing,
    Build(Box<Building>),
    Archive(Wanted),
}

/// What is to be built.
pub struct Building {
    arguments: Vec<String>,
    directory: PathBuf,
    given: Given,
}

/// What is to be sent, with what was built for it.
pub struct Ready {
    source: Source,
    /// As the artifact will have it.
    built: Option<Built>,
    _kept: Option<(TempDir, Option<Opened>)>,
}

impl Along {
    pub fn of(args: &cli::Run, place: &Place, state: &Path) -> anyhow::Result<Along> {
        if let Some(archive) = Wanted::of(args, state)? {
            return Ok(Along::Archive(archive));
        }
        if framework::name(args, place).0 != Name::Cargo || place.config.build_on_executors {
            return Ok(Along::Nothing);
        }
        Ok(Along::Build(Box::new(Building {
            arguments: args.paths.iter().chain(&args.arguments).cloned().collect(),
            directory: place.directory.clone(),
            given: cargo::given(&place.config.env),
        })))
    }

    /// Not where the user builds: what another tree leaves there would be taken for his own.
    pub fn in_target(mut self, target: &Path) -> Along {
        if let Along::Build(building) = &mut self {
            building.given.insert("CARGO_TARGET_DIR".into(), target.into());
        }
        self
    }

    /// Adds it to what is sent of a place. Given up, it leaves no process.
    pub async fn add_to(self, source: Source, place: &Place) -> anyhow::Result<Ready> {
        match self {
            Along::Nothing => Ok(Ready { source, built: None, _kept: None }),
            Along::Build(building) => {
                let scratch = scratch()?;
                let exported = building.build(scratch.path(), source.root()).await?;
                add(source, exported, String::new(), (scratch, None)).await
            }
            Along::Archive(archive) => {
                let opened = archive.open().await?;
                let (workspace, root) = (opened.workspace(place)?, source.root().canonicalize()?);
                let tree = workspace.strip_prefix(&root).map_err(|_| {
                    let (workspace, root) = (workspace.display(), root.display());
                    usage(format!("the workspace {workspace} is not within the artifact root {root}"))
                })?;
                add(source, opened.export()?, spec::text(tree)?, (scratch()?, Some(opened))).await
            }
        }
    }
}

fn scratch() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("seagull-build-").tempdir()
}

/// `tree` is where the tests' directories are in what is sent.
async fn add(
    source: Source,
    exported: Exported,
    tree: String,
    kept: (TempDir, Option<Opened>),
) -> anyhow::Result<Ready> {
    tell_left_out(exported.left_out).await?;
    tell_unsent(&exported.unsent);
    let list = kept.0.path().join(cargo::LIST);
    fs::write(&list, &exported.list)?;
    let mut files = exported.files;
    files.insert(cargo::LIST.into(), list);
    let built = Built { list: format!("{BUILT}/{}", cargo::LIST), tree };
    Ok(Ready { source: source.with(files), built: Some(built), _kept: Some(kept) })
}

impl Ready {
    /// Packs and uploads the files of this commit and version, and makes the spec.
    pub async fn deliver(
        self,
        args: &cli::Run,
        place: &Place,
        client: &Client,
        (rev, version): (String, Option<String>),
    ) -> anyhow::Result<RunSpec> {
        let pack = move || self.source.pack().map(|packed| (self, packed));
        let (ready, packed) = tokio::task::spawn_blocking(pack).await??;
        let settings = ready.source.settings(place)?;
        let workspace = ready.source.upload(packed, client).await?;
        spec::build(args, place, spec::Files { workspace, rev, settings, version, built: ready.built })
    }
}

impl Building {
    async fn build(&self, scratch: &Path, tree: &Path) -> anyhow::Result<Exported> {
        say!("building the tests here, for executors without cargo");
        let tree = tree.canonicalize()?;
        let build = Build::new(scratch)?;
        let rustc = Command::from(Build::rustc()).stderr(Stdio::null()).output().await;
        let rustc =
            rustc.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let given = with_colour(&self.given);
        let mut command = build.command_in(&given, &self.arguments, &rustc);
        let stdout = scratch.join("stdout");
        let directory = self.directory.canonicalize()?;
        let configured = cargo::configured(&directory, &given, &self.arguments);
        command.current_dir(directory).stdout(File::create(&stdout)?);
        let status =
            run(command).await.map_err(|error| anyhow!("cannot start cargo: {error}\n{ELSEWHERE}"))?;
        if !status.success() {
            return Err(anyhow!(
                "cargo test does not build ({status}): its own words are above\n{ELSEWHERE}"
            ));
        }
        let export = move || -> anyhow::Result<_> {
            let said = fs::read(&stdout).context("cannot read what cargo said")?;
            build.export(&String::from_utf8_lossy(&said), &given, configured, &tree).map_err(usage)
        };
        tokio::task::spawn_blocking(export).await?
    }
}

/// Cargo does not see the terminal itself.
fn with_colour(given: &Given) -> Given {
    let mut given = given.clone();
    if io::stderr().is_terminal() && !given.contains_key("NO_COLOR".as_ref() as &std::ffi::OsStr) {
        given.entry("CARGO_TERM_COLOR".into()).or_insert("always".into());
    }
    given
}

/// Names the packages whose documentation has examples.
async fn tell_left_out(left_out: Vec<(String, process::Command)>) -> anyhow::Result<()> {
    let mut packages = Vec::new();
    for (package, mut lists) in left_out {
        let mut listed = tempfile::tempfile()?;
        lists.stdout(listed.try_clone()?);
        let status = run_silently(lists).await;
        let said = read(&mut listed)?;
        if !(status.is_ok_and(|status| status.success()) && cargo::lists_none(&said)) {
            packages.push(package);
        }
    }
    if !packages.is_empty() {
        warn(format!(
            "the examples in the documentation of {} need a compiler and are not run\n{ELSEWHERE}, with them; \
             --lib --bins --tests after -- leaves them out",
            packages.join(", ")
        ));
    }
    Ok(())
}

/// What a wrapper around cargo sets may be the user's own.
fn tell_unsent(variables: &BTreeSet<String>) {
    if !variables.is_empty() {
        let names = variables.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        warn(format!(
            "set by something around cargo, and not sent with the tests: {names}\n\
             hint: pass-env in seagull.toml sends variables of this process by name, and [env] sets them"
        ));
    }
}

fn read(file: &mut File) -> io::Result<String> {
    use std::io::{Read, Seek};
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Runs a build to its end, and passes on what it writes on standard error.
async fn run(mut command: process::Command) -> io::Result<ExitStatus> {
    command.stderr(Stdio::piped());
    let mut group = Group::start(command)?;
    let telling = tell(group.child.stderr.take());
    tokio::pin!(telling);
    let mut told = false;
    let status = loop {
        tokio::select! {
            status = group.wait() => break status?,
            () = &mut telling, if !told => told = true,
        }
    };
    // What the build has left running may keep it open.
    if !told {
        let _ = tokio::time::timeout(LAST_WORDS, telling).await;
    }
    Ok(status)
}

async fn run_silently(mut command: process::Command) -> io::Result<ExitStatus> {
    command.stderr(Stdio::null());
    Group::start(command)?.wait().await
}

async fn tell(stderr: Option<ChildStderr>) {
    let Some(stderr) = stderr else { return };
    let mut lines = BufReader::new(stderr);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line);
        let running = |words: &str| text.find(words).is_some_and(|at| at < INDENT);
        if !RUNNING.iter().any(|words| running(words)) {
            let _ = io::stderr().write_all(&line);
        }
        line.clear();
    }
}

/// A process with all that it starts; killed together if this is dropped before it has ended.
struct Group {
    child: tokio::process::Child,
    ended: bool,
}

impl Group {
    fn start(mut command: process::Command) -> io::Result<Group> {
        command.stdin(Stdio::null());
        let mut command = Command::from(command);
        Ok(Group { child: command.process_group(0).kill_on_drop(true).spawn()?, ended: false })
    }

    async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.ended = true;
        status
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Not reaped yet: nobody else has its number.
        let id = self.child.id().filter(|_| !self.ended).and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id {
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}
