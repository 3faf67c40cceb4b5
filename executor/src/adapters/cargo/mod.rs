//! Rust workspaces: `cargo test` builds them once, and says how it would start each test binary, or that was done before;
//! each test then has a process of its own.

mod build;
mod built;
mod configured;
mod export;
mod libraries;
mod nextest;
mod target;

use std::path::{Path, PathBuf};

use seagull_domain::{Built, FileTests};

use super::channel::Channel;
use super::libtest;
use super::processes::{Processes, text};
use super::{Adapter, Discovered, Done, PRINTED, Stop, Test, WORDS};
use crate::agent::adapter::{Configure, Event, Finished};
pub use build::Build;
pub use built::LIST;
pub use configured::configured;
pub use export::{Exported, Given, given, lists_none};
pub use nextest::Archive;
use target::{Target, Targets};

pub(super) struct Cargo {
    processes: Processes,
    arguments: Vec<String>,
    directory: PathBuf,
    output_limit: usize,
    /// What there is already; paths are absolute.
    built: Option<Built>,
    targets: Targets,
    /// The highest resident memory of what built them: of a test that takes no more, nobody knows how much it takes.
    build_kib: u64,
}

impl Cargo {
    pub fn new(
        processes: Processes,
        configure: &Configure,
        directory: &Path,
        built: Option<&Built>,
    ) -> Cargo {
        Cargo {
            processes,
            arguments: configure.args.clone(),
            directory: directory.to_owned(),
            output_limit: configure.output_limit,
            built: built.cloned(),
            targets: Targets::new(),
            build_kib: 0,
        }
    }

    fn build(&self) -> Done<Targets> {
        let build = Build::new(&self.directory)?;
        let rustc = self.processes.ask(&mut Build::rustc()).ok();
        let rustc = rustc.and_then(|(_, stdout)| text(&stdout, WORDS).ok()).unwrap_or_default();
        let (ran, stdout) = self.processes.ask(&mut build.command(&self.arguments, &rustc))?;
        if !ran.status.success() {
            let said = ran.text(WORDS);
            let error = said.lines().find(|line| line.starts_with("error"));
            let error = error.map_or_else(|| ran.how(), str::to_owned);
            return Err(Stop::Broken(format!("cargo test does not build: {error}"), said));
        }
        build.targets(&text(&stdout, PRINTED)?).map_err(Stop::broken)
    }

    /// The tests of a target; what does not answer as libtest does is one test.
    fn list(&self, id: &str, target: &Target) -> Done<Option<FileTests>> {
        let (ran, stdout) = self.processes.ask(&mut target.list())?;
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
        let before = self.processes.cpu_seconds();
        let (seconds, judged) = if name.is_empty() {
            let ran = self.processes.run(&mut target.whole())?;
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
            cpu: self.processes.cpu_seconds() - before,
            rss: if peak_kib > self.build_kib { peak_kib } else { 0 },
            message: judged.message,
            location: judged.location,
            text: judged.text,
            attached: self.processes.put_aside(),
            ..Finished::new(test, judged.outcome)
        })))
    }
}

impl Adapter for Cargo {
    fn prepare(&mut self) -> Done<()> {
        self.targets = match &self.built {
            Some(built) => built::load(built).map_err(Stop::broken)?,
            None => self.build()?,
        };
        self.build_kib = self.processes.peak_kib();
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

/// The target's part of an id, and the test's.
fn split(id: &str) -> (&str, &str) {
    let package = id.find("::").map_or(id.len(), |at| at + 2);
    match id[package..].find("::") {
        Some(at) => (&id[..package + at], &id[package + at + 2..]),
        None => (id, ""),
    }
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
}
