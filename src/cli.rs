//! The command line: options, their help, and nothing of what they do.

mod around;
mod begin;
mod fleet;
mod habits;
mod keep;
mod manual;
mod plan;
mod services;
mod words;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use seagull_domain::{Algorithm, Isolation, RunId};
use seagull_proto::limits;
use tonic::transport::Uri;

use self::words::{algorithm, color, flaky, framework, isolation, new_run, output};
use crate::report::{Color, Files, Output};
use crate::{duration, framework, memory};
pub use around::{
    Attachments, Explain, FormArgs, FromArgs, History, Logs, Repro, Rerun, Results, RunName, Runs, Search,
    Tests, Watch,
};
pub use begin::{Doctor, Init};
pub use fleet::{Drain, Executor, FaceArgs, OfExecutors, ResultsProxy, Scheduler};
pub use habits::refuse;
pub use keep::{AgeArgs, Export, Import, Sweep};
pub use manual::{Completions, Docs, Man, Shell};
pub use plan::{CostArgs, Plan};
pub use services::{Down, Gc, Named, OfServices, ServiceLogs, ServiceShell, Services, Templates, Up};

const EXAMPLES: &str = "\
Examples:
  seagull run                              run the suite of this directory on all cores
  seagull run tests/unit -- -m 'not slow'  some paths, with arguments for pytest
  seagull run --help                       all options of a run
  seagull doctor                           whether all is in place, step by step
  seagull results --failed                 what failed in the last run
  seagull explain last test_login          why a test has its verdict
  seagull rerun                            what did not pass in the last run, again
";

const RUN_EXAMPLES: &str = "\
Examples:
  seagull run                              the suite of this directory, on all cores
  seagull run tests/unit tests/test_a.py   some paths
  seagull run -- -m 'not slow' -p no:cov   arguments for pytest itself
  seagull run -- --pyargs networkx         the tests of an installed package
  seagull run -- -p core --features fast   arguments for cargo test, in a Rust workspace
  seagull run --archive tests.tar.zst      what cargo nextest archive has built
  seagull run --select last-failed         what failed last time
  seagull run --junit report.xml --retries 2 --fail-fast=20
  seagull run --changed --fail-fast        what this branch changed first, to the first failure
  seagull run --output json | jq -r 'select(.event == \"verdict\" and .verdict == \"failed\") | .test'
  seagull run --scheduler http://127.0.0.1:7878 --token-file .seagull/token
  seagull run --scheduler https://ci.example.com:7878 --token-file token --rev origin/main --detach

Exit codes, the first that applies:
  130  cancelled
  100  a test failed, or a suite error, or a flaky test under --flaky fail
  102  nothing could start
  101  something was not executed, or there are no tests
    0  passed
    1  an error of seagull's own
    2  wrong usage

Ctrl-C once: running tests are interrupted and tear down, then the run ends. Twice: they are killed.
";

/// Runs a test suite sharded over slots and machines, with exactly one verdict for every test.
#[derive(Debug, Parser)]
#[command(name = "seagull", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Run a test suite, here or on a scheduler's executors
    ///
    /// Discovers the tests of the working directory's suite, packs them into bundles by how long they took before,
    /// runs the bundles on every slot at once, and shows one verdict for each test. Without --scheduler everything
    /// happens on this machine and in this working tree, and nothing needs to be set up. Options that seagull.toml
    /// sets in its [run] table need not be given.
    Run(Box<Run>),
    /// Show how tests would be packed into bundles, and how few there can be; nothing runs
    ///
    /// The tests of the working directory's suite, discovered as for a run and predicted by what they took before; or a list of
    /// durations, without any suite.
    Plan(Box<Plan>),
    /// List the last runs
    ///
    /// Runs that are under way, that have broken off, and ended ones that are kept.
    Runs(Box<Runs>),
    /// Show what each test of a run came to
    ///
    /// Of a run that is under way: so far.
    Results(Box<Results>),
    /// Show what a test printed, in each of its executions
    Logs(Box<Logs>),
    /// List the files that tests of a run have left, or fetch them
    ///
    /// Screenshots, traces, core dumps: `seagull docs attachments` says how tests leave them.
    Attachments(Box<Attachments>),
    /// Follow a run that is under way, or show one that has ended again
    ///
    /// Shows what `seagull run` shows, from the run's beginning.
    Watch(Box<Watch>),
    /// Say why a run or a test has its verdict
    ///
    /// Of a test: its executions, where each ran, what it came to and why, retries, and what did not count. Of a run:
    /// the rule behind its verdict and exit code, the plan against what happened, and what was lost.
    Explain(Box<Explain>),
    /// Run again what did not pass in a run
    ///
    /// Makes a new run that names the old one; verdicts that were good stand.
    Rerun(Box<Rerun>),
    /// Run a test as it ran in a run, with the framework alone
    ///
    /// pytest, with the order, the seed and the variables it had; cargo test, or the suite's own command, for it alone.
    Repro(Box<Repro>),
    /// Show what a test came to, and how long it took, over runs
    ///
    /// From ended runs that are kept. Of runs that are not, only what they taught about durations is left.
    History(Box<History>),
    /// Show which tests fail most, are flaky, slow, or slower than before
    ///
    /// Over the runs of some days, from the index.
    Tests(Box<Tests>),
    /// Search failures by the words of their messages and stacks
    ///
    /// Those that went wrong the same way are shown once, with how many there are, and the newest.
    Search(Box<Search>),
    /// Remove what is kept of old runs, by its age; keep some whatever their age
    ///
    /// Logs of what passed go first, then those of what failed, artifacts, results, and what is known of tests that are gone.
    Gc(Box<Sweep>),
    /// Write what ended runs came to as compressed JSON lines, for DuckDB, pandas and their like
    Export(Box<Export>),
    /// Learn from JUnit reports of another CI, or from another state directory
    ///
    /// How long tests took and what they came to last: the first run is packed by it, and begins with what failed.
    Import(Import),
    /// Write a seagull.toml to begin with
    ///
    /// Every setting is in it, commented out, with what it is for and its default. Overwrites one that is there
    /// only with --force.
    Init(Init),
    /// Look step by step at whether all is in place for a run
    ///
    /// Settings, framework, setup, interpreter, two discoveries whose ids are compared, one test alone, one bundle, the
    /// sandbox of each environment that tests are in, what would be sent to a scheduler, and a scheduler, if it is named. Each step is ok, a warning or a problem, with what to do.
    Doctor(Box<Doctor>),
    /// Serve runs to executors, until interrupted
    ///
    /// Prints `listening on http://ADDRESS` (with a certificate `https`) on standard output once it can be reached.
    Scheduler(Box<Scheduler>),
    /// Serve what ended runs left in a store and an index, without their scheduler, until interrupted
    ///
    /// For results, logs and artifacts: all commands that read take its URL as --scheduler. It takes no runs.
    #[command(name = "results-proxy")]
    ResultsProxy(Box<ResultsProxy>),
    /// Offer this machine's slots to a scheduler, until interrupted
    ///
    /// Fetches each run's artifact once, and runs its tests in sandboxes. May join and leave at any time.
    Executor(Box<Executor>),
    /// Start, look at and remove the services that tests need, on a Docker engine
    ///
    /// Those of an environment of seagull.toml, in a network of their own: nothing else on the machine sees them but
    /// through free ports of 127.0.0.1.
    #[command(disable_help_subcommand = true)]
    Services(Box<Services>),
    /// Print a script that completes commands and options in a shell
    Completions(Completions),
    /// Print the manual page, or that of a command
    Man(Man),
    /// Print a page of the documentation, as Markdown
    Docs(Docs),
}

#[derive(Debug, Clone, Default, Args)]
pub struct StateArgs {
    /// Where journal, history and blobs are kept [default: .seagull beside seagull.toml, else at the top of the
    /// repository, else here]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, Args)]
pub struct TokenArgs {
    /// The file with the scheduler's token
    #[arg(long, value_name = "FILE", env = "SEAGULL_TOKEN_FILE", hide_env_values = true)]
    pub token_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, Args)]
pub struct TlsArgs {
    /// Trust the certificate of an https:// scheduler by the authorities of this PEM file [default: those that this
    /// machine knows]
    #[arg(long, value_name = "FILE", env = "SEAGULL_TLS_CA", hide_env_values = true)]
    pub tls_ca: Option<PathBuf>,
}

/// Options of `seagull run`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub struct Run {
    /// Files, directories or test ids, of a Rust workspace cargo's filter; what the suite is configured with if none is given
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// Arguments for the framework, as they are
    #[arg(last = true, value_name = "FRAMEWORK ARGS")]
    pub arguments: Vec<String>,
    #[command(flatten)]
    pub what: WhatArgs,
    #[command(flatten)]
    pub how: HowArgs,
    #[command(flatten)]
    pub report: ReportArgs,
    #[command(flatten)]
    pub at: WhereArgs,
}

/// Which tests, under which name.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "What to run")]
pub struct WhatArgs {
    /// Only these of the discovered tests: a path, an id, a glob, last-failed, not-passed, failed@RUN or not-passed@RUN;
    /// may be repeated
    #[arg(long, value_name = "EXPR")]
    pub select: Vec<String>,
    /// The run's name; an ended run of that name is shown again, one that was broken off goes on [default: time and
    /// chance]
    #[arg(long, value_name = "ID", value_parser = new_run)]
    pub run_id: Option<RunId>,
    /// Run the tests in an archive of cargo nextest (.tar.zst), in the workspace that it was made of; nothing is built
    #[arg(long, value_name = "FILE")]
    pub archive: Option<PathBuf>,
    #[command(flatten)]
    pub suite: SuiteArgs,
}

/// Which suite it is, and what runs it.
#[derive(Debug, Clone, Default, Args)]
pub struct SuiteArgs {
    /// The name history is kept under [default: the repository's name and the folder in it]
    #[arg(long, value_name = "NAME")]
    pub project: Option<String>,
    /// The branch whose history counts first, and is added to [default: of the CI's job, else git's]
    #[arg(long, value_name = "NAME", value_parser = branch)]
    pub branch: Option<String>,
    /// The branch that this one was made from, whose history counts next; that of the main branch comes last [default: what the
    /// CI's job is to be merged into, else what git knows]
    #[arg(long, value_name = "NAME", value_parser = branch)]
    pub base_branch: Option<String>,
    /// What runs the tests: pytest, cargo or command [default: command where seagull.toml has [command], cargo where
    /// there is a Cargo.toml and no pytest suite, else pytest]
    #[arg(long, value_name = "NAME", value_parser = framework(), hide_possible_values = true)]
    pub framework: Option<framework::Name>,
    /// The interpreter, with all that is needed: [setup] does not run [default: of [setup], VIRTUAL_ENV, CONDA_PREFIX,
    /// .venv, PATH, the first there is]
    #[arg(long, value_name = "PATH")]
    pub python: Option<String>,
}

/// The rules of the run.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "How to run it")]
pub struct HowArgs {
    /// Tests at a time on this machine [default: its cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub slots: Option<u16>,
    /// The longest bundle [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_some)]
    pub cap: Option<Duration>,
    /// How bundles are found while no bound proves that fewer do not do: greedy; ilp, the solver; auto, greedy and then the
    /// solver [default: auto]
    #[arg(long, value_name = "NAME", value_parser = algorithm(), hide_possible_values = true)]
    pub algorithm: Option<Algorithm>,
    /// Stop planning after so long, with the best plan so far; where no bound proves a plan, what is longer than a second is used
    /// [default: it ends by itself, after about a second]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_some)]
    pub time_limit: Option<Duration>,
    /// Kill a test that takes longer, and keep its stack [default: 10 times what it took before, at least 5m; 1h if it is new]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_some)]
    pub test_limit: Option<Duration>,
    /// Kill a worker that takes longer to start, to discover the tests, to collect a file, or to end its session; a setup
    /// has nine tenths of it [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_some)]
    pub start_limit: Option<Duration>,
    /// Run a failed test again so often; failed and passed is flaky [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub retries: Option<u32>,
    /// Give a test up that was lost with its executor, or could not be started, so often [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub test_losses: Option<u32>,
    /// Stop after so many losses [default: 100, or a twentieth of the tests if that is more]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub run_losses: Option<u32>,
    /// Stop after so many failed tests, 1 if there is no number
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub fail_fast: Option<u32>,
    /// Whether a flaky test is a failure: ok or fail [default: ok]
    #[arg(long, value_name = "WORD", value_parser = flaky(), hide_possible_values = true)]
    pub flaky: Option<bool>,
    /// The seed of every worker, for pytest-randomly and, unless PYTHONHASHSEED is set, for hashes [default: chance;
    /// run_started says which]
    #[arg(long, value_name = "N")]
    pub seed: Option<u32>,
    /// How long a test that is interrupted, or a worker of a run that is, may tear down before it is killed [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub grace: Option<Duration>,
    /// What a worker lives for: slot (all that its slot runs), bundle, or test (a new interpreter for each) [default:
    /// slot]
    #[arg(long, value_name = "WORD", value_parser = isolation(), hide_possible_values = true)]
    pub isolation: Option<Isolation>,
    /// Renew a worker that has more resident memory after a test, such as 2GiB [default: never]
    #[arg(long, value_name = "SIZE", value_parser = memory::parse_kib)]
    pub worker_memory: Option<u64>,
    /// Keep the services of a failed test as it left them, for so long; at most 3 on a machine at a time [default: not at
    /// all]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_some)]
    pub hold_on_failure: Option<Duration>,
    /// Run tests of files that have changed first, and those named after one: what differs from where HEAD left BASE
    /// [default BASE: the default branch of origin, else the branch's upstream, else main or master; else HEAD]
    #[arg(long, value_name = "BASE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub changed: Option<String>,
    /// Run nothing before the tests are discovered [default: meanwhile run those of the last run, which count if they are
    /// found]
    #[arg(long)]
    pub no_early_start: bool,
    /// Run no test a second time while it still runs [default: at the end of a run, where it takes far longer than
    /// predicted, on another executor]
    #[arg(long)]
    pub no_second_copy: bool,
}

/// What is told of the run.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Reports")]
pub struct ReportArgs {
    /// Write a JUnit XML report
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write an HTML report: one page, with nothing to fetch
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// human: a live display, lines if this is no terminal; plain: lines without colours; json: events on standard
    /// output
    #[arg(long, value_name = "FORM", default_value = "human", value_parser = output(), hide_possible_values = true)]
    pub output: Output,
    /// auto, always or never
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = color(), hide_possible_values = true)]
    pub color: Color,
    /// Show what tests print while they run, line by line
    #[arg(long)]
    pub live: bool,
}

impl ReportArgs {
    /// The files that are written.
    pub fn files(&self) -> Files {
        Files { junit: self.junit.clone(), html: self.html.clone() }
    }
}

/// Where it runs, and where state is kept.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Where to run it")]
pub struct WhereArgs {
    /// Run on this scheduler's executors; the working tree is packed and sent there
    #[arg(long, value_name = "URL", value_parser = url)]
    pub scheduler: Option<Uri>,
    #[command(flatten)]
    pub token: TokenArgs,
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Send the files of this commit, branch or tag instead of the working tree's
    #[arg(long, value_name = "REV")]
    pub rev: Option<String>,
    /// Leave the run once it is accepted; its id is the only line on standard output
    #[arg(long)]
    pub detach: bool,
    /// Cancel the run when nobody has watched it for so long, because its client is lost [default: 1h; never with
    /// --detach]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_some)]
    pub orphan: Option<Duration>,
    /// Send more than 500 MB of files if it must be
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub state: StateArgs,
}

/// Whether `seagull run` has an option of this name.
pub fn is_option_of_run(name: &str) -> bool {
    let run = Run::augment_args(clap::Command::new("run"));
    run.get_arguments().any(|argument| argument.get_long() == Some(name))
}

fn branch(text: &str) -> Result<String, String> {
    let fits = (1..=limits::WORD_BYTES).contains(&text.len());
    fits.then(|| text.to_owned())
        .ok_or_else(|| format!("expected a name of at most {} bytes", limits::WORD_BYTES))
}

/// The address of a scheduler.
fn url(text: &str) -> Result<Uri, String> {
    let expected = || "expected https://HOST:PORT or http://HOST:PORT".to_owned();
    let uri: Uri = text.parse().map_err(|_| expected())?;
    let known =
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty());
    let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    if known && bare && uri.port_u16().is_some() { Ok(uri) } else { Err(expected()) }
}

#[cfg(test)]
mod tests;
