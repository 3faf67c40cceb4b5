//! Where a command runs: here, or in namespaces of its own, whose mounts and networks end with the last process in them.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use super::marked::MARK;
use super::{Running, Suite};

/// How to get there: a command that takes another.
#[derive(Clone, Default)]
pub struct Place(Vec<String>);

impl Place {
    pub fn of(words: &[&str]) -> Place {
        Place(words.iter().map(|word| (*word).to_owned()).collect())
    }

    /// The command, there.
    pub fn command(&self, command: Command) -> Command {
        let Some((program, words)) = self.0.split_first() else { return command };
        let mut there = Command::new(program);
        there.args(words).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => there.env(name, value),
                None => there.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            there.current_dir(directory);
        }
        there
    }

    /// Runs a line of shell there, which must succeed.
    #[track_caller]
    pub fn shell(&self, line: &str) {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]);
        let output = self.command(shell).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A process that keeps namespaces.
pub struct Namespace {
    keeper: Running,
    directory: String,
    as_root: bool,
}

impl Namespace {
    /// Namespaces of these kinds, options of `unshare`, prepared by a line of shell that runs in them. None, which is said,
    /// where the machine lets nobody make them.
    pub fn new(suite: &Suite, from: &Place, kinds: &[&str], line: &str) -> Option<Namespace> {
        // Who is root here may make them, and so may the root of a user namespace.
        let as_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        let mut unshare = suite.command("unshare");
        unshare.env_remove(MARK).args(kinds);
        if !as_root && from.0.is_empty() {
            unshare.arg("--map-root-user");
        }
        // Its end is seen to, and comes in any case.
        unshare.args(["sh", "-c", &format!("{line} && echo ready && exec sleep 3600")]);
        let stderr = suite.beside("unshare-stderr");
        let keeper = Running::try_start(from.command(unshare), &stderr);
        let keeper = keeper.and_then(|mut keeper| match keeper.line() {
            Some(_) => Ok(keeper),
            None => Err(std::io::Error::other(keeper.stderr())),
        });
        match keeper {
            Ok(keeper) => Some(Namespace { keeper, directory: text(&suite.path()), as_root }),
            Err(error) => {
                skip(&format!("this machine makes no namespaces: {error}"));
                None
            }
        }
    }

    pub fn id(&self) -> u32 {
        self.keeper.id()
    }

    /// Inside, in the suite's directory.
    pub fn place(&self, kinds: &[&str]) -> Place {
        let id = self.id().to_string();
        let user: &[&str] = if self.as_root { &[] } else { &["--user", "--preserve-credentials"] };
        let enter = ["nsenter", "--target", &id];
        // Entering mounts leaves the working directory.
        let stay = ["sh", "-c", "cd \"$0\" && exec \"$@\"", &self.directory];
        Place::of(&[&enter[..], user, kinds, &stay[..]].concat())
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Says that something is not tried, though nobody listens to tests that pass.
pub fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {}", why.trim_end());
}
