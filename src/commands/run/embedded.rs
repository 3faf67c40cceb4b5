//! A run with a scheduler and an executor of its own, in this process and this working tree.
#![expect(clippy::disallowed_methods, reason = "a shell: git blocks")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use seagull_domain::{EnvironmentNumber, Framework, RunId, RunSpec, Suite, Workspace};
use seagull_executor::artifact::{Cache, Pinned};
use seagull_executor::setup::Tell;
use seagull_executor::{Executor, machine};
use seagull_proto::Token;
use seagull_scheduler::{JournalError, Server, Settings};
use tokio::sync::mpsc;
use tonic::transport::Channel;

use super::archive::Wanted;
use super::coverage::Coverage;
use super::follow::{self, End, Interrupt, Session};
use super::screen::Screen;
use super::{INTERRUPTING, Start, Step, done, id, say_attached, say_what_did_not_pass, spec};
use crate::again;
use crate::client::{Client, Submitted};
use crate::errors::{INTERRUPTED, say, usage, warn};
use crate::written::{Written, outputs};
use crate::{fresh, git, memory, report};

/// How long the ended run may take to be archived.
const ARCHIVING: Duration = Duration::from_secs(60);
/// Of files that came since, so many are named.
const NAMED: usize = 3;
/// How long workers without work may take to end, and what they had on an engine to be removed.
const LEAVING: Duration = Duration::from_secs(60);

pub async fn run(mut start: Start) -> anyhow::Result<u8> {
    let looked = look(&start)?;
    let (mut spec, _archive) = done!(start.unless_interrupted(looked).await);
    fits_here(&spec.suite, spec.suite.numbers())?;
    let run = id(&spec);
    let token = fresh::token()?;
    let mut server = serve(&start, &run, token.clone())?;
    let channel = server.connect();
    let client = Client::new(channel.clone(), &token);
    let coverage = Coverage::of(&start, &spec);
    spec.awaits_judgement = coverage.is_some();
    let tree = Tree::of(&start);
    let submitted = submit(client.clone(), spec, tree);
    let Submitted { attached, not_passed } = done!(start.unless_interrupted(submitted).await);
    if attached {
        say_attached(&run);
    }
    let (told, tellings) = mpsc::unbounded_channel();
    // Who does not listen any more need not be told.
    let tell = Arc::new(move |text: String| drop(told.send(text)));
    let mut executor = execute(&start, channel, token, tell)?;
    say_what_did_not_pass(&start, not_passed);
    let screen =
        Screen::new(run.clone(), start.settings(attached)).in_place(Written::of(&start.state.directory));
    let session = Session {
        client,
        run: run.clone(),
        screen,
        coverage,
        interrupt: Interrupt::Cancel(INTERRUPTING),
        live: start.args.report.live,
        told: Some(tellings),
        joins: None,
    };
    let trouble = trouble(&mut server, &mut executor, &run);
    match follow::follow(session, &mut start.signals, trouble).await? {
        End::Abandoned => Ok(INTERRUPTED),
        End::Finished(code) => {
            tokio::select! {
                () = part(&server, &mut executor, &run) => Ok(code),
                () = start.signals.next() => Ok(code),
            }
        }
    }
}

/// The work tree that the tests run in.
struct Tree {
    repository: Option<PathBuf>,
    /// Reports in it.
    written: Vec<PathBuf>,
    /// What runs a part of a run again.
    rerun: Vec<String>,
}

impl Tree {
    fn of(start: &Start) -> Tree {
        let at = &start.args.at;
        let access = again::access(None, &at.token, &at.tls, at.state.state.as_deref());
        let rerun = ["seagull", "rerun"].map(str::to_owned).into_iter().chain(access).collect();
        let written = Written::of(&start.state.directory).all();
        Tree { repository: start.place.repository.clone(), written, rerun }
    }
}

/// Submits the run. One that broke off goes on though its tests left files behind.
async fn submit(client: Client, spec: RunSpec, tree: Tree) -> anyhow::Result<Submitted> {
    let differs = match client.offer(spec.clone()).await? {
        Ok(submitted) => return Ok(submitted),
        Err(differs) => differs,
    };
    if !differs.is_of_files() {
        return Err(usage(differs.to_string()));
    }
    let rerun = again::quoted(tree.rerun.iter().map(String::as_str).chain([differs.run.as_str()]));
    match as_it_began(&client, spec, tree).await? {
        Some(spec) => client.submit(spec).await,
        None => Err(usage(format!(
            "{differs}\nhint: {rerun} runs what has not passed in it, on the files as they are"
        ))),
    }
}

/// The run on the tree that it began with, if all that differs now are untracked files that were written since, which
/// is said.
async fn as_it_began(client: &Client, spec: RunSpec, tree: Tree) -> anyhow::Result<Option<RunSpec>> {
    let (Some(top), Some(begun)) = (tree.repository, client.begun(&spec.id).await?) else { return Ok(None) };
    let since = begun.submitted_at;
    let look = move || git::revision_before(&top, &tree.written, since);
    let (then, newer) = tokio::task::spawn_blocking(look).await?;
    let Workspace::InPlace { directory, .. } = &spec.workspace else { return Ok(None) };
    // Equal content is of an equal commit.
    let workspace = Workspace::InPlace { directory: directory.clone(), content: then.content };
    if newer.is_empty() || workspace != begun.workspace {
        return Ok(None);
    }
    let (files, named) = (report::count(report::number(newer.len()), "file"), newer.iter().take(NAMED));
    let named = named.map(|name| report::clean(name)).collect::<Vec<_>>().join(", ");
    let more = if newer.len() > NAMED { ", ..." } else { "" };
    say!("{files} that git does not track came since the run began, and do not count: {named}{more}");
    Ok(Some(RunSpec { workspace, ..spec }))
}

/// Looks at the working tree, opens the archive, if there is one, and makes the spec.
fn look(
    start: &Start,
) -> anyhow::Result<impl Future<Output = anyhow::Result<(RunSpec, Option<Pinned>)>> + use<>> {
    let (args, base, place) = (start.args.clone(), start.base.clone(), start.place.clone());
    let kept = base.as_ref().map_or(Ok(None), |base| kept(base, &start.state.directory))?;
    let wanted = Wanted::of(&args, &start.state.directory)?;
    let (written, here) = (Written::of(&start.state.directory), place.clone());
    let work = move |built| {
        let outputs = outputs();
        written.add(args.report.files().paths().chain(outputs.iter().map(PathBuf::as_path)));
        let revision = place.repository.as_deref().map(|top| git::revision(top, &written.all()));
        let revision = revision.unwrap_or_default();
        let workspace =
            Workspace::InPlace { directory: spec::text(&place.directory)?, content: revision.content };
        let settings = spec::text(place.config.directory().unwrap_or(&place.directory))?;
        let files = spec::Files { workspace, rev: revision.commit, settings, version: None, built };
        match base {
            None => spec::build(&args, &place, files),
            Some(base) => spec::again(*base, &args, files),
        }
    };
    Ok(async move {
        let (built, archive) = match wanted {
            Some(wanted) => {
                wanted.open().await?.in_place(&here).map(|(built, files)| (Some(built), Some(files)))?
            }
            None => (None, kept),
        };
        let spec = tokio::task::spawn_blocking(move || work(built)).await??;
        Ok((spec, archive))
    })
}

/// What an ended run had of an archive, in place as long as this lives.
fn kept(base: &RunSpec, state: &Path) -> anyhow::Result<Option<Pinned>> {
    let Framework::Built(built) = &base.suite.framework else { return Ok(None) };
    let list = Path::new(&built.list);
    let kept = Cache::of_state(state).and_then(|cache| cache.pin_of(list));
    let kept = kept.context("archives cannot be read")?.filter(|_| list.exists());
    kept.map(Some).ok_or_else(|| {
        usage(format!(
            "the archive of run {run} is not kept any more\n\
             hint: seagull run --archive FILE --select not-passed@{run} takes one that is here",
            run = base.id
        ))
    })
}

fn serve(start: &Start, run: &RunId, token: Token) -> anyhow::Result<Server> {
    let (state, journal) = (start.state.directory.clone(), start.state.journal(run));
    let settings = Settings { closed: true, ..Settings::default() };
    let spool = seagull_scheduler::SPOOL_BYTES;
    let options = seagull_scheduler::Options {
        journal,
        state,
        blobs: None,
        index: None,
        spool,
        settings,
        token,
        reads_only: false,
    };
    let follow = || {
        let words = ["seagull", "watch", run.as_str()].map(str::to_owned);
        let at = &start.args.at;
        again::quoted(words.into_iter().chain(again::access(
            None,
            &at.token,
            &at.tls,
            at.state.state.as_deref(),
        )))
    };
    match Server::start(options) {
        Err(seagull_scheduler::Error::Journal(JournalError::InUse { .. })) => Err(anyhow!(
            "run {run} is running in another process\nhint: {} follows it; without --run-id a new run begins",
            follow()
        )),
        started => started.context("the run cannot start"),
    }
}

fn execute(start: &Start, channel: Channel, token: Token, tell: Tell) -> anyhow::Result<Executor> {
    let slots = start.args.how.slots.or(start.place.config.run.slots).unwrap_or_else(crate::commands::cores);
    let options = seagull_executor::Options {
        id: "local".parse()?,
        slots,
        capacity: machine::capacity(),
        image_bytes: seagull_executor::docker::IMAGE_BYTES,
        labels: Default::default(),
        state: start.state.directory.clone(),
        setups: None,
        tell,
        channel,
        token,
        in_place: true,
    };
    Executor::start(options).context("tests cannot be executed here")
}

/// Nothing that has to wait for more memory than this machine has is begun.
pub fn fits_here(suite: &Suite, environments: impl Iterator<Item = EnvironmentNumber>) -> anyhow::Result<()> {
    let (capacity, sizes) = (machine::capacity(), suite.sizes());
    for number in environments {
        let size = sizes.get(usize::from(number.0)).copied().unwrap_or_default();
        let (needs, name) = (size.ordinary.and(size.shared), suite.name_of(number).unwrap_or_default());
        if !capacity.hold(needs) {
            return Err(usage(format!(
                "environment {name} needs {} of memory, with its services, and there is {} for tests here\n\
                 hint: [environment.{name}] memory, and memory of its [services], say what it needs",
                memory::kib(needs.memory_kib),
                memory::kib(capacity.memory_kib)
            )));
        }
    }
    Ok(())
}

/// What ends the run before its time.
async fn trouble(server: &mut Server, executor: &mut Executor, run: &RunId) -> anyhow::Error {
    let broken_off =
        || format!("the run cannot go on\nhint: it does by the same command with --run-id {run}");
    tokio::select! {
        error = server.failed() => anyhow::Error::new(error).context(broken_off()),
        left = executor.wait() => match left {
            Ok(()) => anyhow!("the executor of this process has left"),
            Err(error) => anyhow::Error::new(error).context("the run cannot go on"),
        },
    }
}

/// Keeps what was learned, and lets the workers end.
async fn part(server: &Server, executor: &mut Executor, run: &RunId) {
    executor.part();
    let archived = tokio::time::timeout(ARCHIVING, server.archived(run));
    let left = tokio::time::timeout(LEAVING, executor.wait());
    let (archived, _) = tokio::join!(archived, left);
    if archived.is_err() {
        warn(format!("what run {run} took is not kept in the history yet"));
    }
}
