//! Any framework with a command: one discovers, one runs a batch of ids from a file and reports it as JUnit XML.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use seagull_domain::{FileTests, Outcome, SuiteCommands, TestCause};
use seagull_executor_core::last_lines;

use super::channel::Channel;
use super::junit::{Case, Report};
use super::processes::{Processes, Ran, text};
use super::{Adapter, Discovered, Done, ID_BYTES, PRINTED, Stop, Test, WORDS};
use crate::agent::adapter::{Configure, Event, Finished};
use crate::remove::remove_tree;

/// What stands for the file of ids and for the report in a command, and the variables with their paths.
pub const IDS: (&str, &str) = ("{ids}", "SEAGULL_IDS");
pub const JUNIT: (&str, &str) = ("{junit}", "SEAGULL_JUNIT");
/// With what shells say that a command cannot be started.
const NOT_STARTED: [Option<i32>; 2] = [Some(126), Some(127)];
/// A run command that failed for so many tests of one batch alone, before it ever named any, does not work.
const PATIENCE: usize = 3;

pub(super) struct AnyCommand {
    processes: Processes,
    commands: SuiteCommands,
    arguments: Vec<String>,
    /// For the ids and the report of a batch.
    directory: PathBuf,
    output_limit: usize,
    /// Whether the run command has ever named a test that it was asked for.
    worked: bool,
    /// Of tests that ended it when they were alone, before it ever worked: it may be the command that is to blame.
    crashes: Vec<Finished>,
    /// How it ended a batch, while none of the tests that it did not name is known to have done it.
    unexplained: Option<Event>,
}

/// A batch that was run.
struct Batch {
    asked: usize,
    /// What the report does not name.
    unnamed: Vec<Test>,
    ran: Ran,
    report: Report,
    /// What one that is unnamed has left.
    attached: Option<u32>,
}

impl AnyCommand {
    pub fn new(
        processes: Processes,
        commands: SuiteCommands,
        configure: &Configure,
        directory: &Path,
    ) -> AnyCommand {
        AnyCommand {
            processes,
            commands,
            arguments: configure.args.clone(),
            directory: directory.join("batch"),
            output_limit: configure.output_limit,
            worked: false,
            crashes: Vec::new(),
            unexplained: None,
        }
    }

    fn command(&self, words: &[String], paths: &[(&str, &Path)]) -> Command {
        let words = filled(words, &self.arguments, paths);
        let mut command = Command::new(words.first().map(String::as_str).unwrap_or_default());
        command.args(words.iter().skip(1));
        command
    }

    /// Runs a batch and tells of what its report names.
    fn batch(&mut self, tests: Vec<Test>, channel: &mut Channel) -> Done<Batch> {
        let (first, asked) = (tests[0].0, tests.len());
        channel.say(&Event::Started { test: first });
        let (ran, report) = self.execute(&tests).map_err(|stop| stop.within(first))?;
        // What the report does not say is shared evenly. What several have left is nobody's.
        let share = ran.seconds / asked as f64;
        let mut attached = if asked == 1 { self.processes.put_aside() } else { None };
        let mut unnamed = Vec::new();
        for (test, id) in tests {
            match report.cases.get(&id) {
                Some(case) => self.tell(test, case, (share, attached.take()), channel),
                None => unnamed.push((test, id)),
            }
        }
        self.worked |= unnamed.len() < asked;
        if self.worked {
            self.tell_of_crashes(channel);
        }
        Ok(Batch { asked, unnamed, ran, report, attached })
    }

    fn execute(&self, tests: &[Test]) -> Done<(Ran, Report)> {
        remove_tree(&self.directory)?;
        fs::create_dir(&self.directory)?;
        let [ids, junit] = ["ids", "junit.xml"].map(|name| self.directory.join(name));
        let lines: String = tests.iter().flat_map(|(_, id)| [id.as_str(), "\n"]).collect();
        fs::write(&ids, lines)?;
        let mut command = self.command(&self.commands.run, &[(IDS.0, &ids), (JUNIT.0, &junit)]);
        command.env(IDS.1, &ids).env(JUNIT.1, &junit);
        let ran = self.processes.run(&mut command)?;
        let report = Report::read(&junit, &self.commands.id, self.output_limit);
        Ok((ran, report))
    }

    fn tell(&self, test: u32, case: &Case, (share, attached): (f64, Option<u32>), channel: &mut Channel) {
        channel.say(&Event::Started { test });
        let recovered = case.flaky && case.outcome == Outcome::Passed;
        if recovered {
            channel.say(&Event::Finished(Box::new(Finished {
                last: false,
                detail: "rerun".to_owned(),
                cause: Some(TestCause::Error),
                message: case.message.clone(),
                ..Finished::new(test, Outcome::Failed)
            })));
        }
        channel.say(&Event::Finished(Box::new(Finished {
            ordinal: u16::from(recovered),
            cause: case.cause,
            call: case.seconds.unwrap_or(share),
            rss: self.processes.peak_kib(),
            message: case.message.clone(),
            location: case.location.clone(),
            text: case.text.clone(),
            attached,
            ..Finished::new(test, case.outcome)
        })));
    }

    /// What becomes of the tests that a report does not name. Those it returns run again.
    fn settle(&mut self, batch: Batch, channel: &mut Channel) -> Done<Vec<Vec<Test>>> {
        let named = batch.asked - batch.unnamed.len();
        if batch.unnamed.is_empty() {
            if let Some(error) = batch.failure("the run command failed, and none of its tests") {
                channel.say(&error);
            }
        } else if batch.ran.status.success() {
            let reason = format!("the run command ended well without naming it{}", batch.instead());
            // They may be very many.
            let mut last = batch.last_lines();
            for (test, _) in &batch.unnamed {
                let reason = reason.clone() + &std::mem::take(&mut last);
                channel.say(&Event::Missing { test: *test, reason });
            }
        } else if batch.asked == 1 {
            self.crashed(&batch, channel)?;
        } else {
            let failure = || batch.failure("the run command broke off, and no test did so again");
            self.unexplained = self.unexplained.take().or_else(failure);
            return Ok(if named > 0 { vec![batch.unnamed] } else { batch.halves() });
        }
        Ok(Vec::new())
    }

    /// The test that was asked for alone ended the command. Unless it seems that all would.
    fn crashed(&mut self, batch: &Batch, channel: &mut Channel) -> Done<()> {
        let test = batch.unnamed[0].0;
        let (how, instead) = (batch.ran.how(), batch.instead());
        self.unexplained = None;
        self.crashes.push(Finished {
            cause: Some(TestCause::Crashed),
            call: batch.ran.seconds,
            rss: self.processes.peak_kib(),
            message: format!("crashed: the run command ended with {how}, without naming it{instead}"),
            text: batch.ran.text(self.output_limit),
            attached: batch.attached,
            ..Finished::new(test, Outcome::Failed)
        });
        if self.worked {
            self.tell_of_crashes(channel);
        } else if self.crashes.len() >= PATIENCE || NOT_STARTED.contains(&batch.ran.status.code()) {
            let message = format!(
                "the run command ended with {how}, without naming any test it was asked for{instead}"
            );
            return Err(Stop::Broken(message, batch.ran.text(WORDS)));
        }
        Ok(())
    }

    fn tell_of_crashes(&mut self, channel: &mut Channel) {
        for crash in self.crashes.drain(..) {
            channel.say(&Event::Started { test: crash.test });
            channel.say(&Event::Finished(Box::new(crash)));
        }
    }
}

impl Batch {
    /// An end of the command that no failure in its report explains.
    fn failure(&self, title: &str) -> Option<Event> {
        let unexplained = !self.ran.status.success() && !self.report.has_failures();
        unexplained.then(|| Event::SuiteError {
            title: title.to_owned(),
            message: self.ran.how(),
            text: self.ran.text(WORDS),
        })
    }

    /// One test may have ended the command for all.
    fn halves(mut self) -> Vec<Vec<Test>> {
        let second = self.unnamed.split_off(self.unnamed.len() / 2);
        vec![self.unnamed, second]
    }

    /// The end of what a command wrote that reported nothing.
    fn last_lines(&self) -> String {
        let text = if self.report.cases.is_empty() { self.ran.text(WORDS) } else { String::new() };
        last_lines(&text).iter().map(|line| format!("\n{line}")).collect()
    }

    /// What the report has instead of a test.
    fn instead(&self) -> String {
        match (&self.report.broken, self.report.cases.keys().min()) {
            (Some(reason), _) => format!("; {reason}"),
            (None, Some(other)) => {
                let (count, other) = (self.report.cases.len(), other.chars().take(200).collect::<String>());
                let hint = "hint: [command] id says how ids are made";
                let others = if count == 1 { "another" } else { &format!("{count} others, such as") };
                format!("; its report has {others} {other:?}\n{hint}")
            }
            (None, None) => "; its report has no testcase".to_owned(),
        }
    }
}

impl Adapter for AnyCommand {
    fn batch_ms(&self) -> Option<u64> {
        Some(self.commands.batch_ms)
    }

    fn discover(&mut self) -> Done<Discovered> {
        let mut command = self.command(&self.commands.discover, &[]);
        let (ran, stdout) = self.processes.ask(&mut command)?;
        if !ran.status.success() {
            let message = format!("the discover command ended with {}", ran.how());
            return Err(Stop::Broken(message, ran.text(WORDS)));
        }
        if stdout.metadata()?.len() > PRINTED as u64 {
            return Err(Stop::broken(format!("the discover command wrote over {} MiB", PRINTED >> 20)));
        }
        let found = listed(&text(&stdout, PRINTED)?)?;
        // A pipe ends as its last command does: what went wrong before may only have been said.
        let said = if found.files.is_empty() { ran.text(WORDS) } else { String::new() };
        if !said.trim().is_empty() {
            return Err(Stop::Broken("the discover command found no test; it said".to_owned(), said));
        }
        Ok(found)
    }

    fn run(&mut self, tests: Vec<Test>, channel: &mut Channel) -> Done<()> {
        let mut batches = VecDeque::from([tests]);
        while let Some(tests) = batches.pop_front().filter(|tests| !tests.is_empty()) {
            let batch = self.batch(tests, channel)?;
            let crashes = self.crashes.len();
            let again = self.settle(batch, channel)?;
            again.into_iter().rev().for_each(|tests| batches.push_front(tests));
            // Tests that end the command may stand together: the next is one from elsewhere.
            if self.crashes.len() > crashes {
                batches.rotate_right(batches.len().min(1));
            }
        }
        self.tell_of_crashes(channel);
        if let Some(error) = self.unexplained.take() {
            channel.say(&error);
        }
        Ok(())
    }
}

/// The words of a command, with what stands for paths and for the run's arguments replaced.
pub fn filled(words: &[String], arguments: &[String], paths: &[(&str, &Path)]) -> Vec<String> {
    let with_paths = |word: &String| {
        paths.iter().fold(word.clone(), |word, (name, path)| word.replace(name, &path.to_string_lossy()))
    };
    let mut filled = Vec::with_capacity(words.len());
    for (place, word) in words.iter().enumerate() {
        match word.as_str() {
            "{args}" if place > 0 => filled.extend_from_slice(arguments),
            _ => filled.push(with_paths(word)),
        }
    }
    filled
}

/// What the report of a command says of a test, if it names it.
pub fn reported(junit: &Path, commands: &SuiteCommands, id: &str) -> Option<Outcome> {
    Report::read(junit, &commands.id, 0).cases.get(id).map(|case| case.outcome)
}

/// The ids that stand on lines. What is before the first `::` is the file, or what else shares a setup; its tests stay
/// together.
fn listed(text: &str) -> Done<Discovered> {
    let mut found = Discovered::default();
    let (mut places, mut seen) = (HashMap::new(), HashSet::new());
    for (line, id) in (1..).zip(text.lines()).map(|(line, id)| (line, id.trim_end())) {
        if id.len() > ID_BYTES || id.contains(char::REPLACEMENT_CHARACTER) {
            return Err(Stop::broken(format!("line {line} of the discover command is no id")));
        }
        if !seen.insert(id) {
            found.duplicates.push(id.to_owned());
        } else if !id.is_empty() {
            let (path, suffix) = id.split_at(id.find("::").unwrap_or(0));
            let place = *places.entry(path).or_insert(found.files.len());
            if place == found.files.len() {
                found.files.push(FileTests { path: path.to_owned(), suffixes: Vec::new() });
            }
            found.files[place].suffixes.push(suffix.to_owned());
        }
    }
    found.duplicates.retain(|id| !id.is_empty());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stand_on_lines_and_share_what_is_before_the_colons() {
        let found = listed("a.js::one\n\nb.js::x\r\nplain\na.js::two\na.js::one\n\n").unwrap();
        let files: Vec<_> =
            found.files.iter().map(|file| (file.path.as_str(), file.suffixes.len())).collect();
        assert_eq!(files, [("a.js", 2), ("b.js", 1), ("", 1)]);
        assert_eq!(found.duplicates, ["a.js::one"]);
        assert_eq!(found.files[2].suffixes, ["plain"]);
        assert!(listed(&"x".repeat(ID_BYTES + 1)).is_err());
        assert!(listed(&String::from_utf8_lossy(b"\xff\n")).is_err());
    }
}
