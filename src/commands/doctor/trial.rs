//! A small run on the way that every run goes, with a scheduler and one slot in this process.
#![expect(clippy::disallowed_methods, reason = "a shell: a trial has a limit of time")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use seagull_domain::{Manifest, Outcome, RunEvent, RunSpec, StreamItem, TestCause, TextRef};
use seagull_executor::{Executor, last_lines};
use seagull_scheduler::{Server, Settings};
use tokio::time::Instant;

use crate::client::{Client, Notice};
use crate::fresh;
use crate::state::State;

/// How long the worker without work may take to end.
const LEAVING: Duration = Duration::from_secs(5);

/// What a trial came to.
#[derive(Debug, Default)]
pub struct Trial {
    /// All tests that the framework discovered, whatever was selected.
    pub discovered: Option<Manifest>,
    /// Each execution: the test's id, and, if it failed, how.
    pub results: Vec<(String, Option<String>)>,
    /// What went wrong apart from tests, the last thing last.
    pub troubles: Vec<String>,
    /// What tests were to run in did not start, or was lost: it was given up then.
    pub lost: bool,
    /// What was said of a test that ended its process, and what that wrote last.
    pub crashed: Option<String>,
    /// It was stopped at its limit.
    pub late: bool,
    pub limit: Duration,
    pub took: Duration,
}

/// Runs to the end, or until so much time has passed since the tests were known. Its state is kept in a new directory
/// in `home`; `setups` is the state directory whose setups and
/// templates it uses.
pub async fn run(spec: RunSpec, limit: Duration, home: &Path, setups: &Path) -> anyhow::Result<Trial> {
    let state = State { directory: home.join(spec.id.as_str()) };
    let token = fresh::token()?;
    let options = seagull_scheduler::Options {
        journal: state.journal(&spec.id),
        state: state.directory.clone(),
        blobs: None,
        index: None,
        spool: seagull_scheduler::SPOOL_BYTES,
        settings: Settings { closed: true, ..Settings::default() },
        token: token.clone(),
        reads_only: false,
    };
    let mut server = Server::start(options).context("the trial cannot start")?;
    let channel = server.connect();
    let client = Client::new(channel.clone(), &token);
    let run = spec.id.clone();
    client.submit(spec).await?;
    let options = seagull_executor::Options {
        id: "doctor".parse()?,
        slots: 1,
        capacity: seagull_executor::machine::capacity(),
        image_bytes: seagull_executor::docker::IMAGE_BYTES,
        labels: Default::default(),
        state: state.directory.clone(),
        setups: Some(setups.to_owned()),
        tell: Arc::new(drop::<String>),
        channel,
        token,
        in_place: true,
    };
    let mut executor = Executor::start(options).context("tests cannot be executed here")?;
    let mut notices = client.watch(run.clone(), false);
    let mut watched = Watched::default();
    let began = Instant::now();
    let mut deadline = None;
    let mut given_up = false;
    while !watched.ended {
        // A run would try again, and in the end say the same.
        if watched.trial.lost && !given_up {
            given_up = true;
            client.cancel(run.clone()).await?;
        }
        let late = async move {
            match deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            notice = notices.recv() => watched.hear(notice.ok_or_else(|| anyhow!("the trial's stream broke off"))?)?,
            error = server.failed() => return Err(error).context("the trial cannot go on"),
            () = late => {
                watched.trial.late = true;
                deadline = None;
                client.cancel(run.clone()).await?;
            }
        }
        if deadline.is_none() && watched.manifest.is_some() && !watched.trial.late && !given_up {
            deadline = Some(Instant::now() + limit);
        }
    }
    (watched.trial.took, watched.trial.limit) = (began.elapsed(), limit);
    if let Some((message, text)) = watched.crash.take() {
        let text = match text {
            Some(text) => client.text(&run, text).await.unwrap_or_default(),
            None => String::new(),
        };
        let told = [vec![message.as_str()], last_lines(&text)].concat();
        watched.trial.crashed = Some(told.join("\n"));
    }
    executor.part();
    // Nobody needs either to succeed.
    let archived = tokio::time::timeout(LEAVING, server.archived(&run));
    let _ = tokio::join!(archived, tokio::time::timeout(LEAVING, executor.wait()));
    watched.trial.discovered = discovered(&state.directory.join("blobs"));
    Ok(watched.trial)
}

#[derive(Default)]
struct Watched {
    trial: Trial,
    manifest: Option<Vec<String>>,
    crash: Option<(String, Option<TextRef>)>,
    ended: bool,
}

impl Watched {
    fn hear(&mut self, notice: Notice) -> anyhow::Result<()> {
        match notice {
            Notice::Manifest(manifest) => self.manifest = Some(manifest.ids().collect()),
            Notice::Items(items) => items.into_iter().for_each(|item| self.item(item)),
            Notice::Failed(error) => return Err(error).context("the trial cannot be followed"),
            _ => {}
        }
        Ok(())
    }

    fn item(&mut self, item: StreamItem) {
        let troubles = &mut self.trial.troubles;
        match item.event {
            RunEvent::RunFinished { .. } => self.ended = true,
            // What follows is the end of what was given up.
            _ if self.trial.lost => {}
            RunEvent::TestFinished { result, evidence: None, .. } => {
                let ids = self.manifest.as_deref().unwrap_or_default();
                let id = ids.get(result.test.0 as usize).cloned().unwrap_or_default();
                if result.cause == Some(TestCause::Crashed) {
                    self.crash = Some((result.message.clone(), result.text));
                }
                let failed = (result.outcome == Outcome::Failed).then_some(result.message);
                self.trial.results.push((id, failed));
            }
            RunEvent::DiscoveryFailed { message } => troubles.push(message),
            RunEvent::AttemptLost { cause, message, .. } => {
                troubles.push(format!("{cause}: {message}"));
                self.trial.lost = true;
            }
            RunEvent::SuiteError { error, .. } => {
                troubles.push(format!("{}: {}", error.title, error.message))
            }
            RunEvent::TestMissing { reason, .. } => troubles.push(reason),
            _ => {}
        }
    }
}

/// The manifest as it was discovered. Beside it lies only the part of it that was selected.
fn discovered(blobs: &Path) -> Option<Manifest> {
    let mut folders = vec![blobs.to_owned()];
    let mut manifests = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ => manifests.extend(fs::read(entry.path()).ok()),
            }
        }
    }
    let manifests = manifests.iter().filter_map(|bytes| seagull_results::decode_manifest(bytes).ok());
    manifests.max_by_key(Manifest::len)
}
