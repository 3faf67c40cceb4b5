//! Rust workspaces: `cargo test` builds them once, and says how it would start each test binary; each test then has a
//! process of its own.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use seagull_domain::FileTests;
use serde::Deserialize;

use super::channel::Channel;
use super::libtest;
use super::processes::{Processes, text};
use super::{Adapter, Discovered, Done, Stop, Test};
use crate::agent::adapter::{Configure, Event, Finished};

/// Bytes of what cargo and a list of tests may print.
const PRINTED: usize = 256 << 20;
/// Bytes of what cargo says when it fails.
const WORDS: usize = 12 << 10;

/// Notes how cargo starts what it starts: in this way tests get exactly the environment that cargo gives them.
const NOTE: &str = include_str!("note.sh");

pub(super) struct Cargo {
    processes: Processes,
    arguments: Vec<String>,
    directory: PathBuf,
    output_limit: usize,
    /// By the beginning of their ids.
    targets: BTreeMap<String, Target>,
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
        }
    }

    /// Builds, and has cargo start the note taker in place of every test binary and of rustdoc. Tells how each binary
    /// is called in ids.
    fn build(&self, notes: &Path) -> Done<HashMap<PathBuf, String>> {
        let [runner, rustdoc] = self.write_note_takers(notes)?;
        let mut cargo = Command::new("cargo");
        cargo.args(["test", "--no-fail-fast", "--message-format=json-render-diagnostics"]);
        cargo.args(["--config", &runner, "--config", &rustdoc]);
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

    /// As settings of cargo's.
    fn write_note_takers(&self, notes: &Path) -> io::Result<[String; 2]> {
        fs::create_dir(notes)?;
        let [note, rustdoc] = ["note.sh", "rustdoc"].map(|name| self.directory.join(name));
        fs::write(&note, NOTE)?;
        let (note, notes) = (note.display(), notes.display());
        let asked_for_tests = r#"case " $* " in *" --test "*) ;; *) exec rustdoc "$@" ;; esac"#;
        let script = format!("#!/bin/sh\n{asked_for_tests}\nexec /bin/sh '{note}' '{notes}' doc \"$@\"\n");
        fs::write(&rustdoc, script)?;
        fs::set_permissions(&rustdoc, fs::Permissions::from_mode(0o700))?;
        Ok([
            format!("target.'cfg(all())'.runner = ['/bin/sh', '{note}', '{notes}', 'test']"),
            format!("build.rustdoc = '{}'", rustdoc.display()),
        ])
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
        let ran = match name {
            "" => self.processes.run(&mut target.command(&target.arguments))?,
            _ => self.processes.run(&mut target.one(name))?,
        };
        let said = ran.text(self.output_limit);
        let judged =
            if name.is_empty() { libtest::whole(&ran, said) } else { libtest::one(&ran, name, said) };
        let Some(judged) = judged else {
            return Ok(Event::Missing { test, reason: format!("{path} has no test {name}") });
        };
        Ok(Event::Finished(Box::new(Finished {
            cause: judged.cause,
            call: ran.seconds,
            rss: self.processes.peak_kib(),
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
        for entry in notes.read_dir()?.flatten() {
            let target = noted(&fs::read(entry.path())?);
            let target =
                target.ok_or_else(|| Stop::broken("cargo started a test in a way that is not known"))?;
            self.targets.insert(target.id(&names), target);
        }
        Ok(())
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

/// The target's part of an id, and the test's.
fn split(id: &str) -> (&str, &str) {
    let package = id.find("::").map_or(id.len(), |at| at + 2);
    match id[package..].find("::") {
        Some(at) => (&id[..package + at], &id[package + at + 2..]),
        None => (id, ""),
    }
}

/// What binaries are called in ids, from what cargo says as it builds.
fn built(said: &str) -> HashMap<PathBuf, String> {
    let lines = said.lines().filter_map(|line| serde_json::from_str::<Built>(line).ok());
    let named = lines.filter_map(|built| {
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

/// What the note taker wrote.
fn noted(note: &[u8]) -> Option<Target> {
    let mut words = note.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec()));
    let directory = words.next()?.into();
    let count: usize = words.next()?.to_str()?.parse().ok()?;
    let mut arguments: Vec<_> = words.by_ref().take(count).collect();
    if count < 2 || arguments.len() < count {
        return None;
    }
    let doc = arguments.remove(0) == "doc";
    let program = if doc {
        std::env::var_os("RUSTDOC").unwrap_or_else(|| "rustdoc".into())
    } else {
        arguments.remove(0)
    };
    let environment = words.filter_map(|word| {
        let bytes = word.into_vec();
        let at = bytes.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
        Some((OsString::from_vec(bytes[..at].to_vec()), OsString::from_vec(bytes[at + 1..].to_vec())))
    });
    Some(Target { doc, program, arguments, directory, environment: environment.collect() })
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
        let said = r#"{"reason":"compiler-artifact","target":{"kind":["test"],"name":"ui"},"executable":"/t/ui-1"}
            {"reason":"compiler-artifact","target":{"kind":["proc-macro"],"name":"m"},"executable":"/t/m-1"}
            {"reason":"build-finished","success":true}"#;
        let names = built(said);
        let note = b"/p\x003\0test\0/t/ui-1\0--skip\0CARGO_PKG_NAME=a\0LINES=1\n2=3\0";
        let target = noted(note).unwrap();
        assert_eq!((target.id(&names).as_str(), target.doc), ("a::test/ui", false));
        assert_eq!((target.arguments, target.directory), (vec!["--skip".into()], "/p".into()));
        assert_eq!(target.environment[1], ("LINES".into(), "1\n2=3".into()));
        assert_eq!(noted(b"/p\x002\0test\0/t/m-1\0CARGO_PKG_NAME=a\0").unwrap().id(&names), "a::lib");
        let doc = noted(b"/p\x002\0doc\0--test\0CARGO_PKG_NAME=a\0").unwrap();
        assert_eq!((doc.id(&names).as_str(), doc.arguments), ("a::doc", vec!["--test".into()]));
        for nonsense in [&b""[..], b"/p", b"/p\0x\0", b"/p\x009\0test\0"] {
            assert_eq!(noted(nonsense), None);
        }
    }
}
