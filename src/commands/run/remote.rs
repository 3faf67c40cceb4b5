//! A run on a scheduler's executors: the working tree, or a revision, is packed and sent there.
#![expect(clippy::disallowed_methods, reason = "a shell: packing blocks")]

use std::io::Write;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;
use std::{fs, future};

use seagull_domain::{Framework, RunSpec, Workspace};
use seagull_executor::artifact::Packed;
use tonic::transport::Uri;

use super::artifact::Source;
use super::coverage::Coverage;
use super::follow::{self, End, Interrupt, Session};
use super::screen::Screen;
use super::{Start, Step, done, id, say_attached, say_what_did_not_pass, spec};
use crate::again::{access, quoted};
use crate::cli;
use crate::client::{Client, Submitted};
use crate::errors::{INTERRUPTED, usage, warn};
use crate::git::{self, checkout};
use crate::place::Place;
use crate::version;

const INTERRUPTING: &str =
    "interrupted: the run is cancelled, its tests are torn down; interrupt again to leave without waiting";
/// How long an interrupted submission is taken back.
const TAKING_BACK: Duration = Duration::from_secs(3);

pub async fn run(mut start: Start, url: Uri) -> anyhow::Result<u8> {
    check(&start.args)?;
    let token = crate::commands::token(&start.args.at.token)?;
    let client = crate::commands::client(&url, &token, &start.args.at.tls)?;
    let sending = sending(&start, client.clone())?;
    let spec = done!(start.unless_interrupted(sending).await);
    let pytest = spec.environment.framework == Framework::Pytest;
    if pytest && std::env::var_os("PYTEST_ADDOPTS").is_some_and(|options| !options.is_empty()) {
        warn("PYTEST_ADDOPTS is not sent; set it in [env] of seagull.toml, or give its options after --");
    }
    let run = id(&spec);
    let coverage = Coverage::of(&start, &spec);
    let Submitted { attached, not_passed } = match start.unless_interrupted(client.submit(spec)).await? {
        Step::Done(submitted) => submitted,
        Step::Interrupted => {
            // It may have arrived.
            let _ = tokio::time::timeout(TAKING_BACK, client.cancel(run)).await;
            return Ok(INTERRUPTED);
        }
    };
    if attached {
        say_attached(&run);
    }
    say_what_did_not_pass(&start, not_passed);
    if start.args.at.detach {
        let watch = with_access(&["seagull", "watch", run.as_str()], &start.args.at);
        eprintln!("detached; to follow it: {watch}");
        crate::commands::print(|out| writeln!(out, "{run}"))?;
        return Ok(0);
    }
    let screen = Screen::new(run.clone(), start.settings(attached)).elsewhere();
    let lonely = Some(format!(
        "no executor has taken the run yet; one more joins with: {}",
        with_access(&["seagull", "executor"], &start.args.at)
    ));
    let interrupt = Interrupt::Cancel(INTERRUPTING);
    let session = Session { client, run, screen, coverage, interrupt, told: None, lonely };
    match follow::follow(session, &mut start.signals, future::pending()).await? {
        End::Finished(code) => Ok(code),
        End::Abandoned => Ok(INTERRUPTED),
    }
}

/// What goes together with a scheduler elsewhere.
fn check(args: &cli::Run) -> anyhow::Result<()> {
    if args.how.slots.is_some() {
        warn("--slots is for runs on this machine; executors bring their own");
    }
    if args.at.detach && args.report.junit.is_some() {
        return Err(usage(
            "--junit is written by whoever follows the run, which --detach leaves\n\
             hint: seagull watch RUN --junit FILE writes it",
        ));
    }
    Ok(())
}

/// Sends the files of the run that is asked for, and makes its spec.
fn sending(
    start: &Start,
    client: Client,
) -> anyhow::Result<Pin<Box<dyn Future<Output = anyhow::Result<RunSpec>>>>> {
    Ok(match (&start.base, &start.args.at.rev) {
        (Some(base), _) => Box::pin(resend((**base).clone(), start.args.clone(), client)),
        (None, Some(revision)) => Box::pin(send_revision(start, revision, client)?),
        (None, None) => Box::pin(send(start, client)?),
    })
}

/// A command that speaks to the same scheduler.
fn with_access(command: &[&str], at: &cli::WhereArgs) -> String {
    let words = command.iter().map(ToString::to_string);
    quoted(words.chain(access(at.scheduler.as_ref(), &at.token, &at.tls, None)))
}

/// The files that an ended run had are there still, or must be sent anew.
async fn resend(base: RunSpec, args: cli::Run, client: Client) -> anyhow::Result<RunSpec> {
    client.info().await?;
    let Workspace::Artifact { digest, .. } = base.workspace else {
        return Err(usage(format!("run {} did not run on a scheduler's executors", base.id)));
    };
    if client.is_missing(digest).await? {
        return Err(usage(format!(
            "the files of run {run} are not kept any more\n\
             hint: seagull run --select not-passed@{run} sends those that are here",
            run = base.id
        )));
    }
    let (workspace, rev) = (base.workspace.clone(), base.rev.clone());
    let files = spec::Files { workspace, rev, settings: String::new(), version: None };
    spec::again(base, &args, files)
}

/// Packs and uploads the working tree, and makes the spec.
fn send(
    start: &Start,
    client: Client,
) -> anyhow::Result<impl Future<Output = anyhow::Result<RunSpec>> + use<>> {
    let source = Source::of(start)?;
    let (args, place) = (start.args.clone(), start.place.clone());
    let top = place.repository.clone();
    Ok(async move {
        client.info().await?;
        let pack = move || source.pack().map(|packed| (source, packed));
        let (source, packed) = tokio::task::spawn_blocking(pack).await??;
        let rev = top.as_deref().map(git::commit).unwrap_or_default();
        let version = top.filter(|_| version::is_wanted(&place)).and_then(|top| version::of(&top, None));
        let settings = source.settings(&place)?;
        let workspace = source.upload(packed, &client).await?;
        spec::build(&args, &place, spec::Files { workspace, rev, settings, version })
    })
}

/// Writes, packs and uploads the files of a revision, and makes the spec.
fn send_revision(
    start: &Start,
    revision: &str,
    client: Client,
) -> anyhow::Result<impl Future<Output = anyhow::Result<RunSpec>> + use<>> {
    let Some(top) = start.place.repository.clone() else {
        return Err(usage(format!("--rev {revision}: there is no git repository here")));
    };
    if start.args.how.changed.is_some() {
        return Err(usage(
            "--changed goes by the work tree, which --rev does not send\nhint: leave one of them away",
        ));
    }
    let commit = checkout::resolve(&top, revision)?;
    if commit != revision {
        eprintln!("--rev {revision} is {commit}");
    }
    let paths = spec::portable(&start.args.paths, &start.place.directory)?;
    let args = cli::Run { paths, ..start.args.clone() };
    // It goes when this ends, even by an interrupt, which the writing itself would not notice.
    let directory = tempfile::Builder::new().prefix(".revision-").tempdir_in(&start.state.directory)?;
    let writing = Writing {
        place: start.place.clone(),
        top: top.clone(),
        commit: commit.clone(),
        directory: directory.path().canonicalize()?,
        scratch: start.state.directory.clone(),
        large: start.args.at.yes,
    };
    Ok(async move {
        client.info().await?;
        let (place, source, packed) = tokio::task::spawn_blocking(move || writing.pack()).await??;
        let version = version::is_wanted(&place).then(|| version::of(&top, Some(&commit))).flatten();
        let settings = source.settings(&place)?;
        let workspace = source.upload(packed, &client).await?;
        let spec = spec::build(&args, &place, spec::Files { workspace, rev: commit, settings, version });
        drop(directory);
        spec
    })
}

/// A revision on its way into an artifact.
struct Writing {
    place: Place,
    top: PathBuf,
    commit: String,
    directory: PathBuf,
    scratch: PathBuf,
    large: bool,
}

impl Writing {
    /// Blocks.
    fn pack(self) -> anyhow::Result<(Place, Source, Packed)> {
        let tree = self.directory.join("tree");
        fs::create_dir(&tree)?;
        let missing = checkout::write(&self.top, &self.commit, &tree, &self.directory.join("index"))?;
        if !missing.is_empty() {
            let missing: Vec<_> = missing.iter().map(|path| path.display().to_string()).collect();
            warn(format!(
                "not sent, submodules that are not here: {}\nhint: git submodule update --init --recursive",
                missing.join(", ")
            ));
        }
        let place = self.place.in_revision(&tree)?;
        place.config.warnings.iter().for_each(warn);
        let source = Source::of_revision(&place, self.scratch, self.large)?;
        let packed = source.pack()?;
        Ok((place, source, packed))
    }
}
