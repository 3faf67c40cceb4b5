//! The files of a revision on their way into an artifact: written, built if need be, packed, and removed.
#![expect(clippy::disallowed_methods, reason = "a shell: writing and packing block")]

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use seagull_domain::RunSpec;

use super::artifact::{SUBMODULES, Source};
use super::built::Along;
use super::{Start, spec};
use crate::cli;
use crate::client::Client;
use crate::errors::{say, usage, warn};
use crate::git::checkout;
use crate::place::Place;
use crate::version;

/// Where cargo builds what is of revisions: in the state directory, and kept there.
const TARGET: &str = "revision-target";

/// Writes, packs and uploads the files of a revision, and makes the spec.
pub fn send(
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
        say!("--rev {revision} is {commit}");
    }
    let paths = spec::portable(&start.args.paths, &start.place.directory)?;
    let args = cli::Run { paths, ..start.args.clone() };
    let (here, state, large) = (start.place.clone(), start.state.directory.clone(), start.args.at.yes);
    Ok(async move {
        client.info().await?;
        let scratch = state.clone();
        // It goes when this ends, even by an interrupt; the writing itself, which would not notice that, has it too.
        let room = tokio::task::spawn_blocking(move || Room::enter(&scratch)).await??;
        let room = Arc::new(room);
        let writing = Writing { here, top: top.clone(), commit: commit.clone(), room: room.clone() };
        let place = tokio::task::spawn_blocking(move || writing.write()).await??;
        let source = Source::of_revision(&place, state.clone(), large)?;
        let along = Along::of(&args, &place, &state)?.in_target(&state.join(TARGET));
        let ready = along.add_to(source, &place).await?;
        let version = version::is_wanted(&place).then(|| version::of(&top, Some(&commit))).flatten();
        ready.deliver(&args, &place, &client, (commit, version)).await
    })
}

/// A directory for the files of a revision, always in the same place, so that what is built of them is the same; of one
/// command at a time. Gone with it.
struct Room {
    path: PathBuf,
    lock: File,
}

impl Room {
    /// Blocks while another command has it.
    fn enter(state: &Path) -> anyhow::Result<Room> {
        let state = state.canonicalize()?;
        let lock = File::create(state.join("revision.lock"))?;
        if lock.try_lock().is_err() {
            say!("waiting for another command that sends a revision from here");
            lock.lock().context("cannot wait for another --rev")?;
        }
        let room = Room { path: state.join(".revision"), lock };
        // Of one that was killed.
        room.clear()?;
        fs::create_dir(&room.path)?;
        Ok(room)
    }

    fn clear(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = self.clear();
    }
}

struct Writing {
    here: Place,
    top: PathBuf,
    commit: String,
    room: Arc<Room>,
}

impl Writing {
    /// The place of the command, among the files of the revision. Blocks.
    fn write(self) -> anyhow::Result<Place> {
        let Room { path, lock } = &*self.room;
        let tree = path.join("tree");
        fs::create_dir(&tree)?;
        let missing = checkout::write(&self.top, &self.commit, &tree, &path.join("index"), lock)?;
        if !missing.is_empty() {
            let missing: Vec<_> = missing.iter().map(|path| path.display().to_string()).collect();
            warn(format!("not sent, submodules that are not here: {}{SUBMODULES}", missing.join(", ")));
        }
        let place = self.here.in_revision(&tree)?;
        place.config.warnings.iter().for_each(warn);
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_free_when_nobody_writes_there_any_more() {
        let state = tempfile::tempdir().unwrap();
        let room = Arc::new(Room::enter(state.path()).unwrap());
        let (path, writing) = (room.path.clone(), room.clone());
        let lock = || File::create(state.path().join("revision.lock")).unwrap();
        // The command is interrupted.
        drop(room);
        assert!(path.exists() && lock().try_lock().is_err());
        // So it is while git, which has the lock too, outlives the process.
        let of_git = writing.lock.try_clone().unwrap();
        drop(writing);
        assert!(!path.exists() && lock().try_lock().is_err());
        drop(of_git);
        assert!(lock().try_lock().is_ok());
    }
}
