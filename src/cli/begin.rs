//! The options of the first hour: settings to begin with, and a look at whether all is in place.

use clap::Args;
use tonic::transport::Uri;

use super::words::output;
use super::{StateArgs, SuiteArgs, TlsArgs, TokenArgs, url};
use crate::report::Output;

const INIT_EXAMPLES: &str = "\
Examples:
  seagull init                             writes seagull.toml into this directory
  seagull init --schema > seagull.schema.json
                                           the settings as JSON schema, for an editor

`seagull run` needs no seagull.toml: what it sets has defaults.
";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  seagull doctor                           what a run of this directory's suite needs, step by step
  seagull doctor tests/unit -- -m 'not slow'
  seagull doctor --stores 's3://ci-results/seagull?region=eu-central-1' es+https://search:9200/ci
  seagull doctor --scheduler http://10.0.0.5:7878 --token-file token

Exit codes:
    0  no problem, perhaps warnings
    1  a problem, with what to do about it
";

/// Options of `seagull init`.
#[derive(Debug, Clone, Args)]
#[command(after_help = INIT_EXAMPLES)]
pub struct Init {
    /// Overwrite a seagull.toml that is there
    #[arg(long)]
    pub force: bool,
    /// Print the JSON schema of seagull.toml, and write nothing
    #[arg(long, conflicts_with = "force")]
    pub schema: bool,
}

/// Options of `seagull doctor`.
#[derive(Debug, Clone, Args)]
#[command(after_help = DOCTOR_EXAMPLES)]
pub struct Doctor {
    /// Files, directories or test ids, of a Rust workspace cargo's filter; what the suite is configured with if none is given
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// Arguments for the framework, as they are
    #[arg(last = true, value_name = "FRAMEWORK ARGS")]
    pub arguments: Vec<String>,
    #[command(flatten)]
    pub suite: SuiteArgs,
    /// Look at this scheduler too: is it there, does it take the token, does its clock agree
    #[arg(long, value_name = "URL", value_parser = url)]
    pub scheduler: Option<Uri>,
    #[command(flatten)]
    pub token: TokenArgs,
    #[command(flatten)]
    pub tls: TlsArgs,
    #[command(flatten)]
    pub state: StateArgs,
    /// Look at these stores and indices alone: write, read and delete in each, as a scheduler with --blobs and --index does
    #[arg(long, value_name = "URL", num_args = 1.., conflicts_with_all = ["paths", "arguments", "scheduler"])]
    pub stores: Vec<String>,
    /// human or plain: a line for each step; json: an object for each
    #[arg(long, value_name = "FORM", default_value = "human", value_parser = output(), hide_possible_values = true)]
    pub output: Output,
}
