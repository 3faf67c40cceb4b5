//! A build by `cargo test`, which starts a note taker in place of every test binary and of rustdoc.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::super::note::{NOTE, Note};
use super::export::Given;
use super::target::{Target, Targets, enter};
use crate::sandbox::own_program;

/// Stands for rustdoc, beside the note taker and the notes.
const RUSTDOC: &str = r#"#!/bin/sh
case " $* " in *" --test "*) ;; *) exec rustdoc "$@" ;; esac
exec "${0%/*}/seagull" adapt note "${0%/*}/notes" doc "$@"
"#;

/// The note takers and what they leave, in a directory for them.
pub struct Build {
    directory: PathBuf,
}

/// A line of cargo's about a binary.
#[derive(Deserialize)]
struct Line {
    executable: Option<PathBuf>,
    target: LineTarget,
    profile: Profile,
}

/// A line of cargo's about a build script that was run.
#[derive(Deserialize)]
struct Script {
    env: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Profile {
    /// Whether it was built to test it.
    test: bool,
}

#[derive(Deserialize)]
struct LineTarget {
    kind: Vec<String>,
    name: String,
}

impl Build {
    pub fn new(directory: &Path) -> io::Result<Build> {
        let build = Build { directory: directory.to_owned() };
        fs::create_dir(build.notes())?;
        let rustdoc = directory.join("rustdoc");
        symlink(own_program()?, directory.join("seagull"))?;
        fs::write(&rustdoc, RUSTDOC)?;
        fs::set_permissions(&rustdoc, fs::Permissions::from_mode(0o700))?;
        Ok(build)
    }

    fn notes(&self) -> PathBuf {
        self.directory.join("notes")
    }

    /// Which compiler is asked what it is.
    pub fn rustc() -> Command {
        let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        rustc.arg("-vV");
        rustc
    }

    /// Builds, and leaves the notes. `rustc` is what the compiler says of itself.
    pub fn command(&self, arguments: &[String], rustc: &str) -> Command {
        let [own, rustdoc] = ["seagull", "rustdoc"].map(|name| self.directory.join(name));
        let notes = self.notes();
        let runner =
            format!("runner = ['{}', 'adapt', '{NOTE}', '{}', 'test']", own.display(), notes.display());
        let rustdoc = format!("build.rustdoc = '{}'", rustdoc.display());
        let mut cargo = Command::new("cargo");
        cargo.args(["test", "--no-fail-fast", "--message-format=json-render-diagnostics"]);
        cargo.args(["--config", &rustdoc, "--config", &format!("target.'cfg(all())'.{runner}")]);
        // The runner of a target is stronger than that of a `cfg`.
        for target in triples(arguments, rustc) {
            cargo.args(["--config", &format!("target.'{target}'.{runner}")]);
            let name = target.to_ascii_uppercase().replace(['-', '.'], "_");
            cargo.env_remove(format!("CARGO_TARGET_{name}_RUNNER"));
        }
        cargo.args(arguments).env_remove("RUSTDOC");
        cargo
    }

    /// As [`Build::command`], in this environment and no other.
    pub fn command_in(&self, given: &Given, arguments: &[String], rustc: &str) -> Command {
        let mut command = self.command(arguments, rustc);
        let removed = command.get_envs().filter(|(_, value)| value.is_none());
        let removed: HashSet<OsString> = removed.map(|(name, _)| name.to_owned()).collect();
        command.env_clear().envs(given.iter().filter(|(name, _)| !removed.contains(*name)));
        command
    }

    /// What cargo would have started, from the notes and from what it said as it built. The error is a sentence.
    pub(super) fn targets(&self, said: &str) -> Result<Targets, String> {
        let names = named(said);
        let mut targets = Targets::new();
        let unreadable = |error: io::Error| format!("cannot read what cargo started: {error}");
        for entry in self.notes().read_dir().map_err(unreadable)?.flatten() {
            let target = Note::read(&fs::read(entry.path()).map_err(unreadable)?).and_then(Target::of);
            let target = target.ok_or("cargo started a test in a way that is not known")?;
            enter(&mut targets, target.id(&names), target)?;
        }
        let noted: HashSet<_> = targets.values().map(|target| Path::new(&target.program)).collect();
        match names.keys().filter(|program| !noted.contains(program.as_path())).min() {
            None => Ok(targets),
            Some(program) => Err(format!(
                "cargo test built {} and did not start it as it was told to\n\
                 hint: a runner in cargo's configuration stands in the way, or --no-run",
                program.display()
            )),
        }
    }
}

/// What may be built for: this machine, and what is asked for.
fn triples(arguments: &[String], rustc: &str) -> BTreeSet<String> {
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned);
    let asked = targets(arguments).chain(env::var("CARGO_BUILD_TARGET").ok());
    asked.chain(host).collect()
}

/// What arguments of cargo's say to build for.
fn targets(arguments: &[String]) -> impl Iterator<Item = String> {
    let end = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    let places = arguments[..end].iter().enumerate();
    places.filter_map(move |(place, argument)| match argument.strip_prefix("--target")? {
        "" => arguments.get(place + 1).cloned(),
        rest => rest.strip_prefix('=').map(str::to_owned),
    })
}

fn lines(said: &str) -> impl Iterator<Item = Line> {
    said.lines().filter_map(|line| serde_json::from_str(line).ok())
}

/// What test binaries are called in ids, from what cargo says as it builds.
pub(super) fn named(said: &str) -> HashMap<PathBuf, String> {
    let named = lines(said).filter(|line| line.profile.test).filter_map(|line| {
        let LineTarget { kind, name } = line.target;
        Some((line.executable?, target_name(kind.first().map_or("lib", String::as_str), &name)))
    });
    named.collect()
}

/// `lib`, `test/name`, `bin/name`.
pub(super) fn target_name(kind: &str, name: &str) -> String {
    match kind {
        "test" | "bin" | "example" | "bench" => format!("{kind}/{name}"),
        _ => "lib".to_owned(),
    }
}

/// The names of variables that build scripts set.
pub(super) fn set_by_scripts(said: &str) -> impl Iterator<Item = String> {
    let scripts = said.lines().filter_map(|line| serde_json::from_str::<Script>(line).ok());
    scripts.flat_map(|script| script.env).map(|(name, _)| name)
}

/// The programs that tests may start.
pub(super) fn programs(said: &str) -> Vec<PathBuf> {
    let programs = lines(said).filter(|line| !line.profile.test && line.target.kind == ["bin"]);
    programs.filter_map(|line| line.executable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_targets_that_are_asked_for_stand_before_the_tests_own_arguments() {
        let arguments = ["--target", "a-b", "--target-dir", "t", "--target=c-d", "--", "--target", "e-f"];
        let arguments = arguments.map(str::to_owned);
        assert_eq!(targets(&arguments).collect::<Vec<_>>(), ["a-b", "c-d"]);
        assert_eq!(targets(&arguments[..1]).count(), 0);
    }

    #[test]
    fn programs_are_what_is_no_test_nor_build_script() {
        let said = r#"{"target":{"kind":["bin"],"name":"b"},"profile":{"test":false},"executable":"/t/b"}
            {"target":{"kind":["bin"],"name":"b"},"profile":{"test":true},"executable":"/t/b-1"}
            {"target":{"kind":["custom-build"],"name":"x"},"profile":{"test":false},"executable":"/t/x"}
            {"target":{"kind":["lib"],"name":"l"},"profile":{"test":false},"executable":null}"#;
        assert_eq!(programs(said), [PathBuf::from("/t/b")]);
    }
}
