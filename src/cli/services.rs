//! The options of what is done with services: up, down, their logs, a shell that sees them, and what was left of them.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::StateArgs;
use super::words::output;
use crate::duration;
use crate::memory;
use crate::report::Output;

const UP_EXAMPLES: &str = "\
Examples:
  seagull services up db                   its services, up and ready
  eval \"$(seagull services up db)\"         and where they are, as variables of this shell
  seagull services up db --lease 1h        gone by themselves after an hour
";

const LOGS_EXAMPLES: &str = "\
Examples:
  seagull services logs db                 the last lines of each service
  seagull services logs db postgres --follow
";

const SHELL_EXAMPLES: &str = "\
Examples:
  seagull services shell db                a shell that has where the services of db are
  seagull services shell db -- pytest tests/db
";

const TEMPLATES_EXAMPLES: &str = "\
Examples:
  seagull services templates               what there is
  seagull services templates 3f9c --remove
  seagull services templates --remove      all go
";

const GC_EXAMPLES: &str = "\
Examples:
  seagull executor gc --dry-run            what would go, and why
  seagull executor gc                      removes it
";

#[derive(Debug, Clone, Subcommand)]
pub enum OfServices {
    /// Start the services of an environment, and return when they are ready
    ///
    /// Prints lines for a shell that say where each is. What is up already is only told of. They stay until
    /// `seagull services down`, or until their lease ends.
    Up(Up),
    /// Remove the services of an environment, or of all
    ///
    /// What a failed test has left (`seagull run --hold-on-failure`) is named as the run told it, instead of an
    /// environment; without a name, that goes too.
    Down(Down),
    /// Show what the services of an environment say
    ///
    /// What a failed test has left (`seagull run --hold-on-failure`) is named as the run told it, instead of an
    /// environment.
    Logs(ServiceLogs),
    /// Run a shell, or a command, that has where the services of an environment are
    ///
    /// What a failed test has left (`seagull run --hold-on-failure`) is named as the run told it, instead of an
    /// environment.
    Shell(ServiceShell),
    /// List or remove what is saved of services that were prepared
    ///
    /// A service with `template = true` is prepared once, saved as an image of the engine, and begins with that from then
    /// on, until something that it came of changes.
    Templates(Templates),
}

/// Options of `seagull services`.
#[derive(Debug, Clone, Args)]
pub struct Services {
    #[command(subcommand)]
    pub command: OfServices,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = UP_EXAMPLES)]
pub struct Up {
    #[command(flatten)]
    pub named: Named,
    /// Remove them after so long, whatever happens
    #[arg(long, value_name = "DURATION", default_value = "12h", value_parser = duration::parse_some)]
    pub lease: Duration,
    #[command(flatten)]
    pub form: Told,
}

#[derive(Debug, Clone, Args)]
pub struct Down {
    #[command(flatten)]
    pub named: Named,
    #[command(flatten)]
    pub form: Told,
}

/// How it is told what became of services, or what they say.
#[derive(Debug, Clone, Args)]
pub struct Told {
    /// human, plain: in words, and lines for a shell; json: an object a line
    #[arg(long, value_name = "FORM", default_value = "human", value_parser = output(), hide_possible_values = true)]
    pub output: Output,
}

/// Which environment.
#[derive(Debug, Clone, Args)]
pub struct Named {
    /// The environment, as [environment.NAME] of seagull.toml names it [default: the only one]
    #[arg(value_name = "ENV")]
    pub environment: Option<String>,
    #[command(flatten)]
    pub state: StateArgs,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = LOGS_EXAMPLES)]
pub struct ServiceLogs {
    #[command(flatten)]
    pub named: Named,
    /// Only this service's
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
    /// Go on with what they say from now on
    #[arg(long, short)]
    pub follow: bool,
    /// So many last lines of each
    #[arg(long, value_name = "N", default_value = "100")]
    pub lines: usize,
    #[command(flatten)]
    pub form: Told,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = SHELL_EXAMPLES)]
pub struct ServiceShell {
    #[command(flatten)]
    pub named: Named,
    /// What to run instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = TEMPLATES_EXAMPLES)]
pub struct Templates {
    /// Only those whose key begins with this
    #[arg(value_name = "KEY")]
    pub keys: Vec<String>,
    /// Remove them; what something runs with stays
    #[arg(long)]
    pub remove: bool,
    #[command(flatten)]
    pub state: StateArgs,
    #[command(flatten)]
    pub form: Told,
}

/// Options of `seagull executor gc`.
#[derive(Debug, Clone, Args)]
#[command(after_help = GC_EXAMPLES)]
pub struct Gc {
    /// Only list it
    #[arg(long)]
    pub dry_run: bool,
    /// How much disk images may take that were fetched for this state directory; what was used longest ago goes
    #[arg(long, value_name = "SIZE", default_value = "20GiB", value_parser = memory::parse_kib)]
    pub images: u64,
    #[command(flatten)]
    pub state: StateArgs,
}
