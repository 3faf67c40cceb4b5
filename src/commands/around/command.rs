//! The command line with which the framework alone runs a test as it ran in a run.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use seagull_domain::{SecretSource, TestIndex};
use seagull_executor::docker::Program;
use seagull_executor::secrets::Secrets;
use serde::Deserialize;
use tokio::process::Command;

use crate::again::quoted_word;
use crate::errors::usage;
use crate::report::around::{Execution, Story};

/// More bytes of ids than this go into a file; the system takes about a million at most.
const IDS_BYTES: usize = 100_000;
/// What the names of secrets have in them.
const SECRETS: [&str; 5] = ["TOKEN", "SECRET", "PASSW", "CREDENTIAL", "KEY"];
/// Where Python searches for modules, too.
const SEARCH: &str = "PYTHONPATH";
/// The pytest from which on arguments may be in a file.
const FILES_SINCE: [u32; 2] = [8, 2];

/// What pytest says of the run's arguments.
#[derive(Debug, Deserialize)]
pub struct Probe {
    /// The `pytest` beside the interpreter.
    script: Option<String>,
    python: String,
    version: Vec<u32>,
    rootdir: PathBuf,
    inipath: Option<PathBuf>,
    /// Those of the arguments that say what is collected.
    paths: Vec<String>,
    /// It would give the tests to processes of its own.
    distributes: bool,
    /// It would stop after some failures.
    stops: bool,
    /// It would change the order.
    shuffles: bool,
    /// The suite gives pytest-randomly a seed of its own.
    seeds: bool,
    /// Its PYTHONPATH.
    search: String,
    /// It would measure coverage, and perhaps fail for too little of it.
    covers: bool,
    /// What of the suite puts something into `workerinput` where it has a controller.
    pub gives: Option<String>,
}

pub struct Line {
    directory: PathBuf,
    variables: Vec<(String, String)>,
    /// More variables, whose values are shown by where they come from.
    secrets: Secrets,
    sources: BTreeMap<String, SecretSource>,
    program: Vec<String>,
    pub arguments: Vec<String>,
    ids: Vec<String>,
    /// Where Python searches for modules, too, if no variable of these says so.
    search: String,
    /// What has it run where the names of its services are known.
    before: Vec<OsString>,
}

/// The variables that the test's worker had, and this process may not have.
pub fn variables(story: &Story) -> Vec<(String, String)> {
    let seed = || std::env::var("PYTHONHASHSEED").unwrap_or_else(|_| story.spec.seed.to_string());
    let seed = story.spec.suite.framework.may_be_python().then(seed);
    let seed = seed.map(|seed| ("PYTHONHASHSEED".to_owned(), seed));
    let given = story.spec.suite.variables.clone();
    let rev = Some(story.spec.rev.clone()).filter(|rev| !rev.is_empty());
    let rev = rev.map(|rev| ("SEAGULL_REV".to_owned(), rev));
    seed.into_iter().chain(rev).chain(given).collect()
}

impl Line {
    pub fn new(story: &Story, execution: &Execution, probe: &Probe, directory: &Path, alone: bool) -> Line {
        let slot = execution.slot;
        let identity = [
            ("PYTEST_XDIST_WORKER", format!("gw{slot}")),
            ("PYTEST_XDIST_WORKER_COUNT", story.slots.to_string()),
            ("PYTEST_XDIST_TESTRUNUID", story.run.to_string()),
            ("SEAGULL_SLOT", slot.to_string()),
        ];
        let identity = identity.map(|(name, value)| (name.to_owned(), value));
        let controller = story.spec.suite.controller.filter(|wanted| !wanted);
        let controller = controller.map(|_| ("SEAGULL_CONTROLLER".to_owned(), "false".to_owned()));
        let before = if alone { &[] } else { execution.before.as_slice() };
        let tests = before.iter().chain([&execution.result.test]);
        let is_whole_file =
            |test: &TestIndex| story.parts(*test).is_some_and(|(_, suffix)| suffix.is_empty());
        Line {
            directory: directory.to_owned(),
            variables: variables(story).into_iter().chain(identity).chain(controller).collect(),
            secrets: Secrets::default(),
            sources: BTreeMap::new(),
            program: match &probe.script {
                Some(script) => vec![inside(Path::new(script), directory)],
                None => vec![probe.python.clone(), "-m".to_owned(), "pytest".to_owned()],
            },
            arguments: arguments(story, probe, directory, tests.clone().any(is_whole_file)),
            ids: tests.filter_map(|test| id(story, probe, directory, *test)).collect(),
            search: probe.search.clone(),
            before: Vec::new(),
        }
    }

    /// Words of another framework, with variables beside those of the run.
    pub fn of(words: Vec<String>, story: &Story, directory: &Path, more: Vec<(String, String)>) -> Line {
        Line {
            directory: directory.to_owned(),
            variables: variables(story).into_iter().chain(more).collect(),
            program: words,
            arguments: Vec::new(),
            ids: Vec::new(),
            secrets: Secrets::default(),
            sources: BTreeMap::new(),
            search: String::new(),
            before: Vec::new(),
        }
    }

    /// With variables that others of the same names win over.
    pub fn beside(mut self, variables: Vec<(String, String)>) -> Line {
        self.variables.splice(0..0, variables);
        self
    }

    /// With secrets, which win over all variables.
    pub fn with_secrets(self, secrets: Secrets, sources: &BTreeMap<String, SecretSource>) -> Line {
        Line { secrets, sources: sources.clone(), ..self }
    }

    /// Run by other words, which become it.
    pub fn by(self, before: Vec<OsString>) -> Line {
        Line { before, ..self }
    }

    /// Moves ids that are too many for a command line into a file in a directory, where pytest can read them from one.
    pub fn shorten(&mut self, probe: &Probe, directory: &Path) -> anyhow::Result<()> {
        if self.ids.iter().map(|id| id.len() + 1).sum::<usize>() <= IDS_BYTES {
            return Ok(());
        }
        if probe.version.as_slice() < &FILES_SINCE[..] || self.ids.iter().any(|id| id.contains('\n')) {
            return Err(usage(format!(
                "{} tests are too many for a command line\nhint: --alone leaves those before the test out",
                self.ids.len()
            )));
        }
        let failed = || format!("cannot write to {}", directory.display());
        let file = tempfile::Builder::new().prefix("seagull-repro-").suffix(".txt").tempfile_in(directory);
        let (mut file, path) = file.with_context(failed)?.keep().with_context(failed)?;
        file.write_all((self.ids.join("\n") + "\n").as_bytes()).with_context(failed)?;
        self.ids = vec![format!("@{}", path.display())];
        Ok(())
    }

    /// Has pytest load a plugin from a folder.
    pub fn plug(&mut self, name: &str, folder: &Path) {
        let given = self.variables.iter().rposition(|(variable, _)| variable == SEARCH);
        let before = match given {
            Some(place) => self.variables.remove(place).1,
            None => self.search.clone(),
        };
        let colon = if before.is_empty() { "" } else { ":" };
        self.variables.push((SEARCH.to_owned(), format!("{}{colon}{before}", folder.display())));
        self.arguments.splice(0..0, ["-p".to_owned(), name.to_owned()]);
    }

    /// For a person to paste.
    pub fn as_shell(&self) -> String {
        self.written(|_| false)
    }

    /// For a person to read, and whoever reads a log: without the values that by their names are secrets.
    pub fn as_told(&self) -> String {
        self.written(|name| SECRETS.iter().any(|word| name.to_ascii_uppercase().contains(word)))
    }

    fn written(&self, is_secret: impl Fn(&str) -> bool) -> String {
        let value =
            |name: &str, value: &str| if is_secret(name) { "...".to_owned() } else { quoted_word(value) };
        let variables = self.variables.iter().map(|(name, given)| format!("{name}={}", value(name, given)));
        let secrets = self.sources.iter().map(|(name, source)| format!("{name}={}", expression(source)));
        let words = self.program.iter().chain(&self.arguments).chain(&self.ids).map(|word| quoted_word(word));
        let words: Vec<_> = variables.chain(secrets).chain(words).collect();
        format!("cd {} && env {}", quoted_word(&self.directory.to_string_lossy()), words.join(" "))
    }

    /// As it is run in a room, which has the secrets.
    pub fn inside(&self) -> Program<'_> {
        let words = [self.program.as_slice(), &self.arguments, &self.ids].concat();
        Program { words, variables: &self.variables, directory: &self.directory }
    }

    pub fn command(&self) -> Command {
        // A name alone is searched for.
        let program = Path::new(&self.program[0]);
        let is_path = program.components().nth(1).is_some();
        let program = if is_path { self.directory.join(program) } else { program.to_owned() };
        let mut words = self.before.iter().map(OsString::as_os_str).chain([program.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).args(&self.program[1..]).args(&self.arguments).args(&self.ids);
        command.current_dir(&self.directory).envs(self.variables.iter().cloned()).stdin(Stdio::null());
        command.envs(self.secrets.variables().iter().cloned());
        command
    }
}

/// What a shell makes the value of.
fn expression(source: &SecretSource) -> String {
    match source {
        SecretSource::Variable(name) => format!("\"${{{name}}}\""),
        SecretSource::File(path) => format!("\"$(cat {})\"", quoted_word(&path.to_string_lossy())),
    }
}

/// The run's arguments without its paths, and what keeps pytest to the same files, order and process.
fn arguments(story: &Story, probe: &Probe, directory: &Path, uncollected: bool) -> Vec<String> {
    let mut arguments = story.spec.arguments.clone();
    // The same word may be an option's value: paths are rather at the end.
    for path in probe.paths.iter().rev() {
        if let Some(place) = arguments.iter().rposition(|argument| argument == path) {
            arguments.remove(place);
        }
    }
    let has = |option: &str| {
        story.spec.arguments.iter().any(|a| a == option || a.starts_with(&format!("{option}=")))
    };
    if !has("--rootdir") {
        arguments.push(format!("--rootdir={}", probe.rootdir.display()));
    }
    if let Some(path) = probe.inipath.as_ref().filter(|_| !has("-c")) {
        arguments.extend(["-c".to_owned(), inside(path, directory)]);
    }
    if probe.distributes {
        arguments.extend(["-n0", "--dist=no"].map(str::to_owned));
    }
    if probe.stops {
        arguments.push("--maxfail=0".to_owned());
    }
    if uncollected {
        arguments.push("--continue-on-collection-errors".to_owned());
    }
    if probe.covers {
        arguments.push("--no-cov".to_owned());
    }
    if probe.shuffles {
        if !probe.seeds {
            arguments.push(format!("--randomly-seed={}", story.spec.seed));
        }
        arguments.push("--randomly-dont-reorganize".to_owned());
    }
    arguments
}

/// A test as an argument: ids are relative to the root, arguments to the directory.
fn id(story: &Story, probe: &Probe, directory: &Path, test: TestIndex) -> Option<String> {
    let (path, suffix) = story.parts(test)?;
    Some(inside(&probe.rootdir.join(path), directory) + suffix)
}

/// A path as it is written in a directory.
fn inside(path: &Path, directory: &Path) -> String {
    path.strip_prefix(directory).unwrap_or(path).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use seagull_domain::{
        AttemptId, FileTests, Isolation, Manifest, Outcome, Relation, RunEvent, RunSpec, Seq, SlotNumber,
        StreamItem, TestCause, TestResult,
    };

    use super::*;
    use crate::report::around::Teller;

    fn spec(arguments: &[&str]) -> RunSpec {
        let spec = serde_json::json!({
            "id": "r-7", "owner": "o", "project": "p", "submitted_at": 0, "arguments": arguments, "cap_ms": 1,
            "retries": 0, "fail_fast": null, "grace_ms": 1, "seed": 42,
            "environment": {"variables": {"DB": "a b"}}, "workspace": {"in_place": {"directory": "/s"}},
        });
        serde_json::from_value(spec).unwrap()
    }

    /// Its last two tests are related.
    fn manifest() -> Arc<Manifest> {
        let file = |path: &str, suffixes: &[&str]| FileTests {
            path: path.into(),
            suffixes: suffixes.iter().map(|suffix| (*suffix).to_owned()).collect(),
        };
        let files = vec![file("a.py", &["::x", "::y", "::z"]), file("sub/b.py", &["::x[a b]"])];
        let relations = vec![Relation { ordered: false, tests: vec![TestIndex(2), TestIndex(3)] }];
        Arc::new(Manifest { files, relations, ..Manifest::default() })
    }

    /// Tests as they were executed: in which slot, and what killed the worker.
    fn story(arguments: &[&str], text: &str, executed: &[(u32, u32, Option<TestCause>)]) -> Story {
        story_of(spec(arguments), text, executed)
    }

    /// Each attempt has two tests, and each worker a peak memory of 100 KiB.
    fn story_of(spec: RunSpec, text: &str, executed: &[(u32, u32, Option<TestCause>)]) -> Story {
        let mut teller = Teller::new("r-7".parse().unwrap(), text);
        teller.item(StreamItem { seq: Seq(1), event: RunEvent::RunStarted(Box::new(spec)) });
        teller.manifest(&manifest());
        for (test, slot, cause) in executed {
            let result = TestResult {
                cpu_us: 0,
                test: TestIndex(*test),
                ordinal: 0,
                last: true,
                outcome: cause.map_or(Outcome::Passed, |_| Outcome::Failed),
                detail: String::new(),
                cause: *cause,
                phases: [0; 3],
                peak_kib: 100,
                started_at: 0,
                message: String::new(),
                location: String::new(),
                text: None,
            };
            let event = RunEvent::TestFinished {
                result,
                attempt: AttemptId(u64::from(*test / 2)),
                executor: "e".parse().unwrap(),
                slot: SlotNumber(*slot),
                evidence: None,
            };
            teller.item(StreamItem { seq: Seq(2), event });
        }
        teller.close().unwrap()
    }

    fn probe(rootdir: &str, paths: &[&str]) -> Probe {
        Probe {
            script: Some("/s/.venv/bin/pytest".into()),
            python: "/usr/bin/python3".into(),
            version: vec![8, 2],
            rootdir: rootdir.into(),
            inipath: Some("/s/pytest.ini".into()),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            distributes: false,
            stops: false,
            shuffles: false,
            seeds: false,
            covers: false,
            search: String::new(),
            gives: None,
        }
    }

    fn line(story: &Story, probe: &Probe, alone: bool) -> Line {
        Line::new(story, story.telling().unwrap(), probe, Path::new("/s"), alone)
    }

    #[test]
    fn the_order_of_the_worker_leads_to_the_test() {
        let executed = [(3, 0, None), (1, 1, None), (0, 0, None), (2, 0, Some(TestCause::Assertion))];
        let story = story(&[], "z", &executed);
        assert_eq!(line(&story, &probe("/s", &[]), false).ids, ["sub/b.py::x[a b]", "a.py::x", "a.py::z"]);
        assert_eq!(line(&story, &probe("/s", &[]), true).ids, ["a.py::z"]);
        // Ids are relative to the root, arguments to the directory.
        assert_eq!(line(&story, &probe("/", &[]), true).ids, ["/a.py::z"]);
    }

    #[test]
    fn a_worker_that_died_is_no_part_of_the_next_ones_order() {
        for cause in [TestCause::Crashed, TestCause::TimedOut] {
            let story = story(&[], "z", &[(3, 0, None), (0, 0, Some(cause)), (1, 0, None), (2, 0, None)]);
            assert_eq!(line(&story, &probe("/s", &[]), false).ids, ["a.py::y", "a.py::z"]);
        }
        // A failed execution tells more than the last one, and a test is named once.
        let assertion = Some(TestCause::Assertion);
        let story = story(&[], "z", &[(2, 0, None), (0, 0, None), (2, 0, assertion), (2, 1, None)]);
        assert_eq!(line(&story, &probe("/s", &[]), false).ids, ["a.py::x", "a.py::z"]);
    }

    #[test]
    fn a_worker_that_was_renewed_had_run_nothing_before_but_what_is_related() {
        let ids = |text: &str, change: fn(&mut RunSpec)| {
            let mut spec = spec(&[]);
            change(&mut spec);
            let story = story_of(spec, text, &[(0, 0, None), (1, 0, None), (3, 0, None), (2, 0, None)]);
            line(&story, &probe("/s", &[]), false).ids
        };
        let related = ["sub/b.py::x[a b]", "a.py::z"];
        let isolated: fn(&mut RunSpec) = |spec| spec.isolation = Isolation::Test;
        for renewed in [isolated, |spec| spec.worker_memory_kib = Some(99)] {
            assert_eq!(ids("y", renewed), ["a.py::y"]);
            assert_eq!(ids("z", renewed), related);
        }
        assert_eq!(ids("y", |spec| spec.isolation = Isolation::Bundle), ["a.py::x", "a.py::y"]);
        assert_eq!(ids("z", |spec| spec.isolation = Isolation::Bundle), related);
        assert_eq!(ids("z", |spec| spec.worker_memory_kib = Some(100)).len(), 4);
    }

    #[test]
    fn the_line_has_the_options_the_seed_and_the_variables_but_not_the_paths() {
        let story = story(&["-k", "sub", "sub", "-x"], "x[a b]", &[(3, 1, None)]);
        let mut probe = probe("/s", &["sub"]);
        (probe.stops, probe.shuffles, probe.distributes) = (true, true, true);
        let shell = line(&story, &probe, false).as_shell();
        let expected = "cd /s && env PYTHONHASHSEED=42 DB='a b' PYTEST_XDIST_WORKER=gw1 PYTEST_XDIST_WORKER_COUNT=2 \
            PYTEST_XDIST_TESTRUNUID=r-7 SEAGULL_SLOT=1 .venv/bin/pytest -k sub -x --rootdir=/s -c pytest.ini -n0 \
            --dist=no --maxfail=0 --randomly-seed=42 --randomly-dont-reorganize 'sub/b.py::x[a b]'";
        // One that is set here wins.
        let seed = std::env::var("PYTHONHASHSEED").unwrap_or_else(|_| "42".to_owned());
        assert_eq!(shell, expected.replace("PYTHONHASHSEED=42", &format!("PYTHONHASHSEED={seed}")));
    }

    #[test]
    fn a_seed_of_the_suites_own_stays_and_no_coverage_is_asked_for() {
        let story = story(&[], "z", &[(2, 0, None)]);
        let mut probe = probe("/s", &[]);
        (probe.shuffles, probe.seeds, probe.covers) = (true, true, true);
        let line = line(&story, &probe, true);
        assert_eq!(
            line.arguments,
            ["--rootdir=/s", "-c", "pytest.ini", "--no-cov", "--randomly-dont-reorganize"]
        );
    }

    #[test]
    fn what_is_told_has_no_secrets_and_what_is_to_be_pasted_has() {
        let story = story(&[], "z", &[(2, 0, None)]);
        let mut line = line(&story, &probe("/s", &[]), true);
        line.variables.push(("Api_Key".to_owned(), "xyzzy".to_owned()));
        assert!(line.as_told().contains(" Api_Key=... ") && line.as_told().contains(" DB='a b' "));
        assert!(line.as_shell().contains(" Api_Key=xyzzy "));
    }

    #[test]
    fn a_secret_is_given_by_value_and_shown_by_where_it_is() {
        let story = story(&[], "z", &[(2, 0, None)]);
        let sources = [("A", "env:PATH"), ("B", "file:/run/it")];
        let sources = sources.map(|(name, source)| (name.to_owned(), source.parse().unwrap())).into();
        let only = BTreeMap::from([("A".to_owned(), SecretSource::Variable("PATH".into()))]);
        let line = line(&story, &probe("/s", &[]), true);
        let line = line.with_secrets(Secrets::find(&only).unwrap(), &sources);
        let expected = r#" A="${PATH}" B="$(cat /run/it)" "#;
        assert!(line.as_told().contains(expected) && line.as_shell().contains(expected));
        let command = line.command();
        let given = command.as_std().get_envs().find(|(name, _)| *name == "A").unwrap();
        assert_eq!(given.1, std::env::var_os("PATH").as_deref());
    }

    #[test]
    fn a_plugin_is_searched_for_before_what_the_suite_searches() {
        let story = story(&[], "z", &[(2, 0, None)]);
        let mut line = line(&story, &probe("/s", &[]), true);
        line.variables.push((SEARCH.to_owned(), "lib".to_owned()));
        line.plug("outcome", Path::new("/tmp/x"));
        assert_eq!(line.arguments[..2], ["-p", "outcome"]);
        let search: Vec<_> = line.variables.iter().filter(|(name, _)| name == SEARCH).collect();
        assert_eq!(search, [&(SEARCH.to_owned(), "/tmp/x:lib".to_owned())]);
    }

    #[test]
    fn too_many_ids_go_into_a_file_where_pytest_reads_one() {
        let story = story(&[], "z", &[(2, 0, None)]);
        let mut probe = probe("/s", &[]);
        let mut long = line(&story, &probe, false);
        long.ids = vec!["x".repeat(IDS_BYTES), "a.py::z".to_owned()];
        let directory = tempfile::tempdir().unwrap();
        long.shorten(&probe, directory.path()).unwrap();
        let path = Path::new(long.ids[0].strip_prefix('@').unwrap());
        assert!(std::fs::read_to_string(path).unwrap().ends_with("x\na.py::z\n"));
        assert!(path.starts_with(directory.path()));
        let mode = std::os::unix::fs::MetadataExt::mode(&path.metadata().unwrap());
        assert_eq!(mode & 0o077, 0, "others cannot read it");
        probe.version = vec![7, 4];
        long.ids = vec!["x".repeat(IDS_BYTES)];
        assert!(long.shorten(&probe, directory.path()).unwrap_err().is::<crate::errors::Usage>());
    }
}
