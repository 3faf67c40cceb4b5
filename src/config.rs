//! `seagull.toml`: what a suite says about itself. Unknown keys are warned of, bad values are usage errors.

mod command;
mod places;
mod reader;
mod ready;
mod services;
mod setup;
mod test_container;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use seagull_domain::Definition;
use seagull_domain::{Algorithm, Isolation, SecretSource, SuiteCommands};

use crate::duration;
use crate::errors::usage;
use crate::framework;
use crate::memory;
pub use command::ARGUMENTS;
use reader::Reader;
pub use services::cpus;
pub use setup::Setup;

pub const FILE: &str = "seagull.toml";

/// A suite's settings. What is not set is decided elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Where it was found.
    pub file: Option<PathBuf>,
    pub project: Option<String>,
    /// What all others are made from.
    pub main_branch: Option<String>,
    pub framework: Option<framework::Name>,
    pub command: Option<SuiteCommands>,
    /// As it is written.
    pub python: Option<String>,
    pub controller: Option<bool>,
    /// Whether cargo builds on each executor, and not here.
    pub build_on_executors: bool,
    pub artifact_root: Option<PathBuf>,
    /// Patterns of files, relative to the file.
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    pub setup: Option<Setup>,
    pub env: BTreeMap<String, String>,
    /// Names of variables.
    pub pass_env: Vec<String>,
    pub secrets: BTreeMap<String, SecretSource>,
    pub run: RunDefaults,
    /// Patterns of files that tests leave, relative to where they run.
    pub attachments: Vec<String>,
    pub retention: Ages,
    /// By name, each with the services that it needs.
    pub environments: BTreeMap<String, Definition>,
    /// What a person should know, a sentence each.
    pub warnings: Vec<String>,
    /// Every key that was asked for, whether it is there or not.
    #[cfg(test)]
    pub known: std::collections::BTreeSet<String>,
}

/// `[run]`: what the options of `seagull run` are if they are not given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunDefaults {
    pub slots: Option<u16>,
    pub cap: Option<Duration>,
    pub algorithm: Option<Algorithm>,
    pub time_limit: Option<Duration>,
    pub test_limit: Option<Duration>,
    pub start_limit: Option<Duration>,
    pub retries: Option<u32>,
    pub test_losses: Option<u32>,
    pub run_losses: Option<u32>,
    pub fail_fast: Option<u32>,
    pub flaky_fails: Option<bool>,
    pub grace: Option<Duration>,
    pub isolation: Option<Isolation>,
    /// In KiB.
    pub worker_memory: Option<u64>,
    pub early_start: Option<bool>,
    pub second_copy: Option<bool>,
}

/// `[retention]`: at which age what is kept may go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ages {
    pub passed_logs: Option<Duration>,
    pub failed_logs: Option<Duration>,
    pub results: Option<Duration>,
    pub timings: Option<Duration>,
    pub artifacts: Option<Duration>,
    pub attachments: Option<Duration>,
}

impl Config {
    /// The settings for a directory: the nearest file in it or above, up to the repository's top. Without a repository
    /// nobody knows whether what is above, which may be anybody's, belongs to the suite; settings are commands that run,
    /// so it is not read, which is said.
    pub fn find(directory: &Path, repository: Option<&Path>) -> anyhow::Result<Config> {
        let top = repository.unwrap_or(directory);
        for candidate in directory.ancestors().take_while(|above| above.starts_with(top)) {
            let file = candidate.join(FILE);
            match fs::read_to_string(&file) {
                Ok(text) => return Config::parse(&file, &text),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
            }
        }
        let above = directory.ancestors().skip(1).map(|above| above.join(FILE));
        let unread = above.filter(|_| repository.is_none()).find(|file| file.is_file());
        let warnings = unread.iter().map(|file| unread_warning(file)).collect();
        Ok(Config { warnings, ..Config::default() })
    }

    /// The directory of the file.
    pub fn directory(&self) -> Option<&Path> {
        self.file.as_deref().and_then(Path::parent)
    }

    fn parse(file: &Path, text: &str) -> anyhow::Result<Config> {
        let mut reader = Reader::new(file, text)?;
        let mut config = Config { file: Some(file.to_owned()), ..Config::default() };
        config.project = reader.text("project")?;
        config.main_branch = reader.text("main-branch")?;
        config.framework = reader.parsed("framework", str::parse)?;
        config.pass_env = reader.texts_of("pass-env", setup::names)?.unwrap_or_default();
        let mut command = reader.table("command")?;
        config.command = command::read(&mut command)?;
        let strange = config.command.iter().flat_map(command::warnings);
        config.warnings = strange.map(|warning| format!("{}: {warning}", file.display())).collect();
        let mut pytest = reader.table("pytest")?;
        config.python = pytest.text("python")?;
        config.controller = pytest.truth("controller")?;
        let mut cargo = reader.table("cargo")?;
        config.build_on_executors = cargo.parsed("build", on_executors)?.unwrap_or(false);
        let mut artifact = reader.table("artifact")?;
        let root = artifact.text("root")?;
        config.artifact_root = root.map(|root| file.parent().unwrap_or(Path::new("")).join(root));
        config.include = setup::patterns(&mut artifact, "include")?.unwrap_or_default();
        config.exclude = setup::patterns(&mut artifact, "exclude")?.unwrap_or_default();
        let mut setup = reader.table("setup")?;
        config.setup = setup::read(&mut setup)?;
        config.env = reader.table("env")?.texts()?;
        config.secrets = reader.table("secrets")?.all(str::parse)?;
        if let Some(name) = config.secrets.keys().find(|name| config.env.contains_key(*name)) {
            let hint = "hint: leave it in one of them";
            return Err(usage(format!("{}: secrets.{name}: [env] sets it too\n{hint}", file.display())));
        }
        let mut run = reader.table("run")?;
        config.run = run_defaults(&mut run)?;
        let mut attachments = reader.table("attachments")?;
        config.attachments = setup::patterns(&mut attachments, "patterns")?.unwrap_or_default();
        let mut retention = reader.table("retention")?;
        config.retention = Ages {
            passed_logs: retention.parsed("passed-logs", duration::parse_age)?,
            failed_logs: retention.parsed("failed-logs", duration::parse_age)?,
            results: retention.parsed("results", duration::parse_age)?,
            timings: retention.parsed("timings", duration::parse_age)?,
            artifacts: retention.parsed("artifacts", duration::parse_age)?,
            attachments: retention.parsed("attachments", duration::parse_age)?,
        };
        let [services, environment] = [reader.table("services")?, reader.table("environment")?];
        let read = services::read(services, environment, file);
        let (environments, named) = read.map_err(|error| reader.with_unknown(&error))?;
        config.environments = environments;
        let readers = [reader, command, pytest, cargo, artifact, setup, attachments, run, retention];
        config.tell_unknown(readers, named);
        Ok(config)
    }

    /// Warns of what nothing asked for, once all is read. What is meant may be in another table, but in none of those
    /// whose names are the suite's own.
    fn tell_unknown<const N: usize>(&mut self, readers: [Reader; N], named: Vec<Reader>) {
        let known: Vec<String> = readers.iter().flat_map(Reader::known).collect();
        #[cfg(test)]
        self.known.extend(known.iter().cloned().chain(named.iter().flat_map(Reader::known)));
        let readers = readers.into_iter().chain(named);
        let mut unknown: Vec<_> = readers.flat_map(|reader| reader.unknown(&known)).collect();
        unknown.sort_by_key(|(line, _)| *line);
        self.warnings.extend(unknown.into_iter().map(|(_, warning)| warning));
    }
}

fn unread_warning(file: &Path) -> String {
    format!("{} is not used: outside a git repository only one in the working directory is", file.display())
}

fn run_defaults(run: &mut Reader) -> anyhow::Result<RunDefaults> {
    Ok(RunDefaults {
        slots: run.number("slots", 1..=4096)?,
        cap: run.parsed("cap", duration::parse_some)?,
        algorithm: run.parsed("algorithm", algorithm)?,
        time_limit: run.parsed("time-limit", duration::parse_some)?,
        test_limit: run.parsed("test-limit", duration::parse_some)?,
        start_limit: run.parsed("start-limit", duration::parse_some)?,
        retries: run.number("retries", 0..=1000)?,
        test_losses: run.number("test-losses", 1..=u32::MAX)?,
        run_losses: run.number("run-losses", 1..=u32::MAX)?,
        fail_fast: run.number("fail-fast", 1..=u32::MAX)?,
        flaky_fails: run.parsed("flaky", flaky_fails)?,
        grace: run.parsed("grace", duration::parse)?,
        isolation: run.parsed("isolation", isolation)?,
        worker_memory: run.parsed("worker-memory", memory::parse_kib)?,
        early_start: run.truth("early-start")?,
        second_copy: run.truth("second-copy")?,
    })
}

/// Whether a flaky test fails the run: `ok` or `fail`.
pub fn flaky_fails(text: &str) -> Result<bool, String> {
    match text {
        "ok" => Ok(false),
        "fail" => Ok(true),
        _ => Err("expected ok or fail".to_owned()),
    }
}

/// Whether cargo builds on executors.
fn on_executors(text: &str) -> Result<bool, String> {
    match text {
        "here" => Ok(false),
        "executors" => Ok(true),
        _ => Err("expected here or executors".to_owned()),
    }
}

/// What looks for a plan.
pub fn algorithm(text: &str) -> Result<Algorithm, String> {
    match text {
        "greedy" => Ok(Algorithm::Greedy),
        "ilp" => Ok(Algorithm::Ilp),
        "auto" => Ok(Algorithm::Auto),
        _ => Err("expected greedy, ilp or auto".to_owned()),
    }
}

/// What a worker lives for.
pub fn isolation(text: &str) -> Result<Isolation, String> {
    match text {
        "slot" => Ok(Isolation::Slot),
        "bundle" => Ok(Isolation::Bundle),
        "test" => Ok(Isolation::Test),
        _ => Err("expected slot, bundle or test".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Config> {
        Config::parse(Path::new("/suite/seagull.toml"), text)
    }

    fn refusal(text: &str) -> String {
        let error = parse(text).unwrap_err();
        assert!(error.is::<crate::errors::Usage>());
        error.to_string()
    }

    #[test]
    fn everything_can_be_set() {
        let text = r#"
            project = "shop"
            pass-env = ["TOKEN"]
            [pytest]
            python = ".venv/bin/python"
            controller = true
            [cargo]
            build = "executors"
            [artifact]
            root = ".."
            include = ["build/*.so"]
            exclude = ["data"]
            [setup]
            run = ["make", "venv"]
            inputs = ["requirements.txt"]
            [env]
            MODE = "test"
            [secrets]
            KEY = "file:/run/key"
            [run]
            slots = 4
            cap = "5m"
            algorithm = "greedy"
            time-limit = "2s"
            test-limit = "1m"
            start-limit = "20m"
            retries = 2
            test-losses = 5
            run-losses = 50
            fail-fast = 10
            flaky = "fail"
            grace = "30s"
            isolation = "bundle"
            worker-memory = "2GiB"
            early-start = false
            second-copy = false
            [retention]
            passed-logs = "1d"
            failed-logs = "2d"
            results = "3d"
            timings = "400d"
            artifacts = "12h"
            attachments = "5d"
            [attachments]
            patterns = ["screenshots/**/*.png", "core*"]
        "#;
        let config = parse(text).unwrap();
        assert_eq!(config.warnings, Vec::<String>::new());
        assert_eq!(config.project.as_deref(), Some("shop"));
        assert_eq!(config.python.as_deref(), Some(".venv/bin/python"));
        assert_eq!(config.controller, Some(true));
        assert_eq!(config.artifact_root.as_deref(), Some(Path::new("/suite/..")));
        assert_eq!(
            (config.include, config.exclude),
            (vec!["build/*.so".to_owned()], vec!["data".to_owned()])
        );
        assert_eq!(config.pass_env, ["TOKEN"]);
        assert_eq!(config.attachments, ["screenshots/**/*.png", "core*"]);
        assert_eq!(config.setup.unwrap().inputs, ["requirements.txt"]);
        assert_eq!(config.env, BTreeMap::from([("MODE".to_owned(), "test".to_owned())]));
        assert_eq!(config.secrets["KEY"], SecretSource::File("/run/key".into()));
        let run = RunDefaults {
            slots: Some(4),
            cap: Some(Duration::from_secs(300)),
            algorithm: Some(Algorithm::Greedy),
            time_limit: Some(Duration::from_secs(2)),
            test_limit: Some(Duration::from_secs(60)),
            start_limit: Some(Duration::from_secs(1200)),
            retries: Some(2),
            test_losses: Some(5),
            run_losses: Some(50),
            fail_fast: Some(10),
            flaky_fails: Some(true),
            grace: Some(Duration::from_secs(30)),
            isolation: Some(Isolation::Bundle),
            worker_memory: Some(2 << 20),
            early_start: Some(false),
            second_copy: Some(false),
        };
        assert_eq!(config.run, run);
        let day = Duration::from_secs(86_400);
        let ages = Ages {
            passed_logs: Some(day),
            failed_logs: Some(2 * day),
            results: Some(3 * day),
            timings: Some(400 * day),
            artifacts: Some(day / 2),
            attachments: Some(5 * day),
        };
        assert_eq!(config.retention, ages);
    }

    #[test]
    fn unknown_keys_are_warned_of_with_the_nearest_known_one() {
        let text = "projekt = 'x'\nslots = 3\n[run]\nslot = 3\npython = 'x'\nretry = 1\nselect = 'a'\n\
            [setup]\nrun = 'a'\ncommand = 'x'\n[docker]\nimage = 'x'\n[envs]\nA = 'x'\n[services.db]\nimage = 'x'\nport = 1\n\
            [environment.db]\nservices = ['db']\nservice = 'x'\n";
        let config = parse(text).unwrap();
        let expected = [
            "/suite/seagull.toml:1: unknown key projekt; did you mean project?",
            "/suite/seagull.toml:2: unknown key slots; did you mean run.slots?",
            "/suite/seagull.toml:4: unknown key run.slot; did you mean run.slots?",
            "/suite/seagull.toml:5: unknown key run.python; did you mean pytest.python?",
            "/suite/seagull.toml:6: unknown key run.retry; did you mean run.retries?",
            "/suite/seagull.toml:7: unknown key run.select; --select is for the command line only",
            "/suite/seagull.toml:10: unknown key setup.command",
            "/suite/seagull.toml:11: unknown key docker",
            "/suite/seagull.toml:13: unknown key envs; did you mean env?",
            "/suite/seagull.toml:17: unknown key services.db.port; did you mean services.db.ports?",
            "/suite/seagull.toml:20: unknown key environment.db.service; did you mean environment.db.services?",
        ];
        assert_eq!(config.warnings, expected);
    }

    /// The keys of a schema and of the tables in it, as they are written from the top.
    fn described(schema: &serde_json::Value, prefix: &str) -> Vec<String> {
        let parts = schema["properties"].as_object().into_iter().flatten();
        let keys = parts.flat_map(|(key, part)| {
            let named = described(&part["additionalProperties"], &format!("{prefix}{key}.any."));
            let inside = described(part, &format!("{prefix}{key}.")).into_iter().chain(named);
            std::iter::once(format!("{prefix}{key}")).chain(inside)
        });
        keys.collect()
    }

    #[test]
    fn the_schema_has_the_keys_that_are_read() {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/seagull.schema.json"));
        let schema: serde_json::Value = serde_json::from_str(text).unwrap();
        let every = "[services.any]\nimage = 'x'\n[environment.any]\nservices = ['any']\n";
        let known = parse(every).unwrap().known;
        assert_eq!(described(&schema, "").into_iter().collect::<std::collections::BTreeSet<_>>(), known);
        let (properties, _) = text.split_once("\"$defs\"").unwrap();
        for key in schema["properties"].as_object().unwrap().keys() {
            let count = properties.matches(&format!("\n    \"{key}\": {{")).count();
            assert_eq!(count, 1, "{key} is there more than once");
        }
    }

    #[test]
    fn bad_values_name_file_and_key() {
        let table = [
            ("[run]\ncap = 10", "2: run.cap = 10: expected a duration such as 500ms, 90s, 10m or 1h30m"),
            (
                "[run]\ncap = '10 m'",
                "2: run.cap = '10 m': expected a duration such as 500ms, 90s, 10m or 1h30m",
            ),
            ("[run]\nslots = 0", "2: run.slots = 0: expected a number from 1 to 4096"),
            ("\n[run]\nslots = '2'", "3: run.slots = '2': expected a number from 1 to 4096"),
            ("[run]\nfail-fast = true", "2: run.fail-fast = true: expected a number from 1 to 4294967295"),
            ("[run]\nalgorithm = 'best'", "2: run.algorithm = 'best': expected greedy, ilp or auto"),
            ("[run]\nisolation = 'process'", "2: run.isolation = 'process': expected slot, bundle or test"),
            (
                "[run]\nworker-memory = '2'",
                "2: run.worker-memory = '2': expected a size such as 512MiB or 2GiB",
            ),
            ("run.flaky = 'maybe'", "1: run.flaky = 'maybe': expected ok or fail"),
            ("[run]\nearly-start = 'no'", "2: run.early-start = 'no': expected true or false"),
            ("pytest = 3", "1: pytest: expected a table"),
            ("env = 'TOKEN=hunter2'", "1: env: expected a table"),
            ("[pytest]\ncontroller = 'yes'", "2: pytest.controller = 'yes': expected true or false"),
            ("framework = 3", "1: framework = 3: expected pytest, cargo or command"),
            ("[cargo]\nbuild = 'there'", "2: cargo.build = 'there': expected here or executors"),
            // Values that may be secret are not shown.
            ("[env]\nDEBUG = 1", "2: env.DEBUG: expected a text"),
            ("[secrets]\nKEY = 1", "2: secrets.KEY: expected a text"),
            (
                "[secrets]\nKEY = 'hunter2'",
                "2: secrets.KEY: expected env:NAME or file:/PATH, where an executor finds it",
            ),
        ];
        for (text, expected) in table {
            let hint = "hint: seagull docs run and seagull docs sandboxes show every setting";
            assert_eq!(refusal(text), format!("/suite/seagull.toml:{expected}\n{hint}"), "{text}");
        }
        let twice = refusal("[env]\nKEY = 'a'\n[secrets]\nKEY = 'env:A'");
        assert!(twice.starts_with("/suite/seagull.toml: secrets.KEY: [env] sets it too\nhint: "), "{twice}");
        let strange = refusal("a = 1\ncap = = 3");
        assert!(
            strange.starts_with("/suite/seagull.toml:2: cap: ") && !strange.contains("quotes"),
            "{strange}"
        );
        assert!(!refusal("[run").contains("quotes"));
        let unquoted = refusal("[env]\nTOKEN = hunter2");
        assert!(unquoted.contains(":2: TOKEN: ") && !unquoted.contains("hunter2"), "{unquoted}");
        assert!(
            unquoted.contains("\nhint: seagull docs run and seagull docs sandboxes show every setting; a text stands in quotes"),
            "{unquoted}"
        );
    }

    #[test]
    fn the_nearest_file_up_to_the_top_counts() {
        let root = tempfile::tempdir().unwrap();
        let suite = root.path().join("repo/suite/deep");
        fs::create_dir_all(&suite).unwrap();
        let write = |path: &str, project: &str| {
            fs::write(root.path().join(path).join(FILE), format!("project = '{project}'")).unwrap();
        };
        let repo = root.path().join("repo");
        let project = |top| Config::find(&suite, top).unwrap().project;
        write("", "outside");
        assert_eq!(project(Some(repo.as_path())), None);
        write("repo", "top");
        assert_eq!(project(Some(repo.as_path())).as_deref(), Some("top"));
        assert_eq!(project(None), None);
        let warnings = |top| Config::find(&suite, top).unwrap().warnings;
        let unread = format!("{} is not used: ", repo.join(FILE).display());
        assert!(
            matches!(&warnings(None)[..], [warning] if warning.starts_with(&unread)),
            "{:?}",
            warnings(None)
        );
        write("repo/suite", "suite");
        assert_eq!(project(Some(repo.as_path())).as_deref(), Some("suite"));
        fs::remove_file(repo.join("suite").join(FILE)).unwrap();
        fs::remove_file(repo.join(FILE)).unwrap();
        assert!(warnings(Some(repo.as_path())).is_empty(), "what is outside the repository is another's");
    }
}
