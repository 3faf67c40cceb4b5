//! A run on a scheduler's executors: the working tree, or a revision, is packed and sent there.
#![expect(clippy::disallowed_methods, reason = "a shell: an interrupted submission is waited for")]

use std::future;
use std::io::Write;
use std::pin::Pin;
use std::time::Duration;

use seagull_domain::{Framework, RunSpec, Workspace};
use tonic::transport::Uri;

use super::artifact::Source;
use super::built::Along;
use super::coverage::Coverage;
use super::follow::{self, End, Interrupt, Session};
use super::screen::Screen;
use super::{Start, Step, done, id, revision, say_attached, say_what_did_not_pass, spec};
use crate::again::{access, quoted};
use crate::cli;
use crate::client::{Client, Submitted};
use crate::errors::{INTERRUPTED, say, usage, warn};
use crate::git;
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
    let mut spec = done!(start.unless_interrupted(sending).await);
    let pytest = spec.suite.framework == Framework::Pytest;
    if pytest && std::env::var_os("PYTEST_ADDOPTS").is_some_and(|options| !options.is_empty()) {
        warn("PYTEST_ADDOPTS is not sent; set it in [env] of seagull.toml, or give its options after --");
    }
    let run = id(&spec);
    let measures = spec.arguments.iter().any(|argument| argument.starts_with("--cov"));
    let coverage = Coverage::of(&start, &spec);
    spec.awaits_judgement = coverage.is_some() && !start.args.at.detach;
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
        say!("detached; to follow it: {watch}");
        if measures {
            say!(
                "nobody judges its coverage, unless the same command without --detach has it back: --run-id {run}"
            );
        }
        crate::commands::print(|out| writeln!(out, "{run}"))?;
        return Ok(0);
    }
    let screen = Screen::new(run.clone(), start.settings(attached)).elsewhere();
    let joins = Some(with_access(&["seagull", "executor"], &start.args.at));
    let (interrupt, live) = (Interrupt::Cancel(INTERRUPTING), start.args.report.live);
    let session = Session { client, run, screen, coverage, interrupt, live, told: None, joins };
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
    if args.at.detach && args.report.files().paths().next().is_some() {
        return Err(usage(
            "--junit and --html are written by whoever follows the run, which --detach leaves\n\
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
        (None, Some(revision)) => Box::pin(revision::send(start, revision, client)?),
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
    let files = spec::Files { workspace, rev, settings: String::new(), version: None, built: None };
    spec::again(base, &args, files)
}

/// Packs and uploads the working tree, and makes the spec.
fn send(
    start: &Start,
    client: Client,
) -> anyhow::Result<impl Future<Output = anyhow::Result<RunSpec>> + use<>> {
    let source = Source::of(start)?;
    let (args, place) = (start.args.clone(), start.place.clone());
    let along = Along::of(&args, &place, &start.state.directory)?;
    let top = place.repository.clone();
    Ok(async move {
        client.info().await?;
        let ready = along.add_to(source, &place).await?;
        let rev = top.as_deref().map(git::commit).unwrap_or_default();
        let version = top.filter(|_| version::is_wanted(&place)).and_then(|top| version::of(&top, None));
        ready.deliver(&args, &place, &client, (rev, version)).await
    })
}
