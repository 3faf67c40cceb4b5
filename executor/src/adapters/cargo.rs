//! Rust workspaces: `cargo test` builds them once, and says how it would start each test binary; each test then has a
//! process of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use seagull_domain::FileTests;
use serde::Deserialize;

use super::channel::Channel;
use super::libtest;
use super::note::{NOTE, Note};
use super::processes::{Processes, text};
use super::{Adapter, Discovered, Done, PRINTED, Stop, Test, WORDS};
use crate::agent::adapter::{Configure, Event, Finished};
use crate::sandbox::own_program;

/// Stands for rustdoc, beside the note taker and the notes.
const RUSTDOC: &str = r#"#!/bin/sh
case " $* " in *" --test "*) ;; *) exec rustdoc "$@" ;; esac
exec "${0%/*}/seagull" adapt note "${0%/*}/notes" doc "$@"
"#;

pub(super) struct Cargo {
    processes: Processes,
    arguments: Vec<String>,
    directory: PathBuf,
    output_limit: usize,
    /// By the beginning of their ids.
    targets: BTreeMap<String, Target>,
    /// The highest resident memory of what built them: of a test that takes no more, nobody knows how much it takes.
    build_kib: u64,
}

/// What cargo would start.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    /// Whether it is the examples in a crate's documentation.
    doc: bool,
    program: OsString,
    arguments: Vec<OsString>,
    directory: PathBuf,
    environment: Vec<(OsString, OsString)>,
}

/// A line of cargo's about a binary.
#[derive(Deserialize)]
struct Built {
    executable: Option<PathBuf>,
    target: BuiltTarget,
    profile: Profile,
}

#[derive(Deserialize)]
struct Profile {
    /// Whether it was built to test it.
    test: bool,
}

#[derive(Deserialize)]
struct BuiltTarget {
    kind: Vec<String>,
    name: String,
}

impl Cargo {
    pub fn new(processes: Processes, configure: &Configure, directory: &Path) -> Cargo {
        Cargo {
            processes,
            arguments: configure.args.clone(),
            directory: directory.to_owned(),
            output_limit: configure.output_limit,
            targets: BTreeMap::new(),
            build_kib: 0,
        }
    }

    /// Builds, and has cargo start the note taker in place of every test binary and of rustdoc. Tells how each test
    /// binary is called in ids.
    fn build(&self, notes: &Path) -> Done<HashMap<PathBuf, String>> {
        let runner = self.write_note_takers(notes)?;
        let rustdoc = format!("build.rustdoc = '{}'", self.directory.join("rustdoc").display());
        let mut cargo = Command::new("cargo");
        cargo.args(["test", "--no-fail-fast", "--message-format=json-render-diagnostics"]);
        cargo.args(["--config", &rustdoc, "--config", &format!("target.'cfg(all())'.{runner}")]);
        // The runner of a target is stronger than that of a `cfg`.
        for target in self.triples() {
            cargo.args(["--config", &format!("target.'{target}'.{runner}")]);
            let name = target.to_ascii_uppercase().replace(['-', '.'], "_");
            cargo.env_remove(format!("CARGO_TARGET_{name}_RUNNER"));
        }
        cargo.args(&self.arguments).env_remove("RUSTDOC");
        let (ran, stdout) = self.processes.ask(&mut cargo)?;
        if !ran.status.success() {
            let said = ran.text(WORDS);
            let error = said.lines().find(|line| line.starts_with("error"));
            let error = error.map_or_else(|| ran.how(), str::to_owned);
            return Err(Stop::Broken(format!("cargo test does not build: {error}"), said));
        }
        Ok(built(&text(&stdout, PRINTED)?))
    }

    /// The runner that takes notes, as cargo's configuration has it.
    fn write_note_takers(&self, notes: &Path) -> io::Result<String> {
        fs::create_dir(notes)?;
        let [own, rustdoc] = ["seagull", "rustdoc"].map(|name| self.directory.join(name));
        symlink(own_program()?, &own)?;
        fs::write(&rustdoc, RUSTDOC)?;
        fs::set_permissions(&rustdoc, fs::Permissions::from_mode(0o700))?;
        Ok(format!("runner = ['{}', 'adapt', '{NOTE}', '{}', 'test']", own.display(), notes.display()))
    }

    /// What may be built for: this machine, and what is asked for.
    fn triples(&self) -> BTreeSet<String> {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let ran = self.processes.ask(Command::new(rustc).arg("-vV")).ok();
        let said = ran.and_then(|(_, stdout)| text(&stdout, WORDS).ok()).unwrap_or_default();
        let host = said.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned);
        let asked = targets(&self.arguments).chain(env::var("CARGO_BUILD_TARGET").ok());
        asked.chain(host).collect()
    }

    /// The tests of a target; what does not answer as libtest does is one test.
    fn list(&self, id: &str, target: &Target) -> Done<Option<FileTests>> {
        let question: &[&str] = if target.doc { &["--test-args", "--list"] } else { &["--list"] };
        let (ran, stdout) = self.processes.ask(target.command(&target.arguments).args(question))?;
        let listed = Some(text(&stdout, PRINTED)?).filter(|_| ran.status.success());
        let suffixes: Vec<String> = match listed.as_deref().and_then(libtest::listed) {
            Some(names) if !target.doc => names.into_iter().map(|name| format!("::{name}")).collect(),
            Some(names) if names.is_empty() => Vec::new(),
            _ => vec![String::new()],
        };
        Ok((!suffixes.is_empty()).then(|| FileTests { path: id.to_owned(), suffixes }))
    }

    fn execute(&self, test: u32, id: &str) -> Done<Event> {
        let (path, name) = split(id);
        let Some(target) = self.targets.get(path) else {
            return Ok(Event::Missing { test, reason: format!("cargo test has no {path} here") });
        };
        let (seconds, judged) = if name.is_empty() {
            let ran = self.processes.run(&mut target.command(&target.arguments))?;
            (ran.seconds, libtest::whole(&ran, ran.text(self.output_limit)))
        } else {
            let ran = self.processes.run(&mut target.one(name))?;
            match libtest::one(&ran, name, ran.text(self.output_limit)) {
                Some(judged) => (ran.seconds, judged),
                None => return Ok(Event::Missing { test, reason: format!("{path} has no test {name}") }),
            }
        };
        let peak_kib = self.processes.peak_kib();
        Ok(Event::Finished(Box::new(Finished {
            cause: judged.cause,
            call: seconds,
            rss: if peak_kib > self.build_kib { peak_kib } else { 0 },
            message: judged.message,
            location: judged.location,
            text: judged.text,
            ..Finished::new(test, judged.outcome)
        })))
    }
}

impl Adapter for Cargo {
    fn prepare(&mut self) -> Done<()> {
        let notes = self.directory.join("notes");
        let names = self.build(&notes)?;
        self.build_kib = self.processes.peak_kib();
        for entry in notes.read_dir()?.flatten() {
            let target = Note::read(&fs::read(entry.path())?).and_then(Target::of);
            let target =
                target.ok_or_else(|| Stop::broken("cargo started a test in a way that is not known"))?;
            enter(&mut self.targets, target.id(&names), target)?;
        }
        let noted: HashSet<_> = self.targets.values().map(|target| Path::new(&target.program)).collect();
        match names.keys().filter(|program| !noted.contains(program.as_path())).min() {
            None => Ok(()),
            Some(program) => Err(Stop::broken(format!(
                "cargo test built {} and did not start it as it was told to\n\
                 hint: a runner in cargo's configuration stands in the way, or --no-run",
                program.display()
            ))),
        }
    }

    fn discover(&mut self) -> Done<Discovered> {
        let mut found = Discovered::default();
        for (id, target) in &self.targets {
            found.files.extend(self.list(id, target)?);
        }
        Ok(found)
    }

    fn run(&mut self, tests: Vec<Test>, channel: &mut Channel) -> Done<()> {
        for (test, id) in tests {
            channel.say(&Event::Started { test });
            let event = self.execute(test, &id).map_err(|stop| stop.within(test))?;
            channel.say(&event);
        }
        Ok(())
    }
}

impl Target {
    /// None if cargo does not start targets so.
    fn of(note: Note) -> Option<Target> {
        let Note { directory, words, environment } = note;
        let mut words = words.into_iter();
        let doc = words.next()? == "doc";
        let program =
            if doc { env::var_os("RUSTDOC").unwrap_or_else(|| "rustdoc".into()) } else { words.next()? };
        Some(Target { doc, program, arguments: words.collect(), directory, environment })
    }

    /// `package::lib`, `package::test/name`, `package::doc`.
    fn id(&self, names: &HashMap<PathBuf, String>) -> String {
        let package = self.environment.iter().find(|(name, _)| name == "CARGO_PKG_NAME");
        let package = package.map_or("", |(_, value)| value.to_str().unwrap_or_default());
        let program = Path::new(&self.program);
        let target = match names.get(program) {
            _ if self.doc => "doc".into(),
            Some(name) => name.into(),
            None => program.file_name().unwrap_or_default().to_string_lossy(),
        };
        format!("{package}::{target}")
    }

    fn command(&self, arguments: &[OsString]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(&self.directory);
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Of the user's arguments only that ignored tests are wanted matters to one test; a filter would select others.
    fn one(&self, name: &str) -> Command {
        let ignored = |argument: &OsString| argument == "--ignored" || argument == "--include-ignored";
        let mut command = self.command(&[]);
        if self.arguments.iter().any(ignored) {
            command.arg("--include-ignored");
        }
        command.args(["--exact", "--nocapture", name]);
        command
    }
}

/// No two are called the same: one of them would not run.
fn enter(targets: &mut BTreeMap<String, Target>, id: String, target: Target) -> Done<()> {
    if targets.contains_key(&id) {
        let message = format!("cargo test starts two binaries that are called {id}");
        return Err(Stop::broken(message + "\nhint: one --target at a time"));
    }
    targets.insert(id, target);
    Ok(())
}

/// The target's part of an id, and the test's.
fn split(id: &str) -> (&str, &str) {
    let package = id.find("::").map_or(id.len(), |at| at + 2);
    match id[package..].find("::") {
        Some(at) => (&id[..package + at], &id[package + at + 2..]),
        None => (id, ""),
    }
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

/// What test binaries are called in ids, from what cargo says as it builds.
fn built(said: &str) -> HashMap<PathBuf, String> {
    let lines = said.lines().filter_map(|line| serde_json::from_str::<Built>(line).ok());
    let named = lines.filter(|built| built.profile.test).filter_map(|built| {
        let BuiltTarget { kind, name } = built.target;
        let kind = kind.first().map_or("lib", String::as_str);
        let name = match kind {
            "test" | "bin" | "example" | "bench" => format!("{kind}/{name}"),
            _ => "lib".to_owned(),
        };
        Some((built.executable?, name))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_target_and_a_test() {
        assert_eq!(split("a::lib::x::y"), ("a::lib", "x::y"));
        assert_eq!(split("a::test/ui"), ("a::test/ui", ""));
        assert_eq!(split("a"), ("a", ""));
        assert_eq!(split(""), ("", ""));
    }

    #[test]
    fn a_note_says_how_cargo_starts_a_binary_and_its_messages_say_what_it_is() {
        let said = r#"{"target":{"kind":["test"],"name":"ui"},"profile":{"test":true},"executable":"/t/ui-1"}
            {"target":{"kind":["proc-macro"],"name":"m"},"profile":{"test":true},"executable":"/t/m-1"}
            {"target":{"kind":["bin"],"name":"b"},"profile":{"test":false},"executable":"/t/b"}
            {"reason":"build-finished","success":true}"#;
        let names = built(said);
        assert_eq!(names.len(), 2);
        let noted = |words: &[&str]| {
            let environment = vec![("CARGO_PKG_NAME".into(), "a".into())];
            let words = words.iter().map(Into::into).collect();
            Target::of(Note { directory: "/p".into(), words, environment })
        };
        let target = noted(&["test", "/t/ui-1", "--skip"]).unwrap();
        assert_eq!((target.id(&names).as_str(), target.doc), ("a::test/ui", false));
        assert_eq!((target.arguments, target.directory), (vec!["--skip".into()], "/p".into()));
        assert_eq!(noted(&["test", "/t/m-1"]).unwrap().id(&names), "a::lib");
        let doc = noted(&["doc", "--test"]).unwrap();
        assert_eq!((doc.id(&names).as_str(), doc.arguments), ("a::doc", vec!["--test".into()]));
        assert_eq!((noted(&[]), noted(&["test"])), (None, None));

        let mut targets = BTreeMap::new();
        let mut entered = |program| {
            let target = noted(&["test", program]).unwrap();
            enter(&mut targets, target.id(&names), target)
        };
        assert_eq!((entered("/t/ui-1"), entered("/t/m-1")), (Ok(()), Ok(())));
        assert!(matches!(entered("/t/ui-1"), Err(Stop::Broken(why, _)) if why.contains("called a::test/ui")));
    }

    #[test]
    fn the_targets_that_are_asked_for_stand_before_the_tests_own_arguments() {
        let arguments = ["--target", "a-b", "--target-dir", "t", "--target=c-d", "--", "--target", "e-f"];
        let arguments = arguments.map(str::to_owned);
        assert_eq!(targets(&arguments).collect::<Vec<_>>(), ["a-b", "c-d"]);
        assert_eq!(targets(&arguments[..1]).count(), 0);
    }
}
