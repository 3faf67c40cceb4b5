//! The options of what is done around a run: look, ask why, run again, repeat.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use seagull_domain::RunId;
use tonic::transport::Uri;

use super::words::{color, new_run, output};
use super::{StateArgs, TlsArgs, TokenArgs, url};
use crate::duration;
use crate::report::{Color, Output};

const RUNS_EXAMPLES: &str = "\
Examples:
  seagull runs                         the last runs of this project
  seagull runs --all --limit 100       of every project in the state directory
  seagull runs --output json | jq -r 'select(.verdict == \"failed\") | .run'
  seagull runs --scheduler http://127.0.0.1:7878 --token-file token
";

const RESULTS_EXAMPLES: &str = "\
Examples:
  seagull results                      each test of the last run
  seagull results --failed             what failed in it, and why
  seagull results --slowest 20         where its time went
  seagull results 20261124-191500-ab12cd --output json | jq -r .test
";

const LOGS_EXAMPLES: &str = "\
Examples:
  seagull logs test_login              what it printed in the last run, in each of its executions
  seagull logs 20261124-191500-ab12cd 'tests/a.py::test_x[1]'
  seagull logs last --follow           of all tests as they end, and while they run
  seagull logs test_login --follow     until that test has its verdict
";

const ATTACHMENTS_EXAMPLES: &str = "\
Examples:
  seagull attachments                  what all tests of the last run have left
  seagull attachments test_login       what that test has left
  seagull attachments test_login --to shots
  seagull attachments 20261124-191500-ab12cd --output json | jq -r .name

Tests leave files in the directory SEAGULL_ATTACHMENTS, and where [attachments] patterns says.
";

const HISTORY_EXAMPLES: &str = "\
Examples:
  seagull history test_login           what it came to, and how long it took, run by run
  seagull history 'tests/a.py::test_x[1]' --runs 100
  seagull history test_login --output json | jq .seconds
";

const WATCH_EXAMPLES: &str = "\
Examples:
  seagull watch                        the run that was begun last, live or again
  seagull watch 20261124-191500-ab12cd --junit report.xml
  seagull watch last --output json | jq -c 'select(.event == \"verdict\")'

Exits as the run did. Ctrl-C ends the watching; the run goes on.
";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  seagull explain                      why the last run has its verdict and its exit code
  seagull explain test_login           why that test has its verdict there, or has none yet
  seagull explain 20261124-191500-ab12cd 'tests/a.py::test_x[1]'
";

const RERUN_EXAMPLES: &str = "\
Examples:
  seagull rerun                        what did not pass in the last run
  seagull rerun --failed               only what failed
  seagull rerun 20261124-191500-ab12cd --failed --junit again.xml

The new run has the arguments, the options and the seed of the old one, and names it. Here it runs
the working tree as it is now; on a scheduler, the files that the old run had.
";

const REPRO_EXAMPLES: &str = "\
Examples:
  seagull repro test_login               the tests before it in its worker, then the test
  seagull repro test_login --alone       the test by itself
  seagull repro test_login --until-fail  again and again until it fails
  seagull repro test_login --print | sh  the command, to keep or to change
  seagull repro 20261124-191500-ab12cd 'tests/a.py::test_x[1]'

Runs pytest itself, in the suite's directory, with the order, the seed and the variables of the
test's last failed execution. Exits with 100 if the test fails, with 0 if it passes.
";

const TESTS_EXAMPLES: &str = "\
Examples:
  seagull tests                        what failed in most runs of the last week
  seagull tests --flaky --days 30
  seagull tests --slower --limit 5     what takes longer than the week before
  seagull tests --slowest --output json
";

const SEARCH_EXAMPLES: &str = "\
Examples:
  seagull search                       what goes wrong most, of the last week
  seagull search connection refused    failures whose text has both words
  seagull search TimeoutError --days 90 --output json

Failures that went wrong the same way are shown once: the same message but for numbers and
addresses, by the same functions.
";

/// A run by name, or the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunName {
    Last,
    Id(RunId),
}

impl FromStr for RunName {
    type Err = String;

    fn from_str(text: &str) -> Result<RunName, String> {
        match text {
            "last" => Ok(RunName::Last),
            _ => text.parse().map(RunName::Id).map_err(|_| "expected a run's id, or last".to_owned()),
        }
    }
}

/// Where the runs are.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Where the runs are")]
pub struct FromArgs {
    /// On this scheduler [default: in the state directory here]
    #[arg(long, value_name = "URL", value_parser = url)]
    pub scheduler: Option<Uri>,
    #[command(flatten)]
    pub token: TokenArgs,
    #[command(flatten)]
    pub tls: TlsArgs,
    /// The name history is kept under [default: the repository's name and the folder in it]
    #[arg(long, value_name = "NAME")]
    pub project: Option<String>,
    #[command(flatten)]
    pub state: StateArgs,
}

impl FromArgs {
    /// In this state directory.
    pub fn of(state: StateArgs) -> FromArgs {
        let (token, tls) = (TokenArgs::default(), TlsArgs::default());
        FromArgs { scheduler: None, token, tls, project: None, state }
    }
}

/// In which form data is written.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct FormArgs {
    /// human: for a terminal; plain: without colours and relative times; json: an object a line
    #[arg(long, value_name = "FORM", default_value = "human", value_parser = output(), hide_possible_values = true)]
    pub output: Output,
    /// auto, always or never
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = color(), hide_possible_values = true)]
    pub color: Color,
}

/// Options of `seagull runs`.
#[derive(Debug, Clone, Args)]
#[command(after_help = RUNS_EXAMPLES)]
pub struct Runs {
    /// The newest so many
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u16).range(1..=500))]
    pub limit: u16,
    /// Of every project
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub from: FromArgs,
    #[command(flatten)]
    pub form: FormArgs,
}

/// Options of `seagull results`.
#[derive(Debug, Clone, Args)]
#[command(after_help = RESULTS_EXAMPLES)]
pub struct Results {
    /// The run's id, or last
    #[arg(value_name = "RUN", default_value = "last")]
    pub run: RunName,
    /// Only what failed
    #[arg(long)]
    pub failed: bool,
    /// Only what did not pass: failed, not executed, or without a verdict
    #[arg(long, conflicts_with = "failed")]
    pub not_passed: bool,
    /// The N tests that took longest, longest first; 10 if there is no number
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "10")]
    pub slowest: Option<NonZeroU32>,
    #[command(flatten)]
    pub from: FromArgs,
    #[command(flatten)]
    pub form: FormArgs,
}

/// A test of a run.
#[derive(Debug, Clone, Args)]
pub struct TestArgs {
    /// The run's id, or last; alone, a test of the last run
    #[arg(value_name = "RUN|TEST")]
    what: String,
    /// The test's id, the end of it, or a part of it that no other has
    #[arg(value_name = "TEST")]
    test: Option<String>,
}

impl TestArgs {
    /// Which run, and what says which of its tests. The error is wrong usage.
    pub fn parts(&self) -> Result<(RunName, &str), String> {
        match &self.test {
            None => Ok((RunName::Last, &self.what)),
            Some(test) => {
                let run = self.what.parse().map_err(|expected| format!("{}: {expected}", self.what))?;
                Ok((run, test))
            }
        }
    }
}

/// Options of `seagull logs`.
#[derive(Debug, Clone, Args)]
#[command(after_help = LOGS_EXAMPLES)]
pub struct Logs {
    /// The run's id, or last; alone, a test of the last run if no run is called so
    #[arg(value_name = "RUN|TEST", default_value = "last")]
    pub what: String,
    /// The test's id, the end of it, or a part of it that no other has; every test of the run if there is none
    #[arg(value_name = "TEST")]
    pub test: Option<String>,
    /// Go on until the run, or the test, is over, and show what tests print while they run
    #[arg(long, short)]
    pub follow: bool,
    #[command(flatten)]
    pub from: FromArgs,
    #[command(flatten)]
    pub form: FormArgs,
}

/// Options of `seagull attachments`.
#[derive(Debug, Clone, Args)]
#[command(after_help = ATTACHMENTS_EXAMPLES)]
pub struct Attachments {
    /// The run's id, or last; alone, a test of the last run if no run is called so
    #[arg(value_name = "RUN|TEST", default_value = "last")]
    pub what: String,
    /// The test's id, the end of it, or a part of it that no other has; every test of the run if there is none
    #[arg(value_name = "TEST")]
    pub test: Option<String>,
    /// Put the files into this directory
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    #[command(flatten)]
    pub from: FromArgs,
    #[command(flatten)]
    pub form: FormArgs,
}

/// Options of `seagull history`.
#[derive(Debug, Clone, Args)]
#[command(after_help = HISTORY_EXAMPLES)]
pub struct History {
    /// The test's id, the end of it, or a part of it that no other has
    #[arg(value_name = "TEST")]
    pub test: String,
    /// Search the newest so many runs of the project that have ended
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,
    #[command(flatten)]
    pub from: FromArgs,
    #[command(flatten)]
    pub form: FormArgs,
}

/// Options of `seagull tests`.
#[derive(Debug, Clone, Args)]
#[command(after_help = TESTS_EXAMPLES)]
pub struct Tests {
    /// Those that failed in most runs (this is the default)
    #[arg(long, group = "ranking")]
    pub failing: bool,
    /// Those that both passed and failed on the same revision, on most revisions
    #[arg(long, group = "ranking")]
    pub flaky: bool,
    /// Those that took longest, on average, where they passed
    #[arg(long, group = "ranking")]
    pub slowest: bool,
    /// Those that take longer than in as many days before, by most
    #[arg(long, group = "ranking")]
    pub slower: bool,
    #[command(flatten)]
    pub window: WindowArgs,
    #[command(flatten)]
    pub from: FromArgs,
    #[command(flatten)]
    pub form: FormArgs,
}

/// Options of `seagull search`.
#[derive(Debug, Clone, Args)]
#[command(after_help = SEARCH_EXAMPLES)]
pub struct Search {
    /// Words that the failure's message or stack has, all of them; any failure if there are none
    #[arg(value_name = "WORD")]
    pub words: Vec<String>,
    #[command(flatten)]
    pub window: WindowArgs,
    #[command(flatten)]
    pub from: FromArgs,
    #[command(flatten)]
    pub form: FormArgs,
}

/// Which runs are looked at, and how much is shown.
#[derive(Debug, Clone, Args)]
pub struct WindowArgs {
    /// Over the runs of the last so many days
    #[arg(long, value_name = "N", default_value = "7", value_parser = clap::value_parser!(u32).range(1..=3660))]
    pub days: u32,
    /// The first so many
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub limit: u32,
}

/// Options of `seagull watch`.
#[derive(Debug, Clone, Args)]
#[command(after_help = WATCH_EXAMPLES)]
pub struct Watch {
    /// The run's id, or last
    #[arg(value_name = "RUN", default_value = "last")]
    pub run: RunName,
    #[command(flatten)]
    pub report: super::ReportArgs,
    #[command(flatten)]
    pub from: FromArgs,
}

/// Options of `seagull explain`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXPLAIN_EXAMPLES)]
pub struct Explain {
    /// The run's id, or last; or a test of the last run
    #[arg(value_name = "RUN|TEST", default_value = "last")]
    pub what: String,
    /// The test's id, the end of it, or a part of it that no other has
    #[arg(value_name = "TEST")]
    pub test: Option<String>,
    #[command(flatten)]
    pub from: FromArgs,
    #[command(flatten)]
    pub form: FormArgs,
}

/// Options of `seagull rerun`.
#[derive(Debug, Clone, Args)]
#[command(after_help = RERUN_EXAMPLES)]
pub struct Rerun {
    /// The run's id, or last
    #[arg(value_name = "RUN", default_value = "last")]
    pub run: RunName,
    /// Only what failed
    #[arg(long)]
    pub failed: bool,
    /// All that did not pass: failed, or was not executed (this is the default)
    #[arg(long, conflicts_with = "failed")]
    pub not_passed: bool,
    /// The new run's name [default: time and chance]
    #[arg(long, value_name = "ID", value_parser = new_run)]
    pub run_id: Option<RunId>,
    /// Tests at a time on this machine [default: its cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub slots: Option<u16>,
    #[command(flatten)]
    pub report: super::ReportArgs,
    #[command(flatten)]
    pub from: FromArgs,
}

/// Options of `seagull repro`.
#[derive(Debug, Clone, Args)]
#[command(after_help = REPRO_EXAMPLES)]
pub struct Repro {
    #[command(flatten)]
    pub of: TestArgs,
    /// Print the command on standard output instead of running it
    #[arg(long)]
    pub print: bool,
    /// Only the test, without those that ran before it in its worker
    #[arg(long)]
    pub alone: bool,
    /// Run it again until it fails, at most N times if there is a number
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "0",
          conflicts_with = "print")]
    pub until_fail: Option<u32>,
    /// Where the test has services: if it fails, keep them for so long after their start
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_some, conflicts_with = "print")]
    pub hold_on_failure: Option<Duration>,
    #[command(flatten)]
    pub from: FromArgs,
}
