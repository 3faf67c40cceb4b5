//! The options of `seagull plan`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use seagull_domain::Algorithm;

use super::words::{algorithm, color, output};
use super::{StateArgs, SuiteArgs};
use crate::duration;
use crate::report::{Color, Output};

const PLAN_EXAMPLES: &str = "\
Examples:
  seagull plan                             how the suite of this directory would be packed
  seagull plan --slots 8,16,32,64          what so many slots would take and cost
  seagull plan --timings tests.csv --cap 10m --scope-setup 4s --sandbox-start 20s
  seagull plan --html plan.html            a page that shows each bundle
  zcat tests.csv.gz | seagull plan --timings - --output json | jq .bundle_count

A file of timings has a line for each test, and a header that names its columns: test_id and seconds;
sd (the standard deviation, in seconds), module (tests of one share a setup), group (tests of one stay
together) and environment (tests of several are never together) where there are such. A column
outcome may be there, and is not looked at.

Exit codes:
    0  a plan
    1  an error of seagull's own
    2  wrong usage, or timings that make no sense
";

/// Options of `seagull plan`.
#[derive(Debug, Clone, Args)]
#[command(after_help = PLAN_EXAMPLES)]
pub struct Plan {
    /// Files, directories or test ids, of a Rust workspace cargo's filter; what the suite is configured with if none is given
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// Arguments for the framework, as they are
    #[arg(last = true, value_name = "FRAMEWORK ARGS")]
    pub arguments: Vec<String>,
    /// Plan these durations, and look at no suite; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["paths", "arguments", "project", "framework", "python", "branch", "base_branch", "state"])]
    pub timings: Option<PathBuf>,
    #[command(flatten)]
    pub suite: SuiteArgs,
    #[command(flatten)]
    pub costs: CostArgs,
    #[command(flatten)]
    pub packing: PackingArgs,
    /// Also: what so many slots would take and cost, and beyond which of them more do not pay; numbers with commas
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub slots: Vec<u32>,
    /// Write a page that draws each bundle to scale, the gap, and setup that is paid again: one file, with nothing to fetch
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// human or plain: a table and a histogram; json: one object
    #[arg(long, value_name = "FORM", default_value = "human", value_parser = output(), hide_possible_values = true)]
    pub output: Output,
    /// auto, always or never
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = color(), hide_possible_values = true)]
    pub color: Color,
    #[command(flatten)]
    pub state: StateArgs,
}

/// What bundles pay, and how long they may be.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "What a bundle costs")]
pub struct CostArgs {
    /// The longest bundle [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_some)]
    pub cap: Option<Duration>,
    /// What a bundle pays for each module (of a suite: file) that it has tests of [default: 0s; of a suite: 20ms]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub scope_setup: Option<Duration>,
    /// What a bundle pays before its first test [default: 0s; of a suite: what it is in a run]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub sandbox_start: Option<Duration>,
    /// How likely a bundle may be longer than the cap, where durations vary: more than 0, at most 0.5
    #[arg(long, value_name = "SHARE", default_value = "0.1", value_parser = overrun)]
    pub overrun: f64,
}

/// How it is packed.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "How to pack")]
pub struct PackingArgs {
    /// greedy: best fit of blocks, and a portfolio while no bound proves the plan; ilp: the solver; auto: greedy, and the
    /// solver where it leaves a gap
    #[arg(long, value_name = "NAME", default_value = "auto", value_parser = algorithm(), hide_possible_values = true)]
    pub algorithm: Algorithm,
    /// Stop after so long with the best plan so far, which may then be another each time; until then more is tried than without
    /// it [default: never, as the steps end]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub time_limit: Option<Duration>,
    /// How much to try, at most: the same steps give the same plan, on any machine [default: 300 million, which are about ten
    /// seconds; 30 million for each second of a longer time limit]
    #[arg(long, value_name = "STEPS")]
    pub budget: Option<u64>,
    /// The same seed gives the same plan
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

fn overrun(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| *share > 0.0 && *share <= 0.5);
    share.ok_or_else(|| "expected a share of more than 0 and at most 0.5, such as 0.1".to_owned())
}
