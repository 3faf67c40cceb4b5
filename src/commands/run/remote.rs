//! A run on a scheduler's executors: the working tree is packed and sent there.
#![expect(clippy::disallowed_methods, reason = "a shell: packing blocks")]

use std::future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use seagull_domain::{Digest, RunSpec, Workspace};
use tonic::transport::Uri;

use super::follow::{self, End, Session};
use super::screen::Screen;
use super::{Start, Step, done, id, say_attached, spec};
use crate::client::{self, Client};
use crate::errors::{INTERRUPTED, usage, warn};
use crate::git;
use crate::place::Place;

const INTERRUPTING: &str =
    "interrupted: the run is cancelled, its tests are torn down; interrupt again to leave without waiting";
/// How long an interrupted submission is taken back.
const TAKING_BACK: Duration = Duration::from_secs(3);

pub async fn run(mut start: Start, url: Uri) -> anyhow::Result<u8> {
    let token = crate::commands::token(&start.args.at.token)?;
    if start.args.how.slots.is_some() {
        warn("--slots is for runs on this machine; executors bring their own");
    }
    let client = Client::new(client::channel(&url), &token);
    let sent = send(&start, client.clone());
    let spec = done!(start.unless_interrupted(sent).await);
    let run = id(&spec);
    let attached = match start.unless_interrupted(client.submit(spec)).await? {
        Step::Done(attached) => attached,
        Step::Interrupted => {
            // It may have arrived.
            let _ = tokio::time::timeout(TAKING_BACK, client.cancel(run)).await;
            return Ok(INTERRUPTED);
        }
    };
    if attached {
        say_attached(&run);
    }
    let screen = Screen::new(run.clone(), start.settings(attached));
    let lonely = Some(format!(
        "no executor has taken the run yet; one more joins with: seagull executor --scheduler {url} --token-file FILE"
    ));
    let session = Session { client, run, screen, interrupting: INTERRUPTING, lonely };
    match follow::follow(session, &mut start.signals, future::pending()).await? {
        End::Finished(code) => Ok(code),
        End::Abandoned => Ok(INTERRUPTED),
    }
}

/// Packs the working tree, uploads it unless it is there, and makes the spec.
fn send(start: &Start, client: Client) -> impl Future<Output = anyhow::Result<RunSpec>> + use<> {
    let (args, place) = (start.args.clone(), start.place.clone());
    let state = start.state.directory.clone();
    async move {
        client.info().await?;
        let (root, directory) = root(&place)?;
        let top = place.repository.clone();
        let work = move || -> anyhow::Result<_> {
            let commit = top.map(|top| git::commit(&top)).unwrap_or_default();
            Ok((pack(&root, &state)?, commit))
        };
        let (packed, rev) = tokio::task::spawn_blocking(work).await??;
        if client.is_missing(packed.digest).await? {
            eprintln!("uploading {}", packed.describe());
            client.put_blob(packed.digest, packed.file.path()).await?;
        }
        let workspace = Workspace::Artifact { digest: packed.digest, directory };
        spec::build(&args, &place, spec::Files { workspace, rev })
    }
}

/// The root of what is packed, and the working directory in it.
fn root(place: &Place) -> anyhow::Result<(PathBuf, String)> {
    let root = match (&place.config.artifact_root, &place.repository) {
        (Some(root), _) => root
            .canonicalize()
            .with_context(|| format!("cannot find the artifact root {}", root.display()))?,
        (None, Some(top)) => top.clone(),
        (None, None) => {
            return Err(usage(format!(
                "{} is in no git repository, so it is unclear what to send to the executors\n\
                 hint: write to seagull.toml: [artifact] root = \".\"",
                place.directory.display()
            )));
        }
    };
    let inside = place.directory.strip_prefix(&root).map_err(|_| {
        usage(format!("{} is not within the artifact root {}", place.directory.display(), root.display()))
    })?;
    let inside = spec::text(inside)?;
    Ok((root, inside))
}

/// A packed tree in a file that vanishes with it.
struct Packed {
    digest: Digest,
    file: tempfile::NamedTempFile,
    bytes: u64,
}

impl Packed {
    fn describe(&self) -> String {
        format!("{:.1} MB", self.bytes as f64 / 1e6)
    }
}

fn pack(root: &Path, state: &Path) -> anyhow::Result<Packed> {
    let _ = (root, state);
    anyhow::bail!("packing is not there yet")
}
