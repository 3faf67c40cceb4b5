//! The options of what shells and readers ask for.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  seagull completions bash > ~/.local/share/bash-completion/completions/seagull
  seagull completions zsh > \"${fpath[1]}/_seagull\"
  seagull completions fish > ~/.config/fish/completions/seagull.fish
";

const MAN_EXAMPLES: &str = "\
Examples:
  seagull man | man -l -               read it
  seagull man run | man -l -           that of a command
  seagull man --directory ~/.local/share/man/man1
";

const DOCS_EXAMPLES: &str = "\
Examples:
  seagull docs                         the pages there are
  seagull docs run | less              the command: options, selection, settings, exit codes
  seagull docs environment             recipes for [setup]
";

/// Options of `seagull completions`.
#[derive(Debug, Clone, Args)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub struct Completions {
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Options of `seagull man`.
#[derive(Debug, Clone, Args)]
#[command(after_help = MAN_EXAMPLES)]
pub struct Man {
    /// The command that the page is of, as `executor drain` [default: seagull itself]
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Write all pages into this directory instead
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub directory: Option<PathBuf>,
}

/// Options of `seagull docs`.
#[derive(Debug, Clone, Args)]
#[command(after_help = DOCS_EXAMPLES)]
pub struct Docs {
    /// The page [default: a list of all]
    #[arg(value_name = "PAGE")]
    pub page: Option<String>,
}
