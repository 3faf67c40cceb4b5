//! The short-lived directories of one executor, in which its sandboxes have theirs.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::survivors::kill_survivors;
use crate::remove::{remove_tree, remove_trees};

const PREFIX: &str = "seagull-";
const LOCK: &str = "lock";

/// `/tmp/seagull-XXXXXX`, mode 0700, locked as long as its executor lives; where `TMPDIR` says otherwise there is a
/// directory of the same name for what tests write. Gone when dropped; those of a killed executor are removed by the
/// last of its supervisors, or when the next executor starts.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    /// The same path again where `TMPDIR` does not say otherwise, or what it names cannot be used.
    temporary: PathBuf,
    _lock: File,
}

impl Home {
    /// Unix sockets are bounded to 108 bytes, so their path is short whatever `TMPDIR` says.
    pub const PARENT: &str = "/tmp";

    pub fn create(parent: &Path) -> io::Result<Self> {
        sweep(parent, PREFIX);
        Self::create_in(parent, &std::env::temp_dir(), PREFIX)
    }

    /// Likewise `seagull-OF-XXXXXX` in the parent alone, for a process that is no executor: removed when the next of them starts.
    pub fn create_for(of: &str, parent: &Path) -> io::Result<Self> {
        let prefix = format!("{PREFIX}{of}-");
        sweep(parent, &prefix);
        Self::create_in(parent, parent, &prefix)
    }

    fn create_in(parent: &Path, temporary: &Path, prefix: &str) -> io::Result<Self> {
        loop {
            let private = fs::Permissions::from_mode(0o700);
            let directory = tempfile::Builder::new()
                .prefix(prefix)
                .rand_bytes(6)
                .permissions(private)
                .tempdir_in(parent)?;
            let mut lock = File::create_new(directory.path().join(LOCK))?;
            // Another executor's sweep may have found the directory before it was locked: then it is taken or gone.
            if lock.try_lock().is_ok() && directory.path().join(LOCK).exists() {
                let temporary = create_temporary(directory.path(), temporary, &mut lock)?;
                let path = directory.keep();
                return Ok(Self { temporary: temporary.unwrap_or_else(|| path.clone()), path, _lock: lock });
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the two directories of a sandbox, empty: one with a short path, and one, which may be the same, with `tmp`
    /// and `basetemp` in it.
    pub fn sandbox(&self, name: &str) -> io::Result<[PathBuf; 2]> {
        let [path, temporary] = [&self.path, &self.temporary].map(|home| home.join(name));
        remove_tree(&path)?;
        remove_tree(&temporary)?;
        for directory in [path.clone(), temporary.join("tmp"), temporary.join("basetemp")] {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        Ok([path, temporary])
    }

    /// Removes what there is of a sandbox that was not started.
    pub fn discard(&self, name: &str) -> io::Result<()> {
        remove_trees(&[&self.path, &self.temporary].map(|home| home.join(name)))
    }
}

/// A directory that is named as the home is, if there can be one. The lock's file names it before it is there, so that
/// whenever the executor is killed, it is found.
fn create_temporary(home: &Path, parent: &Path, lock: &mut File) -> io::Result<Option<PathBuf>> {
    let Ok(parent) = parent.canonicalize() else { return Ok(None) };
    let path = parent.join(home.file_name().unwrap_or_default());
    lock.write_all(path.as_os_str().as_bytes())?;
    if DirBuilder::new().mode(0o700).create(&path).is_ok() {
        return Ok(Some(path));
    }
    lock.set_len(0)?;
    Ok(None)
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = remove_tree(&self.temporary);
        let _ = remove_home(&self.path);
    }
}

/// The lock goes last: what is cut off is found by the next executor.
fn remove_home(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => remove_tree(&entry.path())?,
            _ if entry.file_name() == LOCK => {}
            _ => fs::remove_file(entry.path())?,
        }
    }
    remove_tree(path)
}

/// Removes the home of an executor that is dead; `false` if it is not.
pub(crate) fn remove_abandoned(home: &Path) -> bool {
    match Abandoned::of(home) {
        Some(abandoned) => abandoned.remove(),
        None => !home.exists(),
    }
}

/// The home of an executor that is dead, locked.
struct Abandoned<'a> {
    home: &'a Path,
    temporary: Option<PathBuf>,
    _lock: File,
}

impl<'a> Abandoned<'a> {
    fn of(home: &'a Path) -> Option<Self> {
        let mut lock = File::open(home.join(LOCK)).ok()?;
        lock.try_lock().ok()?;
        let mut named = Vec::new();
        lock.read_to_end(&mut named).ok()?;
        // The lock's file says where it is, or is to be.
        let temporary = Path::new(OsStr::from_bytes(&named));
        let is_its = temporary.file_name() == home.file_name();
        Some(Self { home, temporary: is_its.then(|| temporary.to_owned()), _lock: lock })
    }

    fn kill_processes(&self) {
        let temporary = self.temporary.as_deref().unwrap_or(self.home);
        kill_survivors(&[self.home, temporary]);
    }

    fn remove(&self) -> bool {
        self.temporary.as_deref().is_none_or(|temporary| remove_tree(temporary).is_ok())
            && remove_home(self.home).is_ok()
    }
}

/// What those that were killed left behind, of one kind.
fn sweep(parent: &Path, prefix: &str) {
    let own = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let named =
            entry.file_name().to_string_lossy().strip_prefix(prefix).is_some_and(|rest| rest.len() == 6);
        let ours = entry.metadata().is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == own);
        if named
            && ours
            && let Some(abandoned) = Abandoned::of(&entry.path())
        {
            abandoned.kill_processes();
            abandoned.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sandboxes_are_private_short_and_empty() {
        let home = Home::create(Home::PARENT.as_ref()).unwrap();
        let [sandbox, temporary] = home.sandbox("gw0").unwrap();
        assert!(sandbox.as_os_str().len() < 30, "{}", sandbox.display());
        for directory in
            [home.path(), &sandbox, &temporary, &temporary.join("tmp"), &temporary.join("basetemp")]
        {
            assert_eq!(fs::metadata(directory).unwrap().permissions().mode() & 0o777, 0o700);
        }
        fs::write(temporary.join("tmp/old"), "x").unwrap();
        home.sandbox("gw0").unwrap();
        assert!(!temporary.join("tmp/old").exists());
        home.discard("gw0").unwrap();
        assert!(!sandbox.exists() && !temporary.exists());
        home.discard("gw0").unwrap();
        let path = home.path().to_owned();
        drop(home);
        assert!(!path.exists());
    }

    #[test]
    fn what_tests_write_is_where_the_user_wants_it_and_goes_as_surely() {
        let [parent, elsewhere] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let home = || Home::create_in(parent.path(), elsewhere.path(), PREFIX).unwrap();
        let left = |directory: &Path| fs::read_dir(directory).unwrap().count();
        let dropped = home();
        let [sandbox, temporary] = dropped.sandbox("gw0").unwrap();
        assert!(sandbox.starts_with(parent.path()) && !sandbox.join("tmp").exists());
        assert!(temporary.starts_with(elsewhere.path()) && temporary.join("basetemp").exists());
        drop(dropped);
        assert_eq!([parent.path(), elsewhere.path()].map(left), [0, 0]);
        let mut killed = home();
        killed.sandbox("gw0").unwrap();
        sweep(parent.path(), PREFIX);
        assert_eq!([parent.path(), elsewhere.path()].map(left), [1, 1]);
        killed._lock = File::open("/dev/null").unwrap();
        sweep(parent.path(), PREFIX);
        assert_eq!([parent.path(), elsewhere.path()].map(left), [0, 0]);
    }

    #[test]
    fn where_the_user_wants_it_may_be_unusable() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        for unusable in [Path::new("/nowhere"), parent.path(), &file] {
            let home = Home::create_in(parent.path(), unusable, PREFIX).unwrap();
            assert_eq!(home.sandbox("gw0").unwrap()[1], home.path().join("gw0"));
            assert_eq!(
                fs::read(home.path().join(LOCK)).unwrap(),
                b"",
                "a sweep would remove what is not ours"
            );
        }
    }

    #[test]
    fn a_home_that_was_not_finished_is_swept() {
        let [parent, elsewhere] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let killed = parent.path().join("seagull-abcdef");
        let named = elsewhere.path().join("seagull-abcdef");
        for made in [false, true] {
            fs::create_dir(&killed).unwrap();
            fs::write(killed.join(LOCK), named.as_os_str().as_bytes()).unwrap();
            if made {
                fs::create_dir(&named).unwrap();
            }
            sweep(parent.path(), PREFIX);
            assert!(!killed.exists() && !named.exists());
        }
    }

    #[test]
    fn what_a_killed_process_that_is_no_executor_has_left_goes_with_the_next_of_its_kind() {
        let parent = tempfile::tempdir().unwrap();
        let proxy = || Home::create_for("proxy", parent.path()).unwrap();
        let [alive, mut killed] = [proxy(), proxy()];
        let is_there = |home: &Home| home.path().is_dir();
        assert!(alive.path().file_name().unwrap().to_string_lossy().starts_with("seagull-proxy-"));
        assert_eq!(fs::metadata(alive.path()).unwrap().permissions().mode() & 0o777, 0o700);
        fs::create_dir(killed.path().join("copies")).unwrap();
        killed._lock = File::open("/dev/null").unwrap();
        sweep(parent.path(), PREFIX);
        assert!(is_there(&alive) && is_there(&killed), "another kind's");
        let next = proxy();
        assert!(is_there(&alive) && !is_there(&killed) && is_there(&next));
        let path = alive.path().to_owned();
        drop(alive);
        assert!(!path.exists());
    }

    #[test]
    fn only_the_homes_of_the_dead_are_swept() {
        let parent = tempfile::tempdir().unwrap();
        let alive = Home::create_in(parent.path(), parent.path(), PREFIX).unwrap();
        let dead = parent.path().join("seagull-abcdef");
        fs::create_dir_all(dead.join("gw3")).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        let other = parent.path().join("seagull-notours");
        fs::create_dir(&other).unwrap();
        sweep(parent.path(), PREFIX);
        assert!(alive.path().exists());
        assert!(!dead.exists());
        assert!(other.exists());
    }
}
