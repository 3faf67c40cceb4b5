//! The options of what is done with what is kept: it goes by its age.

use std::time::Duration;

use clap::Args;
use seagull_domain::RunId;

use super::{FormArgs, StateArgs};
use crate::duration;

const GC_EXAMPLES: &str = "\
Examples:
  seagull gc --dry-run                 what would go, by the ages of [retention] in seagull.toml
  seagull gc --passed-logs 1d
  seagull gc --pin 20261124-191500-ab12cd
  seagull gc --state /var/lib/seagull --blobs 's3://ci-results/seagull?region=eu-central-1'

Ages are of when a run ended, or an artifact was wanted last. May run beside a scheduler of the same
state directory: once a night, say.
";

/// Options of `seagull gc`.
#[derive(Debug, Clone, Args)]
#[command(after_help = GC_EXAMPLES)]
pub struct Sweep {
    /// Only say what would go
    #[arg(long)]
    pub dry_run: bool,
    /// Keep these ended runs whatever their age, with all there is of them; nothing is removed
    #[arg(long, value_name = "RUN", num_args = 1..)]
    pub pin: Vec<RunId>,
    /// Keep these runs no longer than others; nothing is removed
    #[arg(long, value_name = "RUN", num_args = 1.., conflicts_with = "pin")]
    pub unpin: Vec<RunId>,
    /// List the runs that are kept so; nothing is removed
    #[arg(long, conflicts_with_all = ["pin", "unpin"])]
    pub pins: bool,
    #[command(flatten)]
    pub ages: AgeArgs,
    /// Remove from this store, too: the one that the scheduler has as --blobs
    #[arg(long, value_name = "URL", env = "SEAGULL_BLOBS", hide_env_values = true)]
    pub blobs: Option<String>,
    /// Remove from this index, too: the one that the scheduler has as --index; whole indices of Elasticsearch
    #[arg(long, value_name = "URL", env = "SEAGULL_INDEX", hide_env_values = true)]
    pub index: Option<String>,
    #[command(flatten)]
    pub state: StateArgs,
    #[command(flatten)]
    pub form: FormArgs,
}

/// At which age what is kept may go.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Ages at which what is kept goes")]
pub struct AgeArgs {
    /// Logs of attempts in which nothing failed [default: 7d]
    #[arg(long, value_name = "AGE", value_parser = duration::parse_age)]
    pub passed_logs: Option<Duration>,
    /// Logs of the other attempts [default: 30d]
    #[arg(long, value_name = "AGE", value_parser = duration::parse_age)]
    pub failed_logs: Option<Duration>,
    /// What ended runs came to, with all else of them [default: 90d]
    #[arg(long, value_name = "AGE", value_parser = duration::parse_age)]
    pub results: Option<Duration>,
    /// What is known of tests that no run has had since [default: 365d]
    #[arg(long, value_name = "AGE", value_parser = duration::parse_age)]
    pub timings: Option<Duration>,
    /// Artifacts that nobody has wanted since [default: 14d]
    #[arg(long, value_name = "AGE", value_parser = duration::parse_age)]
    pub artifacts: Option<Duration>,
}
