//! Which files of a directory belong to the artifact: what git tracks or does not ignore; else all.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::pack::PackError;

/// Submodules in submodules; a circle of repositories ends here.
const MAX_NESTING: usize = 16;
/// The mode that git has for one.
const SUBMODULE: &[u8] = b"160000 ";

/// A file that stays behind, relative to the root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftOut {
    pub path: PathBuf,
    pub reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Untracked, and by its name a secret.
    Secret,
    /// A link that leads, or may lead, out of the root.
    LinkOut,
    /// Neither file nor link.
    Special,
    /// A submodule that is not checked out.
    Submodule,
}

/// The paths to consider, relative to the root, and whether each is tracked.
pub(crate) type Candidates = BTreeMap<PathBuf, bool>;

pub(crate) fn candidates(root: &Path, checkout: bool) -> Result<Candidates, PackError> {
    let mut found = Candidates::new();
    if !checkout && is_repository(root)? {
        from_git(root, Path::new(""), MAX_NESTING, &mut found)?;
    } else {
        walk(root, Path::new(""), checkout, &mut found)?;
    }
    Ok(found)
}

/// Where an artifact has what was built for it.
pub const BUILT: &str = ".seagull-built";

/// Ours, and git's.
pub(crate) fn is_internal(path: &Path) -> bool {
    let internal = |name| matches!(name, Some(".seagull" | BUILT | ".git"));
    path.components().any(|component| internal(component.as_os_str().to_str()))
}

/// What Python keeps for itself is left behind unless it is tracked.
fn is_pythons(path: &Path) -> bool {
    path.components().any(|component| component.as_os_str() == "__pycache__")
}

/// Untracked files with such names are left out.
pub(crate) fn is_secret(path: &Path) -> bool {
    let Some(name) = path.file_name() else { return false };
    let name = name.as_encoded_bytes();
    name == b".env" || name.ends_with(b".pem") || name.starts_with(b"id_")
}

/// Whether git knows what belongs to the root: not if the root is ignored by the repository around it.
fn is_repository(root: &Path) -> Result<bool, PackError> {
    if !root.ancestors().any(|directory| directory.join(".git").exists()) {
        return Ok(false);
    }
    if root.join(".git").exists() {
        return Ok(true);
    }
    // 0: ignored, 1: not ignored, else: a problem.
    let output = run(git(root).args(["check-ignore", "-q", "."]))?;
    match output.status.code() {
        Some(0) => Ok(false),
        Some(1) => Ok(true),
        _ => Err(refused(&output)),
    }
}

/// Lists a work tree below `inside`, and the repositories in it.
fn from_git(root: &Path, inside: &Path, nesting: usize, found: &mut Candidates) -> Result<(), PackError> {
    let directory = root.join(inside);
    let kinds: [(&[&str], bool); 2] =
        [(&["--others", "--exclude-standard"], false), (&["--cached", "--stage"], true)];
    for (kind, tracked) in kinds {
        let output = run(git(&directory).args(["ls-files", "-z"]).args(kind))?;
        if !output.status.success() {
            return Err(refused(&output));
        }
        for entry in output.stdout.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
            // Of what is tracked: mode, hash and stage, a tab, the name.
            let tab = entry.iter().position(|byte| tracked && *byte == b'\t');
            let path = inside.join(OsString::from_vec(entry[tab.map_or(0, |tab| tab + 1)..].to_vec()));
            let submodule = tracked && entry.starts_with(SUBMODULE);
            // Submodules, and repositories that are not tracked, are listed as directories.
            let nested = root.join(&path).symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
            if nested && nesting > 0 && root.join(&path).join(".git").exists() {
                from_git(root, &path, nesting - 1, found)?;
            } else if (!nested || submodule) && (tracked || !is_pythons(&path)) {
                found.insert(path, tracked);
            }
        }
    }
    Ok(())
}

/// git, about the repository that a directory is in, and only looking.
pub fn git(directory: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(directory);
    // A listing starts no daemon and asks no hook.
    command.args(["-c", "core.fsmonitor=false"]).env("GIT_OPTIONAL_LOCKS", "0").stdin(Stdio::null());
    // Set where we run inside a git hook, and then about another tree.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(name);
    }
    command
}

fn run(command: &mut Command) -> Result<Output, PackError> {
    command.output().map_err(PackError::NoGit)
}

fn refused(output: &Output) -> PackError {
    PackError::Git(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// All files of a directory below the root but what git and we keep for ourselves, and, unless they are tracked, what
/// Python does.
pub(super) fn walk(
    root: &Path,
    inside: &Path,
    tracked: bool,
    found: &mut Candidates,
) -> Result<(), PackError> {
    let directory = root.join(inside);
    let failed = |source: io::Error| PackError::Read { path: directory.clone(), source };
    for entry in fs::read_dir(&directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = inside.join(entry.file_name());
        if is_internal(&path) || (!tracked && is_pythons(&path)) {
            continue;
        }
        if entry.file_type().map_err(failed)?.is_dir() {
            walk(root, &path, tracked, found)?;
        } else {
            found.insert(path, tracked);
        }
    }
    Ok(())
}
