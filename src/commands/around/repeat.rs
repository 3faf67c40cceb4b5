//! A test that is repeated, once or until it fails: its processes, and what came of it.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, anyhow};
use seagull_domain::Outcome;
use seagull_executor::docker::{LogOutput, Room};
use tokio::io::AsyncReadExt;
use tokio::process::ChildStdout;

use super::command::Line;
use super::others::{CargoTest, CommandTest};
use crate::commands::print;
use crate::errors::{INTERRUPTED, say};
use crate::report::around::Story;
use crate::report::times;
use crate::signals::Signals;

/// Bytes of what is kept of a process's words.
const KEPT: usize = 64 << 10;
/// As for a run with a failed test.
pub const FAILED: u8 = 100;

/// Who says what came of the test.
pub enum Judge {
    /// The plugin, in this file.
    Pytest(PathBuf),
    Cargo(CargoTest),
    Command(CommandTest),
}

impl Judge {
    fn program(&self) -> &'static str {
        match self {
            Judge::Pytest(_) => "pytest",
            Judge::Cargo(_) => "cargo test",
            Judge::Command(_) => "the run command",
        }
    }

    /// Forgets the last time.
    fn forget(&self) {
        match self {
            Judge::Pytest(outcome) => drop(fs::remove_file(outcome)),
            Judge::Cargo(_) => {}
            Judge::Command(test) => test.forget(),
        }
    }

    /// What came of the test; None if it was not come to.
    fn outcome(&self, ended: &Ended) -> Option<Outcome> {
        match self {
            Judge::Pytest(outcome) => outcome_of(&fs::read_to_string(outcome).unwrap_or_default()),
            Judge::Cargo(test) => test.outcome(&ended.said, ended.success),
            Judge::Command(test) => test.outcome(ended.success),
        }
    }
}

/// A test that is repeated.
pub struct Repeat<'a> {
    pub line: Line,
    pub judge: Judge,
    pub story: &'a Story,
    /// Where, if not in a process on this machine.
    pub room: Option<&'a Room>,
}

/// How a process of it ended.
struct Ended {
    how: String,
    success: bool,
    /// What it said, where that is judged.
    said: String,
}

impl Repeat<'_> {
    /// `until_fail` is how often at most, 0 for any number; None for once.
    pub async fn run(&self, until_fail: Option<u32>) -> anyhow::Result<u8> {
        let mut signals = Signals::new()?;
        let most = match until_fail {
            None => 1,
            Some(0) => u32::MAX,
            Some(most) => most,
        };
        let mut outcome = Outcome::Passed;
        for number in 1..=most {
            self.judge.forget();
            let ended = match self.room {
                None => self.here(&mut signals).await?,
                Some(room) => self.inside(room, &mut signals).await?,
            };
            let Some(ended) = ended else { return Ok(INTERRUPTED) };
            outcome = self.outcome(&ended)?;
            if outcome == Outcome::Failed {
                self.tell(outcome, number, until_fail);
                return Ok(FAILED);
            }
        }
        self.tell(outcome, most, until_fail);
        Ok(0)
    }

    /// None if it was interrupted.
    async fn here(&self, signals: &mut Signals) -> anyhow::Result<Option<Ended>> {
        let mut command = self.line.command();
        if let Judge::Cargo(_) = self.judge {
            command.stdout(Stdio::piped());
        }
        let cannot = || format!("{} cannot be started", self.judge.program());
        let mut child = command.spawn().with_context(cannot)?;
        let heard = hear(child.stdout.take());
        let ended = async { tokio::join!(child.wait(), heard) };
        tokio::pin!(ended);
        let mut interrupted = false;
        // It gets the signal of a terminal itself.
        let (status, said) = loop {
            tokio::select! {
                ended = &mut ended => break ended,
                () = signals.next() => interrupted = true,
            }
        };
        let (status, said) = (status?, said?);
        Ok((!interrupted).then(|| Ended { how: status.to_string(), success: status.success(), said }))
    }

    /// What is interrupted goes with the room.
    async fn inside(&self, room: &Room, signals: &mut Signals) -> anyhow::Result<Option<Ended>> {
        let mut passed = Ok(());
        let pass_on = |piece: LogOutput| {
            let to_stderr = matches!(piece, LogOutput::StdErr { .. });
            let bytes = piece.into_bytes();
            let written = match to_stderr {
                true => std::io::stderr().write_all(&bytes).map_err(Into::into),
                false => print(|out| out.write_all(&bytes)),
            };
            if passed.is_ok() {
                passed = written;
            }
        };
        let code = tokio::select! {
            code = room.run(self.line.inside(), pass_on) => code?,
            () = signals.next() => return Ok(None),
        };
        passed?;
        Ok(Some(Ended { how: format!("exit code {code}"), success: code == 0, said: String::new() }))
    }

    fn tell(&self, outcome: Outcome, number: u32, until_fail: Option<u32>) {
        let told = told(outcome, number, until_fail);
        say!("{} {told}", self.story.id);
    }

    fn outcome(&self, ended: &Ended) -> anyhow::Result<Outcome> {
        self.judge.outcome(ended).ok_or_else(|| {
            anyhow!(
                "{} ended ({}) before it came to {}\nhint: its own words are above",
                self.judge.program(),
                ended.how,
                self.story.id
            )
        })
    }
}

/// What came of a test at the last of so many tries.
fn told(outcome: Outcome, number: u32, until_fail: Option<u32>) -> String {
    match (until_fail, outcome) {
        (None, Outcome::Skipped) => "was skipped".to_owned(),
        (None, _) => outcome.word().to_owned(),
        (Some(_), Outcome::Failed) => format!("failed at try {number}"),
        (Some(_), _) => format!("did not fail; it was tried {}", times(number)),
    }
}

/// Passes on what a process writes, and keeps the beginning and the end of it.
async fn hear(stdout: Option<ChildStdout>) -> anyhow::Result<String> {
    let Some(mut stdout) = stdout else { return Ok(String::new()) };
    let (mut kept, mut chunk) = (Vec::new(), [0; 8 << 10]);
    loop {
        let read = stdout.read(&mut chunk).await?;
        if read == 0 {
            return Ok(String::from_utf8_lossy(&kept).into_owned());
        }
        print(|out| out.write_all(&chunk[..read]))?;
        kept.extend_from_slice(&chunk[..read]);
        if kept.len() > 2 * KEPT {
            kept.drain(KEPT / 2..kept.len() - KEPT / 2);
        }
    }
}

/// What came of the test, by the plugin's words; None if it did not begin. What began and did not end took pytest with it.
fn outcome_of(told: &str) -> Option<Outcome> {
    let has = |word| told.lines().any(|line| line == word);
    match has("started") {
        false => None,
        true if has("failed") || !has("finished") => Some(Outcome::Failed),
        true if has("skipped") => Some(Outcome::Skipped),
        true => Some(Outcome::Passed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_failed_by_its_own_words_alone() {
        let table = [
            ("", None),
            ("started\npassed\npassed\npassed\nfinished\n", Some(Outcome::Passed)),
            ("started\nskipped\npassed\nfinished\n", Some(Outcome::Skipped)),
            ("started\npassed\npassed\nfailed\nfinished\n", Some(Outcome::Failed)),
            // It killed its process, or left pytest.
            ("started\npassed\n", Some(Outcome::Failed)),
        ];
        for (told, expected) in table {
            assert_eq!(outcome_of(told), expected, "{told:?}");
        }
    }

    #[test]
    fn it_is_told_what_came_of_the_test_and_of_how_many_tries() {
        let table = [
            (Outcome::Skipped, None, "was skipped"),
            (Outcome::Passed, None, "passed"),
            (Outcome::Failed, Some(0), "failed at try 2"),
            (Outcome::Passed, Some(2), "did not fail; it was tried 2 times"),
        ];
        for (outcome, until_fail, expected) in table {
            assert_eq!(told(outcome, 2, until_fail), expected);
        }
    }
}
