//! What git says about a work tree: its revision, and a digest of what differs from it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use seagull_executor::artifact;

/// What running a suite leaves behind says nothing about what it was.
const LEFT_BEHIND: [&str; 4] = ["__pycache__", ".pytest_cache", ".coverage*", "*.pyc"];
/// Untracked files are read up to this many bytes, all together; of what is beyond, length and time count.
const READ: u64 = 64 << 20;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Revision {
    /// The commit; empty where there is none.
    pub commit: String,
    /// Of the commit and all uncommitted changes; empty where git cannot say.
    pub content: String,
}

/// The state of a work tree. `ignore` is a file that the run itself writes.
pub fn revision(top: &Path, ignore: Option<&Path>) -> Revision {
    let commit = commit(top);
    let content = content(top, &commit, ignore).map(|digest| digest.to_hex().to_string()).unwrap_or_default();
    Revision { commit, content }
}

/// The commit that a work tree is at.
pub fn commit(top: &Path) -> String {
    let parse = ["rev-parse", "--verify", "--quiet", "HEAD"].map(OsStr::new);
    let commit = output(top, &parse).unwrap_or_default();
    String::from_utf8_lossy(&commit).trim().to_owned()
}

fn content(top: &Path, commit: &str, ignore: Option<&Path>) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(commit.as_bytes());
    let what_counts = what_counts(top, ignore);
    let list = |command: &[&str]| {
        let command = command.iter().map(OsStr::new).chain([OsStr::new("--")]);
        output(top, &command.chain(what_counts.iter().map(OsString::as_os_str)).collect::<Vec<_>>())
    };
    hasher.update(&list(&["status", "--porcelain", "-z", "--untracked-files=all"])?);
    let untracked = list(&["ls-files", "--others", "--exclude-standard", "-z"])?;
    let mut budget = READ;
    for name in untracked.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        hash_file(&mut hasher, &top.join(OsStr::from_bytes(name)), &mut budget);
    }
    if !commit.is_empty() {
        let mut diff = git(top);
        diff.args(["diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv", "--no-color"]);
        let mut child = diff.stdout(Stdio::piped()).spawn()?;
        hasher.update_reader(child.stdout.take().ok_or_else(|| io::Error::other("no output"))?)?;
        succeeded(child.wait()?)?;
    }
    Ok(hasher.finalize())
}

/// The pathspecs of everything but what runs leave behind.
fn what_counts(top: &Path, ignore: Option<&Path>) -> Vec<OsString> {
    let exclude = |pattern: &str| format!(":(exclude,top,glob)**/{pattern}").into();
    let mut pathspecs = vec![OsString::from(".")];
    pathspecs.extend(LEFT_BEHIND.iter().map(|pattern| exclude(pattern)));
    pathspecs.extend(LEFT_BEHIND.iter().map(|pattern| exclude(&format!("{pattern}/**"))));
    if let Some(inside) = ignore.and_then(|path| path.strip_prefix(top).ok()) {
        let mut pattern = OsString::from(":(exclude,top,literal)");
        pattern.push(inside);
        pathspecs.push(pattern);
    }
    pathspecs
}

/// What is in a file; beyond the budget, what changes when somebody writes to it. One that cannot be read has nothing,
/// nor has a directory, which is another repository.
fn hash_file(hasher: &mut blake3::Hasher, path: &Path, budget: &mut u64) {
    let Some(metadata) = path.symlink_metadata().ok().filter(|metadata| !metadata.is_dir()) else { return };
    hasher.update(&metadata.len().to_le_bytes());
    match budget.checked_sub(metadata.len()).filter(|_| metadata.is_file()) {
        Some(rest) => {
            *budget = rest;
            hasher.update(&std::fs::read(path).unwrap_or_default());
        }
        None => {
            hasher.update(&metadata.mtime().to_le_bytes()).update(&metadata.mtime_nsec().to_le_bytes());
        }
    }
}

fn output(top: &Path, arguments: &[&OsStr]) -> io::Result<Vec<u8>> {
    let output = git(top).args(arguments).output()?;
    succeeded(output.status)?;
    Ok(output.stdout)
}

fn succeeded(status: std::process::ExitStatus) -> io::Result<()> {
    if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
}

fn git(top: &Path) -> Command {
    let mut git = artifact::git(top);
    git.stderr(Stdio::null());
    git
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn repository() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        run(directory.path(), &["init", "--quiet"]);
        directory
    }

    fn run(top: &Path, arguments: &[&str]) {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"];
        assert!(git(top).args(identity).args(arguments).status().unwrap().success(), "{arguments:?}");
    }

    #[test]
    fn whatever_git_sees_changes_the_content() {
        let directory = repository();
        let top = directory.path();
        let unborn = revision(top, None);
        assert!(unborn.commit.is_empty() && unborn.content.len() == 64);
        fs::write(top.join("a.py"), "1").unwrap();
        let untracked = revision(top, None);
        assert_ne!(untracked.content, unborn.content);
        fs::write(top.join("a.py"), "0").unwrap();
        assert_ne!(revision(top, None).content, untracked.content);
        fs::write(top.join("a.py"), "1").unwrap();
        assert_eq!(revision(top, None).content, untracked.content);
        run(top, &["add", "a.py"]);
        run(top, &["commit", "--quiet", "-m", "a"]);
        let committed = revision(top, None);
        assert_eq!(committed.commit.len(), 40);
        assert_eq!(revision(top, None), committed);
        fs::write(top.join("a.py"), "2").unwrap();
        let dirty = revision(top, None);
        fs::write(top.join("a.py"), "3").unwrap();
        let other = revision(top, None);
        assert_ne!(dirty.content, committed.content);
        assert_ne!(dirty.content, other.content);
        assert_eq!(dirty.commit, other.commit);
    }

    #[test]
    fn what_a_run_leaves_behind_does_not() {
        let directory = repository();
        let top = directory.path();
        let before = revision(top, None);
        for folder in ["__pycache__", "tests/__pycache__", ".pytest_cache/v"] {
            fs::create_dir_all(top.join(folder)).unwrap();
            fs::write(top.join(folder).join("x"), "").unwrap();
        }
        fs::write(top.join(".coverage"), "").unwrap();
        fs::write(top.join("report [1].xml"), "").unwrap();
        assert_eq!(revision(top, Some(&top.join("report [1].xml"))), before);
        assert_ne!(revision(top, None), before);
    }

    #[test]
    fn without_a_repository_nothing_is_known() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(revision(directory.path(), None), Revision::default());
    }
}
