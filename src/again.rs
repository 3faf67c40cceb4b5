//! The command that runs the same suite again, for a person to paste.

use std::path::{Path, PathBuf};
use std::time::Duration;

use seagull_domain::{Isolation, RunId, RunSpec};
use tonic::transport::Uri;

use crate::cli;
use crate::client;
use crate::duration;
use crate::framework;

/// What of a command line says which suite is run, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Again {
    /// Which suite it is, and how it is run, only the run knows.
    by_name: bool,
    options: Vec<String>,
    /// Options that only `seagull run` has.
    of_run: Vec<String>,
    paths: Vec<String>,
    arguments: Vec<String>,
    /// Where the run is none can be run.
    reads_only: bool,
    /// The interpreter that is found here, where the suite runs here and none is named.
    python: Option<String>,
    /// What else the directory shows, where nothing shows the framework that runs.
    pub sign_of_another: Option<&'static str>,
}

impl Again {
    pub fn of(args: &cli::Run) -> Again {
        let (suite, at) = (&args.what.suite, &args.at);
        let given = [
            ("--project", suite.project.clone()),
            ("--branch", suite.branch.clone()),
            ("--base-branch", suite.base_branch.clone()),
            ("--framework", suite.framework.map(|name| name.to_string())),
            ("--python", suite.python.clone()),
        ];
        let given = given.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value?]));
        let access = access(at.scheduler.as_ref(), &at.token, &at.tls, at.state.state.as_deref());
        let archive = args.what.archive.as_deref().map(|file| file.to_string_lossy().into_owned());
        let of_run = [("--rev", at.rev.clone()), ("--archive", archive)];
        let of_run = of_run.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value?])).flatten();
        Again {
            by_name: false,
            options: given.flatten().chain(access).collect(),
            of_run: of_run.chain(how(&args.how)).collect(),
            paths: args.paths.clone(),
            arguments: args.arguments.clone(),
            reads_only: false,
            python: None,
            sign_of_another: None,
        }
    }

    /// Of a run that is watched.
    pub fn of_watched(from: &cli::FromArgs, reads_only: bool) -> Again {
        Again { by_name: true, options: access_of(from), reads_only, ..Again::default() }
    }

    /// Of a run that ran a part of another again, as that was asked for. The `usual` state need not be named.
    pub fn of_rerun(args: &cli::Run, usual: Option<&Path>) -> Again {
        let at = &args.at;
        let state = at.state.state.as_deref().filter(|state| Some(*state) != usual);
        let options = access(at.scheduler.as_ref(), &at.token, &at.tls, state);
        Again { by_name: true, options, ..Again::default() }
    }

    pub fn with_python(self, python: Option<PathBuf>) -> Again {
        let python = python.map(|python| python.to_string_lossy().into_owned());
        Again { python, ..self }
    }

    /// What lists the tests that are discovered, without us.
    pub fn listing(&self, spec: &RunSpec) -> String {
        let named = Some(spec.suite.python.as_str()).filter(|python| !python.is_empty());
        framework::listing(spec, named.or(self.python.as_deref()))
    }

    /// What looks at whether all is in place for the same suite.
    pub fn doctor(&self) -> String {
        self.command(&["doctor"], &[])
    }

    /// What runs the suite.
    pub fn run(&self) -> String {
        self.command(&["run"], &[])
    }

    /// What runs again what failed in the run, if anything does.
    pub fn failed(&self, run: &RunId) -> Option<String> {
        self.part(&["rerun", run.as_str(), "--failed"], &["run", "--select", "last-failed"])
    }

    /// What runs again what did not pass in the run, likewise.
    pub fn not_passed(&self, run: &RunId) -> Option<String> {
        self.part(&["rerun", run.as_str()], &["run", "--select", "not-passed"])
    }

    fn part(&self, by_name: &[&str], by_suite: &[&str]) -> Option<String> {
        (!self.reads_only).then(|| match self.by_name {
            true => self.command(by_name, &[]),
            false => self.command(by_suite, &self.of_run),
        })
    }

    fn command(&self, words: &[&str], more: &[String]) -> String {
        let words = ["seagull"].iter().chain(words).copied();
        let dashes = (!self.arguments.is_empty()).then_some("--");
        let suite = more.iter().chain(&self.options).chain(&self.paths).map(String::as_str).chain(dashes);
        quoted(words.chain(suite).chain(self.arguments.iter().map(String::as_str)))
    }
}

/// How the tests ran, where that was given. What chose or ordered them is another matter.
fn how(how: &cli::HowArgs) -> Vec<String> {
    let duration = |given: Option<Duration>| given.map(|given| duration::written(duration::millis(given)));
    let number = |given: Option<u32>| given.map(|given| given.to_string());
    let isolation = how.isolation.map(|isolation| match isolation {
        Isolation::Slot => "slot".to_owned(),
        Isolation::Bundle => "bundle".to_owned(),
        Isolation::Test => "test".to_owned(),
    });
    let flaky = how.flaky.map(|fails| if fails { "fail" } else { "ok" }.to_owned());
    let given = [
        ("--slots", how.slots.map(|slots| slots.to_string())),
        ("--cap", duration(how.cap)),
        ("--test-limit", duration(how.test_limit)),
        ("--start-limit", duration(how.start_limit)),
        ("--retries", number(how.retries)),
        ("--test-losses", number(how.test_losses)),
        ("--run-losses", number(how.run_losses)),
        ("--flaky", flaky),
        ("--seed", number(how.seed)),
        ("--grace", duration(how.grace)),
        ("--isolation", isolation),
        ("--hold-on-failure", duration(how.hold_on_failure)),
        ("--worker-memory", how.worker_memory.map(|kib| format!("{kib}KiB"))),
    ];
    let given = given.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value?]));
    given.flatten().collect()
}

/// The options of a command for the runs that another has looked at.
pub fn access_of(from: &cli::FromArgs) -> Vec<String> {
    access(from.scheduler.as_ref(), &from.token, &from.tls, from.state.state.as_deref())
}

/// The options of a command for the same scheduler and state.
pub fn access(
    scheduler: Option<&Uri>,
    token: &cli::TokenArgs,
    tls: &cli::TlsArgs,
    state: Option<&Path>,
) -> Vec<String> {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let given = [
        ("--scheduler", scheduler.map(client::name)),
        ("--token-file", scheduler.and(token.token_file.as_deref()).map(path)),
        ("--tls-ca", scheduler.and(tls.tls_ca.as_deref()).map(path)),
        ("--state", state.map(path)),
    ];
    let given = given.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value?]));
    given.flatten().collect()
}

/// Words as a POSIX shell reads them.
pub fn quoted(words: impl IntoIterator<Item: AsRef<str>>) -> String {
    words.into_iter().map(|word| quoted_word(word.as_ref())).collect::<Vec<_>>().join(" ")
}

/// A word as a POSIX shell reads it.
pub fn quoted_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use seagull_domain::{Framework, SuiteCommands};

    use super::*;

    fn again(arguments: &[&str]) -> String {
        let whole = ["seagull", "run"].iter().chain(arguments);
        match cli::Cli::parse_from(whole).command {
            cli::Command::Run(run) => Again::of(&run).failed(&"r-7".parse().unwrap()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_names_the_same_suite_in_the_same_place() {
        assert_eq!(
            again(&[
                "--retries",
                "2",
                "--fail-fast",
                "--isolation",
                "test",
                "--test-limit",
                "90s",
                "--flaky",
                "fail"
            ]),
            "seagull run --select last-failed --test-limit 1m30s --retries 2 --flaky fail --isolation test"
        );
        let nowhere = Again { paths: vec!["tests".into()], ..Again::default() };
        assert_eq!(nowhere.doctor(), "seagull doctor tests");
        assert_eq!(
            again(&["tests", "--", "-m", "not slow"]),
            "seagull run --select last-failed tests -- -m 'not slow'"
        );
        let there = ["--scheduler", "http://127.0.0.1:7878", "--token-file", "it's", "--", "--pyargs", "x"];
        assert_eq!(
            again(&there),
            r"seagull run --select last-failed --scheduler http://127.0.0.1:7878 --token-file 'it'\''s' -- --pyargs x"
        );
        let there = again(&["--scheduler", "http://127.0.0.1:7878", "--rev", "v1"]);
        assert_eq!(there, "seagull run --select last-failed --rev v1 --scheduler http://127.0.0.1:7878");
        assert_eq!(
            again(&["--archive", "a.tar.zst"]),
            "seagull run --select last-failed --archive a.tar.zst"
        );
    }

    #[test]
    fn the_tests_are_listed_by_the_interpreter_that_is_named_else_by_the_one_that_is_found() {
        let mut spec: RunSpec = serde_json::from_value(serde_json::json!({
            "id": "r-7", "owner": "o", "project": "p", "submitted_at": 0, "arguments": [], "cap_ms": 1, "retries": 0,
            "fail_fast": null, "grace_ms": 1, "seed": 1, "environment": {}, "workspace": {"in_place": {"directory": "/s"}},
        }))
        .unwrap();
        let listing = |python: Option<&str>, spec: &RunSpec| {
            Again::default().with_python(python.map(PathBuf::from)).listing(spec)
        };
        let found = Some("/suite/.venv/bin/python");
        assert!(listing(found, &spec).starts_with("/suite/.venv/bin/python -m pytest "));
        assert!(listing(None, &spec).starts_with("pytest "));
        spec.suite.python = "/other/python".into();
        assert!(listing(found, &spec).starts_with("/other/python -m pytest "));
        let discover = ["/bin/sh", "-c", "./list \"$@\" | sort", "sh", "{args}"].map(str::to_owned).to_vec();
        let commands = SuiteCommands { discover, run: Vec::new(), id: String::new(), batch_ms: 0 };
        spec.suite.framework = Framework::Command(Box::new(commands));
        spec.arguments = vec!["a b".into()];
        assert_eq!(listing(None, &spec), "./list 'a b' | sort");
    }

    #[test]
    fn a_rerun_is_run_again_by_its_name_with_what_the_first_run_was_asked_for() {
        let mut args = cli::Run { arguments: vec!["-x".into()], ..Default::default() };
        args.at.state.state = Some("state".into());
        let usual = Again::of_rerun(&args, Some(Path::new("state")));
        let again = Again::of_rerun(&args, Some(Path::new("other")));
        let run = "r-8".parse().unwrap();
        assert_eq!(usual.failed(&run).unwrap(), "seagull rerun r-8 --failed");
        assert_eq!(again.failed(&run).unwrap(), "seagull rerun r-8 --failed --state state");
        assert_eq!(again.not_passed(&run).unwrap(), "seagull rerun r-8 --state state");
    }

    #[test]
    fn a_watched_run_is_run_again_by_its_name_in_the_same_place() {
        let line = "seagull watch --scheduler https://ci:7878/ --token-file t --tls-ca ca r-7".split(' ');
        let [again, none] = match cli::Cli::parse_from(line).command {
            cli::Command::Watch(watch) => {
                [false, true].map(|reads_only| Again::of_watched(&watch.from, reads_only))
            }
            other => panic!("{other:?}"),
        };
        let (run, access) =
            ("r-7".parse().unwrap(), "--scheduler https://ci:7878 --token-file t --tls-ca ca");
        assert_eq!(again.failed(&run), Some(format!("seagull rerun r-7 --failed {access}")));
        assert_eq!(again.not_passed(&run), Some(format!("seagull rerun r-7 {access}")));
        assert_eq!((none.failed(&run), none.not_passed(&run)), (None, None), "a results proxy runs nothing");
        assert_eq!(again.doctor(), format!("seagull doctor {access}"));
    }
}
