//! The options of the first hour: settings to begin with, and a look at whether all is in place.

use std::path::PathBuf;

use clap::Args;
use tonic::transport::Uri;

use super::{StateArgs, TokenArgs, url};
use crate::framework;
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
    /// Files, directories or test ids; what the suite is configured with if none is given
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// Arguments for the framework, as they are
    #[arg(last = true, value_name = "FRAMEWORK ARGS")]
    pub arguments: Vec<String>,
    /// The name history is kept under [default: the repository's name and the folder in it]
    #[arg(long, value_name = "NAME")]
    pub project: Option<String>,
    /// What runs the tests: pytest, cargo or command [default: what the directory shows]
    #[arg(long, value_name = "NAME")]
    pub framework: Option<framework::Name>,
    /// The interpreter [default: of VIRTUAL_ENV, CONDA_PREFIX, .venv, PATH, the first there is]
    #[arg(long, value_name = "PATH")]
    pub python: Option<String>,
    /// Look at this scheduler too: is it there, does it take the token, does its clock agree
    #[arg(long, value_name = "URL", value_parser = url)]
    pub scheduler: Option<Uri>,
    #[command(flatten)]
    pub token: TokenArgs,
    #[command(flatten)]
    pub state: StateArgs,
    /// human or plain: a line for each step; json: an object for each
    #[arg(long, value_name = "FORM", default_value = "human")]
    pub output: Output,
}

impl Doctor {
    /// The options of a run of the same suite.
    pub fn words(&self) -> Vec<String> {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let options = [
            ("--project", self.project.clone()),
            ("--framework", self.framework.map(|name| name.to_string())),
            ("--python", self.python.clone()),
            ("--state", self.state.state.as_ref().map(path)),
        ];
        let options =
            options.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value?])).flatten();
        let dashes = (!self.arguments.is_empty()).then(|| "--".to_owned());
        options.chain(self.paths.clone()).chain(dashes).chain(self.arguments.clone()).collect()
    }
}
