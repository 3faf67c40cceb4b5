//! A suite in a temporary directory of its own, and the commands that run it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::marked::{MARK, Marked};
use super::{Finished, Packages, Running};

/// Variables that would change how the command works or what it prints, whoever runs these tests.
const NOT_OURS: [&str; 10] = [
    "CARGO_TARGET_DIR",
    "CONDA_PREFIX",
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "JENKINS_URL",
    "PYTEST_ADDOPTS",
    "PYTHONHASHSEED",
    "PYTHONPATH",
    "SEAGULL_TLS_CA",
    "SEAGULL_TOKEN_FILE",
];

/// A copy of a suite, with a state directory beside it. Whatever runs in it carries a mark in its environment.
pub struct Suite {
    directory: TempDir,
    packages: Packages,
    mark: String,
}

impl Suite {
    /// A copy of `tests/suites/NAME`.
    pub fn named(name: &str) -> Suite {
        Suite::copied(&format!("tests/suites/{name}"))
    }

    /// A copy of a directory of the repository.
    pub fn copied(directory: &str) -> Suite {
        let suite = Suite::of(&[]);
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory), &suite.path());
        suite
    }

    /// These files: path and content.
    pub fn of(files: &[(&str, &str)]) -> Suite {
        Suite::below(&std::env::temp_dir(), files)
    }

    /// The same, in a directory below this one.
    pub fn below(parent: &Path, files: &[(&str, &str)]) -> Suite {
        let directory = tempfile::Builder::new().prefix("seagull-suite-").tempdir_in(parent).unwrap();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let suite = Suite { directory, packages: Packages::Xdist, mark };
        fs::create_dir(suite.path()).unwrap();
        fs::create_dir(suite.beside("meet")).unwrap();
        for (path, content) in files {
            suite.write(path, content);
        }
        suite
    }

    pub fn with(mut self, packages: Packages) -> Suite {
        self.packages = packages;
        self
    }

    /// The suite's directory.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("suite")
    }

    /// A path beside the suite.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, path: &str, content: &str) {
        let file = self.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path().join(path)).unwrap_or_default()
    }

    /// What all that was started here has in its environment.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// What is alive of all that was started here.
    pub fn marked(&self) -> Marked<'_> {
        Marked(&self.mark)
    }

    /// The suite's interpreter.
    pub fn python(&self) -> PathBuf {
        self.packages.environment().join("bin/python")
    }

    /// git in the suite's directory, as somebody.
    #[track_caller]
    pub fn git(&self, arguments: &[&str]) {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"];
        let status = Command::new("git").current_dir(self.path()).args(identity).args(arguments).status();
        assert!(status.unwrap().success(), "git {arguments:?}");
    }

    /// A repository that has all of it.
    pub fn commit(&self) {
        self.git(&["init", "--quiet"]);
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "-m", "all"]);
    }

    /// `seagull` with the suite's interpreter, in the suite's directory.
    pub fn seagull<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_seagull"));
        command.args(arguments);
        command
    }

    /// A program in the suite's directory and environment.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path()).env(MARK, &self.mark);
        // Where tests of one run can find each other, wherever they run.
        command.env("MEETING_PLACE", self.beside("meet"));
        for name in NOT_OURS {
            command.env_remove(name);
        }
        command.env("VIRTUAL_ENV", self.packages.environment());
        command
    }

    /// Starts `seagull run` with these arguments, on two slots if they do not say how many.
    pub fn start(&self, arguments: &[&str]) -> Running {
        self.start_in(&self.path(), arguments)
    }

    fn start_in(&self, directory: &Path, arguments: &[&str]) -> Running {
        let state = self.beside("state");
        let mut all = vec!["run", "--output", "json", "--state", state.to_str().unwrap()];
        if !arguments.contains(&"--slots") && !arguments.contains(&"--scheduler") {
            all.extend(["--slots", "2"]);
        }
        all.extend(arguments);
        let mut command = self.seagull(&all);
        command.current_dir(directory);
        Running::start(command, &self.another("stderr"))
    }

    /// A file beside it that nobody else has.
    pub fn another(&self, stem: &str) -> PathBuf {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        self.beside(&format!("{stem}-{}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// Runs to the end, and checks what holds for every run.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.start(arguments).finish()
    }

    /// As [`Suite::run`], in another working directory.
    pub fn run_in(&self, directory: &Path, arguments: &[&str]) -> Finished {
        self.start_in(directory, arguments).finish()
    }
}

impl Drop for Suite {
    fn drop(&mut self) {
        // A case that failed half way leaves nothing behind either.
        self.marked().kill();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        match from.is_dir() {
            true if from.ends_with("__pycache__") => {}
            true => copy(&from, &to),
            false => drop(fs::copy(&from, &to).unwrap()),
        }
    }
}
