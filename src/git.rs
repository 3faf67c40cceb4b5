//! What git says about a work tree: its revision, a digest of what differs from it, and which files have changed.

pub mod checkout;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow, ensure};
use seagull_executor::artifact;

use crate::errors::usage;

/// What running a suite leaves behind says nothing about what it was.
pub const LEFT_BEHIND: [&str; 9] = [
    "__pycache__",
    ".pytest_cache",
    ".hypothesis",
    ".coverage*",
    "coverage.json",
    "coverage.lcov",
    "coverage.xml",
    "htmlcov",
    "*.pyc",
];
/// Untracked files are read up to this many bytes, all together; of what is beyond, length and time count.
const READ: u64 = 64 << 20;

/// What branches are made from, the likeliest first.
const BASES: [&str; 4] = ["origin/HEAD", "@{upstream}", "main", "master"];
const DIFF: [&str; 5] = ["diff", "--name-only", "--no-renames", "--diff-filter=d", "-z"];
/// Of a commit's letters, for a person.
const SHORT: usize = 12;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Revision {
    /// The commit; empty where there is none.
    pub commit: String,
    /// Of the commit and all uncommitted changes; empty where git cannot say.
    pub content: String,
}

/// The state of a work tree. `ignore` are files that the run itself writes.
pub fn revision(top: &Path, ignore: &[PathBuf]) -> Revision {
    revision_before(top, ignore, u64::MAX).0
}

/// The state of a work tree without the untracked files that were written since a time in milliseconds, and these files.
pub fn revision_before(top: &Path, ignore: &[PathBuf], unix_millis: u64) -> (Revision, Vec<String>) {
    let commit = commit(top);
    let (content, newer) = content(top, &commit, ignore, unix_millis).unwrap_or_default();
    (Revision { commit, content }, newer)
}

/// The commit that a work tree is at.
pub fn commit(top: &Path) -> String {
    named(top, "HEAD").unwrap_or_default()
}

/// The full hash of the commit that a name stands for.
pub fn named(top: &Path, name: &str) -> Option<String> {
    // git would read it as an option.
    if name.starts_with('-') {
        return None;
    }
    said(top, &["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")])
}

/// What git answers in a line; None if it fails.
pub fn said(top: &Path, arguments: &[&str]) -> Option<String> {
    let said = output(artifact::git(top).args(arguments)).ok()?;
    Some(String::from_utf8_lossy(&said).trim().to_owned()).filter(|said| !said.is_empty())
}

/// An error where there is no git: else that would look like an answer of it.
pub fn require(top: &Path) -> anyhow::Result<()> {
    output(artifact::git(top).arg("--version")).map(drop)
}

/// What git writes.
pub fn output(git: &mut Command) -> anyhow::Result<Vec<u8>> {
    let output = git
        .output()
        .map_err(|error| usage(format!("git cannot be started: {error}\nhint: is it installed?")))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(anyhow!("{}", String::from_utf8_lossy(&output.stderr).trim()))
}

fn content(
    top: &Path,
    commit: &str,
    ignore: &[PathBuf],
    before: u64,
) -> anyhow::Result<(String, Vec<String>)> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(commit.as_bytes());
    let what_counts = what_counts(top, ignore);
    let list = |command: &[&str]| output(artifact::git(top).args(command).arg("--").args(&what_counts));
    hasher.update(&list(&["status", "--porcelain", "-z", "--untracked-files=no"])?);
    let untracked = list(&["ls-files", "--others", "--exclude-standard", "-z"])?;
    let (mut budget, mut newer) = (READ, Vec::new());
    for name in untracked.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let path = top.join(OsStr::from_bytes(name));
        if written_at(&path).is_some_and(|at| at >= before) {
            newer.push(String::from_utf8_lossy(name).into_owned());
            continue;
        }
        hasher.update(name).update(&[0]);
        hash_file(&mut hasher, &path, &mut budget);
    }
    if !commit.is_empty() {
        let mut diff = artifact::git(top);
        diff.args(["diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv", "--no-color"]);
        let mut child = diff.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        hasher.update_reader(child.stdout.take().context("no output")?)?;
        ensure!(child.wait()?.success(), "git diff failed");
    }
    Ok((hasher.finalize().to_hex().to_string(), newer))
}

/// When a file became what it is, in milliseconds: unlike the time of its content, nobody sets that.
fn written_at(path: &Path) -> Option<u64> {
    let metadata = path.symlink_metadata().ok()?;
    u64::try_from(metadata.ctime() * 1000 + metadata.ctime_nsec() / 1_000_000).ok()
}

/// What differs in a work tree from where its branch began.
#[derive(Debug, PartialEq, Eq)]
pub struct Changed {
    /// The commit that it differs from, as a person names it.
    pub base: String,
    /// As they are called from the top, each once; those that are not UTF-8 are left out.
    pub paths: Vec<String>,
}

/// What is changed, uncommitted or untracked since HEAD left the base: the one that is named, else the first there is
/// of those that branches are made from. A file that is gone has no tests.
pub fn changed(top: &Path, base: Option<&str>) -> anyhow::Result<Changed> {
    require(top)?;
    let parted = |base: &str| parted(top, base);
    let since = match base {
        Some(name) => Some(parted(name).ok_or_else(|| unknown(name))?),
        None => BASES.into_iter().chain(["HEAD"]).find_map(parted),
    };
    let what_counts = what_counts(top, &[]);
    let list = |command: &[&str], more: &[&str]| -> anyhow::Result<Vec<u8>> {
        let mut git = artifact::git(top);
        let listed = output(git.args(command).args(more).arg("--").args(&what_counts));
        listed.with_context(|| format!("git {} failed", command[0]))
    };
    let mut names = list(&["ls-files", "--others", "--exclude-standard", "-z"], &[])?;
    names.extend(match &since {
        Some((_, commit)) => list(&DIFF, &[commit])?,
        // Nothing is committed yet.
        None => list(&["ls-files", "-z"], &[])?,
    });
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let paths: BTreeSet<_> =
        names.filter_map(|name| std::str::from_utf8(name).ok()).map(str::to_owned).collect();
    let base = since.map_or_else(|| "the beginning".to_owned(), |(base, _)| base);
    Ok(Changed { base, paths: paths.into_iter().collect() })
}

/// The commit at which HEAD left a base, or the base where they have nothing in common, and what to call it.
fn parted(top: &Path, base: &str) -> Option<(String, String)> {
    let commit = named(top, base)?;
    let common = said(top, &["merge-base", &commit, "HEAD"]).unwrap_or(commit);
    let short: String = common.chars().take(SHORT).collect();
    let name = if self::commit(top) == common {
        "HEAD".to_owned()
    } else {
        format!("{short}, where HEAD left {base}")
    };
    Some((name, common))
}

fn unknown(base: &str) -> anyhow::Error {
    usage(format!(
        "--changed={base}: git knows no such commit here\nhint: a branch, a tag or a commit; git fetch brings those of a remote"
    ))
}

/// The pathspecs of everything but what runs leave behind.
fn what_counts(top: &Path, ignore: &[PathBuf]) -> Vec<OsString> {
    let exclude = |pattern: &str| format!(":(exclude,top,glob)**/{pattern}").into();
    let mut pathspecs = vec![OsString::from(".")];
    pathspecs.extend(LEFT_BEHIND.iter().map(|pattern| exclude(pattern)));
    pathspecs.extend(LEFT_BEHIND.iter().map(|pattern| exclude(&format!("{pattern}/**"))));
    for inside in ignore.iter().filter_map(|path| path.strip_prefix(top).ok()) {
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
        output(artifact::git(top).args(identity).args(arguments)).unwrap();
    }

    #[test]
    fn whatever_git_sees_changes_the_content() {
        let directory = repository();
        let top = directory.path();
        let unborn = revision(top, &[]);
        assert!(unborn.commit.is_empty() && unborn.content.len() == 64);
        fs::write(top.join("a.py"), "1").unwrap();
        let untracked = revision(top, &[]);
        assert_ne!(untracked.content, unborn.content);
        fs::write(top.join("a.py"), "0").unwrap();
        assert_ne!(revision(top, &[]).content, untracked.content);
        fs::write(top.join("a.py"), "1").unwrap();
        assert_eq!(revision(top, &[]).content, untracked.content);
        run(top, &["add", "a.py"]);
        run(top, &["commit", "--quiet", "-m", "a"]);
        let committed = revision(top, &[]);
        assert_eq!(committed.commit.len(), 40);
        assert_eq!(revision(top, &[]), committed);
        fs::write(top.join("a.py"), "2").unwrap();
        let dirty = revision(top, &[]);
        fs::write(top.join("a.py"), "3").unwrap();
        let other = revision(top, &[]);
        assert_ne!(dirty.content, committed.content);
        assert_ne!(dirty.content, other.content);
        assert_eq!(dirty.commit, other.commit);
    }

    #[test]
    fn what_a_run_leaves_behind_does_not() {
        let directory = repository();
        let top = directory.path();
        let before = revision(top, &[]);
        for folder in ["__pycache__", "tests/__pycache__", ".pytest_cache/v"] {
            fs::create_dir_all(top.join(folder)).unwrap();
            fs::write(top.join(folder).join("x"), "").unwrap();
        }
        fs::write(top.join(".coverage"), "").unwrap();
        fs::write(top.join("report [1].xml"), "").unwrap();
        assert_eq!(revision(top, &[top.join("report [1].xml")]), before);
        assert_ne!(revision(top, &[]), before);
    }

    #[test]
    fn untracked_files_that_are_newer_are_told_apart() {
        let directory = repository();
        let top = directory.path();
        fs::write(top.join("old.txt"), "1").unwrap();
        let before = revision(top, &[]);
        let at = written_at(&top.join("old.txt")).unwrap() + 1;
        let names = ["new é.txt", "sub/new.txt"].map(|name| top.join(name));
        fs::create_dir(top.join("sub")).unwrap();
        for path in &names {
            // The clock of files ticks some milliseconds apart.
            while written_at(path).is_none_or(|written| written < at) {
                fs::write(path, "2").unwrap();
            }
        }
        assert_ne!(revision(top, &[]), before);
        let (without, newer) = revision_before(top, &[], at);
        assert_eq!(
            (&without, newer.as_slice()),
            (&before, &["new é.txt".to_owned(), "sub/new.txt".to_owned()][..])
        );
        fs::write(top.join("old.txt"), "3").unwrap();
        assert_ne!(revision_before(top, &[], at).0, before);
    }

    fn commit_all(top: &Path) {
        run(top, &["add", "--all"]);
        run(top, &["commit", "--quiet", "-m", "more"]);
    }

    fn paths(top: &Path, base: Option<&str>) -> Vec<String> {
        changed(top, base).unwrap().paths
    }

    #[test]
    fn what_changed_is_committed_uncommitted_or_untracked_and_still_there() {
        let directory = repository();
        let top = directory.path();
        let write = |name: &str, text: &str| fs::write(top.join(name), text).unwrap();
        write("old.py", "1");
        assert_eq!(paths(top, None), ["old.py"], "nothing is committed");
        run(top, &["symbolic-ref", "HEAD", "refs/heads/main"]);
        ["gone.py", "moved.py", "tracked.py"].into_iter().for_each(|name| write(name, name));
        write(".gitignore", "ignored.py");
        commit_all(top);
        assert_eq!(changed(top, None).unwrap().paths, [""; 0]);

        run(top, &["checkout", "--quiet", "-b", "feature"]);
        write("new é.py", "1");
        fs::rename(top.join("moved.py"), top.join("other.py")).unwrap();
        commit_all(top);
        fs::remove_file(top.join("gone.py")).unwrap();
        write("tracked.py", "2");
        write("untracked.py", "1");
        write("ignored.py", "1");
        let all = ["new é.py", "other.py", "tracked.py", "untracked.py"];
        assert_eq!(paths(top, None), all);
        assert_eq!(paths(top, Some("HEAD")), all[2..]);

        // What the base got since does not count.
        run(top, &["stash", "--quiet"]);
        run(top, &["checkout", "--quiet", "main"]);
        write("old.py", "2");
        commit_all(top);
        run(top, &["checkout", "--quiet", "feature"]);
        assert_eq!(paths(top, Some("main")), all[..2]);
        assert!(changed(top, None).unwrap().base.ends_with(", where HEAD left main"));
    }

    #[test]
    fn a_remotes_default_branch_is_the_base_before_any_other() {
        let origin = repository();
        run(origin.path(), &["symbolic-ref", "HEAD", "refs/heads/trunk"]);
        fs::write(origin.path().join("a.py"), "1").unwrap();
        commit_all(origin.path());
        let home = tempfile::tempdir().unwrap();
        let top = home.path().join("clone");
        let clone = Command::new("git").args(["clone", "--quiet"]).arg(origin.path()).arg(&top).status();
        assert!(clone.unwrap().success());
        fs::write(top.join("b.py"), "1").unwrap();
        commit_all(&top);
        let found = changed(&top, None).unwrap();
        assert_eq!(found.paths, ["b.py"]);
        assert!(found.base.ends_with(" origin/HEAD"), "{}", found.base);
    }

    #[test]
    fn a_base_that_is_not_there_is_named() {
        let directory = repository();
        for base in ["nowhere", "--all", "-1", "a..b"] {
            let error = changed(directory.path(), Some(base)).unwrap_err();
            assert!(error.is::<crate::errors::Usage>(), "{error}");
            assert!(error.to_string().starts_with(&format!("--changed={base}: ")), "{error}");
        }
    }

    #[test]
    fn without_a_repository_nothing_is_known() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(revision(directory.path(), &[]), Revision::default());
    }
}
