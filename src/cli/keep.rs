//! The options of what is done with what is kept: it goes by its age, leaves, or comes from elsewhere.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;

use super::{FormArgs, FromArgs, RunName, StateArgs};
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

const EXPORT_EXAMPLES: &str = "\
Examples:
  seagull export --since 30d -o results.jsonl.zst
  seagull export --since 2026-11-01 --until 2026-12-01 --all -o november.jsonl.zst
  seagull export --scheduler https://ci.example:7878 --token-file token -o results.jsonl.zst
  duckdb -c \"SELECT test, count(*) FROM 'results.jsonl.zst' WHERE verdict = 'failed' GROUP BY 1\"
  python3 -c \"import pandas; print(pandas.read_json('results.jsonl.zst', lines=True).describe())\"

An object a line for each test of each run that is kept, compressed by zstd.
";

const IMPORT_EXAMPLES: &str = "\
Examples:
  seagull import build/test-results    a run: all XML files in it
  seagull import jenkins/*/junit       several, the oldest first
  seagull import reports --id '{classname}::{name}'
  seagull import /old/checkout/.seagull

What was learned from before is not learned again.
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
    pub pin: Vec<RunName>,
    /// Keep these runs no longer than others; nothing is removed
    #[arg(long, value_name = "RUN", num_args = 1.., conflicts_with = "pin")]
    pub unpin: Vec<RunName>,
    /// List the runs that are kept so; nothing is removed
    #[arg(long, conflicts_with_all = ["pin", "unpin"])]
    pub pins: bool,
    #[command(flatten)]
    pub ages: AgeArgs,
    /// Remove from this store, too, and pin there: the one that the scheduler has as --blobs
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
    /// Attachments of tests that nobody has wanted since [default: 30d]
    #[arg(long, value_name = "AGE", value_parser = duration::parse_age)]
    pub attachments: Option<Duration>,
}

/// Options of `seagull export`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub struct Export {
    /// Where to; standard output if it is no terminal
    #[arg(long, short = 'o', value_name = "FILE")]
    pub to: Option<PathBuf>,
    /// Runs that ended since: an age, or a day by UTC; all if it is not given
    #[arg(long, value_name = "AGE|DAY", value_parser = moment)]
    pub since: Option<Moment>,
    /// Runs that ended before
    #[arg(long, value_name = "AGE|DAY", value_parser = moment)]
    pub until: Option<Moment>,
    /// Of every project
    #[arg(long, conflicts_with = "project")]
    pub all: bool,
    /// The store that the scheduler of the state directory has as --blobs; one that is asked by --scheduler needs no telling
    #[arg(long, value_name = "URL", env = "SEAGULL_BLOBS", hide_env_values = true)]
    pub blobs: Option<String>,
    #[command(flatten)]
    pub from: FromArgs,
}

/// Options of `seagull import`.
#[derive(Debug, Clone, Args)]
#[command(after_help = IMPORT_EXAMPLES)]
pub struct Import {
    /// JUnit XML files, directories of them, each of which is a run, or state directories; the oldest first
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// How tests of a JUnit report are called: its testcases' attributes in braces, and {suite} [default: as pytest calls them,
    /// with the files here]
    #[arg(long, value_name = "PATTERN")]
    pub id: Option<String>,
    /// The project whose reports they are [default: the one here]
    #[arg(long, value_name = "NAME")]
    pub project: Option<String>,
    #[command(flatten)]
    pub state: StateArgs,
}

/// A moment as people say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Ago(Duration),
    At(SystemTime),
}

impl Moment {
    pub fn before(self, now: SystemTime) -> SystemTime {
        match self {
            Moment::Ago(age) => now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH),
            Moment::At(at) => at,
        }
    }
}

fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(age) = duration::parse_age(text) {
        return Ok(Moment::Ago(age));
    }
    let expected = |_| "expected an age such as 7d, or a day such as 2026-11-24".to_owned();
    let day: jiff::civil::Date = text.parse().map_err(expected)?;
    let midnight = day.to_zoned(jiff::tz::TimeZone::UTC).map_err(expected)?;
    Ok(Moment::At(SystemTime::from(midnight.timestamp())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_ages_or_days() {
        let day = Duration::from_secs(86_400);
        assert_eq!(moment("30d"), Ok(Moment::Ago(30 * day)));
        let at = SystemTime::UNIX_EPOCH + 20_000 * day;
        assert_eq!(moment("2024-10-04"), Ok(Moment::At(at)));
        assert_eq!(Moment::Ago(day).before(at), at - day);
        assert_eq!(Moment::Ago(Duration::MAX).before(at), SystemTime::UNIX_EPOCH);
        for bad in ["", "yesterday", "2024-13-01", "20241004T1"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }
}
