//! The short-lived directory of one executor, in which its sandboxes have theirs.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::remove::remove_tree;

/// Unix sockets are bounded to 108 bytes, so the path is short whatever `TMPDIR` says.
const PARENT: &str = "/tmp";
const PREFIX: &str = "seagull-";
const LOCK: &str = "lock";

/// `/tmp/seagull-XXXXXX`, mode 0700, locked as long as its executor lives. Gone when dropped; that of a killed
/// executor is removed by the last of its supervisors, or when the next executor starts.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    _lock: File,
}

impl Home {
    pub fn create() -> io::Result<Self> {
        sweep(Path::new(PARENT));
        Self::create_in(Path::new(PARENT))
    }

    fn create_in(parent: &Path) -> io::Result<Self> {
        loop {
            let private = fs::Permissions::from_mode(0o700);
            let directory = tempfile::Builder::new()
                .prefix(PREFIX)
                .rand_bytes(6)
                .permissions(private)
                .tempdir_in(parent)?;
            let lock = File::create_new(directory.path().join(LOCK))?;
            // Another executor's sweep may have found the directory before it was locked: then it is taken or gone.
            if lock.try_lock().is_ok() && directory.path().join(LOCK).exists() {
                return Ok(Self { path: directory.keep(), _lock: lock });
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory of a sandbox, with `tmp` and `basetemp` in it, empty.
    pub fn sandbox(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        remove_tree(&path)?;
        for directory in [path.clone(), path.join("tmp"), path.join("basetemp")] {
            DirBuilder::new().mode(0o700).create(directory)?;
        }
        Ok(path)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = remove_tree(&self.path);
    }
}

/// Removes the home of an executor that is dead; `false` if it is not.
pub(crate) fn remove_abandoned(home: &Path) -> bool {
    let Ok(lock) = File::open(home.join(LOCK)) else { return !home.exists() };
    lock.try_lock().is_ok() && remove_tree(home).is_ok()
}

/// What executors that were killed left behind.
fn sweep(parent: &Path) {
    let own = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let named =
            entry.file_name().to_string_lossy().strip_prefix(PREFIX).is_some_and(|rest| rest.len() == 6);
        let ours = entry.metadata().is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == own);
        if named && ours {
            remove_abandoned(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sandboxes_are_private_short_and_empty() {
        let home = Home::create().unwrap();
        let sandbox = home.sandbox("gw0").unwrap();
        assert!(sandbox.as_os_str().len() < 30, "{}", sandbox.display());
        for directory in [home.path(), &sandbox, &sandbox.join("tmp"), &sandbox.join("basetemp")] {
            assert_eq!(fs::metadata(directory).unwrap().permissions().mode() & 0o777, 0o700);
        }
        fs::write(sandbox.join("tmp/old"), "x").unwrap();
        home.sandbox("gw0").unwrap();
        assert!(!sandbox.join("tmp/old").exists());
        let path = home.path().to_owned();
        drop(home);
        assert!(!path.exists());
    }

    #[test]
    fn only_the_homes_of_the_dead_are_swept() {
        let parent = tempfile::tempdir().unwrap();
        let alive = Home::create_in(parent.path()).unwrap();
        let dead = parent.path().join("seagull-abcdef");
        fs::create_dir_all(dead.join("gw3")).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        let other = parent.path().join("seagull-notours");
        fs::create_dir(&other).unwrap();
        sweep(parent.path());
        assert!(alive.path().exists());
        assert!(!dead.exists());
        assert!(other.exists());
    }
}
