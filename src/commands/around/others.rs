//! The command lines with which cargo, or a suite's own command, runs a test as it ran in a run, and what they then say
//! of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use seagull_domain::{Outcome, SlotNumber, SuiteCommands};
use seagull_executor::adapters::command::{IDS, JUNIT, filled, reported};
use serde::Deserialize;

use super::command::Line;
use crate::errors::usage;
use crate::report::around::Story;

/// Options of `cargo test` that choose targets or packages, without a value and with one: the test's own go instead.
const CHOICES: [&str; 9] = [
    "--lib",
    "--bins",
    "--tests",
    "--examples",
    "--benches",
    "--doc",
    "--all-targets",
    "--workspace",
    "--all",
];
const CHOICES_OF: [&str; 7] = ["-p", "--package", "--exclude", "--bin", "--test", "--example", "--bench"];
/// Other options with a value in a word of its own: that is no filter.
const WITH_VALUE: [&str; 13] = [
    "-F",
    "--features",
    "-j",
    "--jobs",
    "--profile",
    "--target",
    "--target-dir",
    "--manifest-path",
    "--message-format",
    "--color",
    "--config",
    "-Z",
    "--lockfile-path",
];

/// A test of cargo's: one of a binary, or a whole binary with what only builds it.
pub enum CargoTest {
    One,
    Whole(Box<Line>),
}

/// A test of a suite's own command: where that reports.
pub struct CommandTest {
    commands: SuiteCommands,
    id: String,
    pub junit: PathBuf,
}

/// The arguments of a run, as `cargo test` takes them apart.
#[derive(Debug, Default, PartialEq, Eq)]
struct Given {
    options: Vec<String>,
    filter: Vec<String>,
    /// What stands after `--`.
    libtest: Vec<String>,
}

pub fn cargo(story: &Story, slot: SlotNumber, directory: &Path) -> anyhow::Result<(Line, CargoTest)> {
    let unknown =
        || usage(format!("{} is no test of cargo test\nhint: seagull logs shows what it printed", story.id));
    let (package, rest) = story.id.split_once("::").ok_or_else(unknown)?;
    let (target, name) = rest.split_once("::").map_or((rest, None), |(target, name)| (target, Some(name)));
    let target = match target.split_once('/') {
        None if target == "lib" || target == "doc" => vec![format!("--{target}")],
        Some((kind @ ("bin" | "test" | "example" | "bench"), name)) => {
            vec![format!("--{kind}"), name.to_owned()]
        }
        _ => return Err(unknown()),
    };
    let Given { options, filter, libtest } = Given::of(&story.spec.arguments);
    let mut words = ["cargo", "test", "-p"].map(str::to_owned).to_vec();
    words.push(specification(directory, package));
    words.extend(target.into_iter().chain(options));
    let line = |words| Line::of(words, story, directory, slot_variable(slot));
    let test = match name {
        Some(name) => {
            words.push("--".to_owned());
            if libtest.iter().any(|word| word == "--ignored" || word == "--include-ignored") {
                words.push("--include-ignored".to_owned());
            }
            words.extend(["--exact", "--nocapture", name].map(str::to_owned));
            CargoTest::One
        }
        None => {
            let build = line(words.iter().cloned().chain(["--no-run".to_owned()]).collect());
            words.extend(filter.into_iter().chain(std::iter::once("--".to_owned())).chain(libtest));
            CargoTest::Whole(Box::new(build))
        }
    };
    Ok((line(words), test))
}

/// A package of the workspace as cargo takes it: with its version, where it depends on another of its name.
fn specification(directory: &Path, package: &str) -> String {
    let read = |above: &Path| fs::read_to_string(above.join("Cargo.lock")).ok();
    let lock = directory.ancestors().find_map(read).and_then(|text| toml::from_str(&text).ok());
    let Lock { package: packages } = lock.unwrap_or_default();
    let named: Vec<_> = packages.iter().filter(|known| known.name == package).collect();
    match named.iter().find(|known| known.source.is_none()) {
        Some(own) if named.len() > 1 => format!("{package}@{}", own.version),
        _ => package.to_owned(),
    }
}

/// What is looked at of `Cargo.lock`.
#[derive(Default, Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    /// Packages of the workspace have none.
    source: Option<String>,
}

/// Writes the file of ids into a folder, where the report goes, too.
pub fn command(
    commands: &SuiteCommands,
    story: &Story,
    slot: SlotNumber,
    directory: &Path,
    folder: &Path,
) -> anyhow::Result<(Line, CommandTest)> {
    let [ids, junit] = ["ids", "junit.xml"].map(|name| folder.join(name));
    fs::write(&ids, format!("{}\n", story.id)).with_context(|| format!("cannot write {}", ids.display()))?;
    let words = filled(&commands.run, &story.spec.arguments, &[(IDS.0, &ids), (JUNIT.0, &junit)]);
    let paths = [(IDS.1, &ids), (JUNIT.1, &junit)];
    let paths = paths.map(|(name, path)| (name.to_owned(), path.to_string_lossy().into_owned()));
    let more = slot_variable(slot).into_iter().chain(paths).collect();
    let test = CommandTest { commands: commands.clone(), id: story.id.clone(), junit };
    Ok((Line::of(words, story, directory, more), test))
}

fn slot_variable(slot: SlotNumber) -> Vec<(String, String)> {
    vec![("SEAGULL_SLOT".to_owned(), slot.to_string())]
}

impl CargoTest {
    /// What came of it, by what cargo wrote and how it ended; None if it did not come to the test. A test that ended its
    /// process did not pass.
    pub fn outcome(&self, said: &str, success: bool) -> Option<Outcome> {
        if let CargoTest::Whole(build) = self {
            // cargo ends alike where a test fails and where there is nothing to run.
            return if success { Some(Outcome::Passed) } else { succeeds(build).then_some(Outcome::Failed) };
        }
        let result = said.lines().rev().find_map(|line| line.strip_prefix("test result: "));
        let counts = |what: &str| {
            result.is_some_and(|result| result.split(['.', ';']).any(|part| part.trim() == what))
        };
        match success {
            true if counts("1 passed") => Some(Outcome::Passed),
            true if counts("1 ignored") => Some(Outcome::Skipped),
            _ => said.lines().any(|line| line == "running 1 test").then_some(Outcome::Failed),
        }
    }
}

/// Whether a command ends well, whatever it says.
fn succeeds(line: &Line) -> bool {
    let mut command = line.command();
    let status = command.as_std_mut().stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

impl CommandTest {
    /// What came of it, by the report; None if the command ended well without naming it.
    pub fn outcome(&self, success: bool) -> Option<Outcome> {
        let outcome = reported(&self.junit, &self.commands, &self.id);
        outcome.or_else(|| (!success).then_some(Outcome::Failed))
    }

    /// Removes the report of the last time.
    pub fn forget(&self) {
        let _ = fs::remove_file(&self.junit);
        let _ = fs::remove_dir_all(&self.junit);
    }
}

impl Given {
    fn of(arguments: &[String]) -> Given {
        let mut given = Given::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let attached = |option: &&str| match option.strip_prefix("--") {
                Some(_) => word.strip_prefix(*option).is_some_and(|rest| rest.starts_with('=')),
                None => word.starts_with(*option),
            };
            match word.as_str() {
                "--" => given.libtest = words.by_ref().cloned().collect(),
                option if CHOICES_OF.contains(&option) => drop(words.next()),
                option if CHOICES.contains(&option) || CHOICES_OF.iter().any(attached) => {}
                option if WITH_VALUE.contains(&option) => {
                    given.options.extend(std::iter::once(word).chain(words.next()).cloned());
                }
                option if option.starts_with('-') => given.options.push(word.clone()),
                _ => given.filter.push(word.clone()),
            }
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(arguments: &str) -> [String; 3] {
        let words: Vec<_> = arguments.split_whitespace().map(str::to_owned).collect();
        let Given { options, filter, libtest } = Given::of(&words);
        [options, filter, libtest].map(|words| words.join(" "))
    }

    #[test]
    fn what_chooses_tests_is_told_from_how_they_are_built() {
        let table = [
            ("parser", ["", "parser", ""]),
            ("-p core --features fast -- --ignored x", ["--features fast", "", "--ignored x"]),
            ("-pcore --package=b --release --lib x", ["--release", "x", ""]),
            ("--test ui --tests -j 4 -Ffast --workspace", ["-j 4 -Ffast", "", ""]),
            ("--target-dir t --test=ui --profile ci", ["--target-dir t --profile ci", "", ""]),
        ];
        for (arguments, expected) in table {
            assert_eq!(given(arguments), expected, "{arguments}");
        }
    }

    #[test]
    fn a_rust_test_passes_only_if_libtest_says_so() {
        let one = CargoTest::One;
        let summed = |counts: &str| {
            format!("\nrunning 1 test\ntest t ... x\n\ntest result: x. {counts}; finished in 0s\n")
        };
        let table = [
            (summed("1 passed; 0 failed; 0 ignored"), true, Some(Outcome::Passed)),
            (summed("0 passed; 0 failed; 1 ignored"), true, Some(Outcome::Skipped)),
            (summed("0 passed; 1 failed; 0 ignored"), false, Some(Outcome::Failed)),
            // It left its process, or took it along.
            ("\nrunning 1 test\n".to_owned(), true, Some(Outcome::Failed)),
            ("\nrunning 1 test\n".to_owned(), false, Some(Outcome::Failed)),
            // There is no such test any more, or nothing was built.
            ("\nrunning 0 tests\n\ntest result: ok. 0 passed; 0 failed".to_owned(), true, None),
            (String::new(), false, None),
        ];
        for (said, success, expected) in table {
            assert_eq!(one.outcome(&said, success), expected, "{said}");
        }
    }

    #[test]
    fn a_package_is_told_from_another_of_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let member = directory.path().join("member");
        fs::create_dir(&member).unwrap();
        assert_eq!(specification(&member, "itoa"), "itoa");
        let lock = |packages: &[(&str, &str, &str)]| {
            let package = |(name, version, source): &(&str, &str, &str)| {
                let source = if source.is_empty() { String::new() } else { format!("source = '{source}'\n") };
                format!("[[package]]\nname = '{name}'\nversion = '{version}'\n{source}")
            };
            let text = packages.iter().map(package).collect::<String>();
            fs::write(directory.path().join("Cargo.lock"), format!("version = 4\n{text}")).unwrap();
        };
        lock(&[("itoa", "1.0.18", "registry"), ("itoa", "1.0.19", ""), ("serde", "1.0.0", "registry")]);
        assert_eq!(specification(&member, "itoa"), "itoa@1.0.19");
        lock(&[("itoa", "1.0.19", ""), ("serde", "1.0.0", "registry")]);
        assert_eq!(specification(&member, "itoa"), "itoa");
    }
}
