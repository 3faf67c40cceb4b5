//! The files of a revision, which git writes into a directory beside the work tree: the same as in a clean checkout.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use seagull_executor::artifact;

use super::output;
use crate::errors::usage;

/// Submodules in submodules; a circle of repositories ends here.
const MAX_NESTING: usize = 16;
/// How `git ls-tree` begins the line of a submodule.
const SUBMODULE: &[u8] = b"160000 commit ";

/// The full hash of the commit that a revision names.
pub fn resolve(top: &Path, revision: &str) -> anyhow::Result<String> {
    super::require(top)?;
    super::named(top, revision).ok_or_else(|| {
        usage(format!(
            "--rev {revision}: there is no such commit in {}\n\
             hint: git fetch brings what others have; git log --oneline --all lists what is here",
            top.display()
        ))
    })
}

/// Writes the files of a commit into `tree`, which is empty; returns the submodules that the work tree does not have,
/// which therefore stay empty. `index` is a path that is free for git to use; `lock` is of both, and git has it for as
/// long as it writes, even if this process ends before it.
pub fn write(
    top: &Path,
    commit: &str,
    tree: &Path,
    index: &Path,
    lock: &File,
) -> anyhow::Result<Vec<PathBuf>> {
    let mut missing = Vec::new();
    let writer = Writer { top, tree, index, lock };
    writer.write(Path::new(""), commit, MAX_NESTING, &mut missing)?;
    Ok(missing)
}

struct Writer<'a> {
    top: &'a Path,
    tree: &'a Path,
    index: &'a Path,
    lock: &'a File,
}

impl Writer<'_> {
    fn write(
        &self,
        inside: &Path,
        commit: &str,
        nesting: usize,
        missing: &mut Vec<PathBuf>,
    ) -> anyhow::Result<()> {
        self.write_own(inside, commit)?;
        for (path, commit) in self.submodules(inside, commit)? {
            let path = inside.join(path);
            let repository = self.top.join(&path);
            if nesting == 0 || !repository.join(".git").exists() {
                missing.push(path);
            } else if has(&repository, &commit)? {
                self.write(&path, &commit, nesting - 1, missing)?;
            } else {
                return Err(usage(format!(
                    "the submodule {path} has no commit {commit} here\nhint: git -C {path} fetch",
                    path = path.display()
                )));
            }
        }
        Ok(())
    }

    /// All but submodules. `git archive` would leave out and rewrite what `.gitattributes` says of archives; a work
    /// tree that git adds would be noted in the repository. So this is a checkout with an index of its own.
    fn write_own(&self, inside: &Path, commit: &str) -> anyhow::Result<()> {
        let mut git = artifact::git(&self.top.join(inside));
        git.arg("--work-tree").arg(self.tree.join(inside)).env("GIT_INDEX_FILE", self.index);
        // All files, and nothing that is told to or left in the repository.
        for setting in ["core.sparseCheckout=false", "core.splitIndex=false", "core.hooksPath=/dev/null"] {
            git.args(["-c", setting]);
        }
        git.args(["read-tree", "--reset", "-u", "--no-recurse-submodules", commit]);
        // It does not read: this is how a process has a lock together with another.
        git.stdin(self.lock.try_clone()?);
        output(&mut git).with_context(|| format!("git cannot write the files of {commit}"))?;
        fs::remove_file(self.index)?;
        Ok(())
    }

    /// The submodules of a commit, and the commit of each.
    fn submodules(&self, inside: &Path, commit: &str) -> anyhow::Result<Vec<(PathBuf, String)>> {
        let mut git = artifact::git(&self.top.join(inside));
        let listed = output(git.args(["ls-tree", "-r", "-z", "--full-tree", commit]))?;
        let lines = listed.split(|byte| *byte == 0).filter_map(|line| line.strip_prefix(SUBMODULE));
        let parted = lines.filter_map(|line| {
            let tab = line.iter().position(|byte| *byte == b'\t')?;
            let path = OsString::from_vec(line[tab + 1..].to_vec());
            Some((path.into(), String::from_utf8_lossy(&line[..tab]).into_owned()))
        });
        Ok(parted.collect())
    }
}

fn has(repository: &Path, commit: &str) -> io::Result<bool> {
    let mut git = artifact::git(repository);
    let looked = git.args(["cat-file", "-e", &format!("{commit}^{{commit}}")]).output()?;
    Ok(looked.status.success())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use seagull_executor::artifact::{PackOptions, Packed, Patterns, pack};

    use super::*;
    use crate::errors::Usage;

    /// A directory for repositories and for what is made of them.
    struct Bench(tempfile::TempDir);

    impl Bench {
        fn new() -> Bench {
            Bench(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn git(&self, directory: &str, arguments: &[&str]) -> String {
            let mut git = artifact::git(&self.path(directory));
            git.args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]);
            git.args(["-c", "protocol.file.allow=always"]).args(arguments);
            let output = output(&mut git).unwrap_or_else(|error| panic!("git {arguments:?}: {error}"));
            String::from_utf8(output).unwrap().trim().to_owned()
        }

        /// A repository with these files; returns its commit.
        fn repository(&self, name: &str, files: &[(&str, &str)]) -> String {
            fs::create_dir(self.path(name)).unwrap();
            self.git(name, &["init", "--quiet"]);
            for (path, content) in files {
                let path = self.path(name).join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
            self.commit(name)
        }

        fn commit(&self, name: &str) -> String {
            self.git(name, &["add", "--all", "--force"]);
            self.git(name, &["commit", "--quiet", "--message", "files"]);
            resolve(&self.path(name), "HEAD").unwrap()
        }

        /// Writes a commit into a new directory; returns the submodules that are missing.
        fn write(&self, name: &str, commit: &str, tree: &str) -> anyhow::Result<Vec<PathBuf>> {
            fs::create_dir(self.path(tree)).unwrap();
            let lock = File::create(self.path("lock"))?;
            write(&self.path(name), commit, &self.path(tree), &self.path("index"), &lock)
        }

        fn pack(&self, name: &str, checkout: bool) -> Packed {
            let (root, scratch) = (&*self.path(name), self.0.path());
            let (include, omit) = (&Patterns::default(), &Patterns::default());
            let built = &Default::default();
            let (directory, exclude, large) = (Path::new(""), &[], false);
            let options =
                PackOptions { root, directory, scratch, exclude, include, omit, built, large, checkout };
            pack(&options).unwrap()
        }
    }

    #[test]
    fn a_revision_is_packed_to_the_bytes_of_its_clean_checkout() {
        let bench = Bench::new();
        let attributes = "*.txt text eol=crlf\nnotes export-ignore\nversion export-subst\n";
        let files = [
            (".gitattributes", attributes),
            (".gitignore", "ignored\n"),
            (".env", "committed, so it is no secret"),
            ("a.txt", "one\ntwo\n"),
            ("notes", "not for archives"),
            ("pack/__pycache__/x", "committed too"),
            ("version", "$Format:%H$"),
            ("ignored", "but committed"),
        ];
        bench.repository("repo", &files);
        symlink("a.txt", bench.path("repo/link")).unwrap();
        fs::write(bench.path("repo/run.sh"), "#!/bin/sh\n").unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(bench.path("repo/run.sh"), executable).unwrap();
        let commit = bench.commit("repo");
        bench.git(".", &["clone", "--quiet", "repo", "clone"]);

        // What the work tree has become since then makes no difference, nor does what it leaves out.
        fs::write(bench.path("repo/a.txt"), "changed").unwrap();
        fs::write(bench.path("repo/untracked"), "x").unwrap();
        bench.commit("repo");
        bench.git("repo", &["sparse-checkout", "set", "pack"]);
        assert_eq!(bench.write("repo", &commit, "tree").unwrap(), Vec::<PathBuf>::new());
        let (clean, packed) = (bench.pack("clone", false), bench.pack("tree", true));
        assert_eq!(packed.left_out, []);
        assert_eq!(packed.entries, files.len() as u64 + 2);
        assert_eq!(packed.digest, clean.digest);
        assert!(!bench.path("index").exists() && !bench.path("tree/.git").exists());
        assert_eq!(bench.git("repo", &["worktree", "list"]).lines().count(), 1);
    }

    #[test]
    fn submodules_are_at_the_commit_that_the_revision_names_or_missing() {
        let bench = Bench::new();
        let old = bench.repository("part", &[("part.py", "old")]);
        bench.repository("repo", &[("a.py", "")]);
        let part = bench.path("part").to_string_lossy().into_owned();
        bench.git("repo", &["submodule", "--quiet", "add", &part, "part"]);
        let first = bench.commit("repo");
        fs::write(bench.path("part/part.py"), "new").unwrap();
        let new = bench.commit("part");
        bench.git("repo/part", &["pull", "--quiet"]);
        let second = bench.commit("repo");
        for (commit, tree, expected) in [(&first, "first", "old"), (&second, "second", "new")] {
            assert_eq!(bench.write("repo", commit, tree).unwrap(), Vec::<PathBuf>::new());
            assert_eq!(fs::read_to_string(bench.path(tree).join("part/part.py")).unwrap(), expected);
        }

        // A clone without them, and one whose submodule does not have the commit.
        bench.git(".", &["clone", "--quiet", "repo", "bare"]);
        assert_eq!(bench.write("bare", &second, "without").unwrap(), [PathBuf::from("part")]);
        bench.git("repo", &["update-index", "--cacheinfo", &format!("160000,{},part", "1".repeat(40))]);
        bench.git("repo", &["commit", "--quiet", "--message", "elsewhere"]);
        let third = resolve(&bench.path("repo"), "HEAD").unwrap();
        let error = bench.write("repo", &third, "third").unwrap_err();
        assert!(error.is::<Usage>() && error.to_string().contains("hint: git -C part fetch"), "{error}");
        assert_ne!(old, new);
    }

    #[test]
    fn a_revision_is_any_name_of_a_commit_and_nothing_else() {
        let bench = Bench::new();
        let commit = bench.repository("repo", &[("a.py", "")]);
        bench.git("repo", &["tag", "--annotate", "--message", "m", "v1"]);
        for name in ["HEAD", "v1", "v1^{}", &commit, &commit[..10]] {
            assert_eq!(resolve(&bench.path("repo"), name).unwrap(), commit, "{name}");
        }
        for name in ["v2", "HEAD~1", "HEAD:a.py", "--all", "", "0000000000000000000000000000000000000000"] {
            let error = resolve(&bench.path("repo"), name).unwrap_err();
            assert!(error.is::<Usage>() && error.to_string().contains("hint: git fetch"), "{name}: {error}");
        }
    }
}
