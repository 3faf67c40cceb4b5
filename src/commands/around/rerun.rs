//! `seagull rerun`: a new run of what did not pass in one that has ended or broken off.

use seagull_domain::{RunId, RunSpec, RunVerdict, Workspace};

use super::Reach;
use super::results::tally;
use crate::cli;
use crate::commands::run;
use crate::errors::{say, usage};
use crate::report::around::Part;
use crate::report::{Tally, clean, count, number};

/// As for a run without tests.
const NOTHING: u8 = 101;
/// As for a run with a suite error.
const FAILED: u8 = 100;
/// Suite errors that are told of.
const TOLD: usize = 5;
const GOES_ON: &str = "it goes on by the same command with --run-id";
const OF_A_PART: &str = "coverage is judged by a whole run only: a rerun has none";

pub async fn run(args: cli::Rerun) -> anyhow::Result<u8> {
    let reach = Reach::new(&args.from).await?;
    let run = reach.run(&args.run).await?;
    let tally = tally(&reach, &run).await?;
    let part = if args.failed { Part::Failed } else { Part::NotPassed };
    if tally.end.is_none() && !tally.broken_off {
        return Err(not_ended(&run));
    }
    let chosen = tally.tests.iter().filter(|test| part.has(test)).count();
    let known = tally.plan.is_some();
    if tally.names.manifest.asked.coverage.is_some() {
        say!("{OF_A_PART}");
    }
    if known && chosen == 0 {
        return Ok(nothing_to_do(&tally, part));
    }
    let spec = *tally.spec.clone().expect("a tally is of a run that has begun");
    let base = RunSpec { select: select(&spec, &run, part, known), ..spec };
    check_place(&args, &base)?;
    say(&run, &tally, chosen, known);
    let again = arguments(args, &base, &reach);
    drop(reach);
    run::again(again, base).await
}

/// A run whose tests never became known is run again as it was.
fn select(spec: &RunSpec, run: &RunId, part: Part, known: bool) -> Vec<String> {
    match part {
        _ if !known => spec.select.clone(),
        Part::Failed => vec![format!("failed@{run}")],
        _ => vec![format!("not-passed@{run}")],
    }
}

fn not_ended(run: &RunId) -> anyhow::Error {
    usage(format!("run {run} has not ended\nhint: seagull watch {run} follows it"))
}

/// No rerun of a part mends what is wrong with the whole, so that such a run stays failed.
fn nothing_to_do(tally: &Tally, part: Part) -> u8 {
    let run = &tally.run;
    let Some(verdict) = tally.end else {
        say!("run {run} broke off, and there is nothing to run again\nhint: {GOES_ON} {run}");
        return NOTHING;
    };
    let none = match part {
        _ if tally.tests.is_empty() => format!("run {run} had no tests"),
        Part::Failed => format!("no test of run {run} failed"),
        _ => format!("no test of run {run} is left: each passed"),
    };
    say!("{none}; the run itself: {verdict}");
    say_suite_errors(tally);
    match verdict {
        RunVerdict::Passed => 0,
        RunVerdict::Failed => {
            say!("hint: whether the suite as a whole is mended, only a run of all of it says");
            FAILED
        }
        _ => NOTHING,
    }
}

fn say_suite_errors(tally: &Tally) {
    for error in tally.suite_errors.iter().take(TOLD) {
        let message = error.message.lines().next().unwrap_or_default();
        say!("    suite error: {}: {}", clean(&error.title), clean(message));
    }
}

fn check_place(args: &cli::Rerun, base: &RunSpec) -> anyhow::Result<()> {
    let remote = matches!(base.workspace, Workspace::Artifact { .. });
    if remote && args.from.scheduler.is_none() {
        return Err(usage(format!(
            "run {} ran on a scheduler's executors\nhint: name that scheduler with --scheduler",
            base.id
        )));
    }
    Ok(())
}

fn say(run: &RunId, tally: &Tally, chosen: usize, known: bool) {
    if !known {
        say!("rerun of run {run}, whose tests never became known: all of it");
        return;
    }
    let chosen = number(chosen);
    let stand = tally.counts.total.saturating_sub(chosen);
    say!("rerun of run {run}: {}; {}", count(chosen, "test"), standing(stand));
    if !tally.suite_errors.is_empty() {
        say!("what was wrong with the suite as a whole is not looked at again:");
        say_suite_errors(tally);
    }
}

fn standing(verdicts: u32) -> String {
    match verdicts {
        1 => "1 verdict stands as it is".to_owned(),
        _ => format!("{verdicts} verdicts stand as they are"),
    }
}

/// The options of the new run as `seagull run` has them. What they do not say, the old run says.
fn arguments(args: cli::Rerun, base: &RunSpec, reach: &Reach) -> cli::Run {
    let mut run = cli::Run { arguments: base.arguments.clone(), report: args.report, ..Default::default() };
    run.what.run_id = args.run_id;
    run.what.suite.project = args.from.project;
    run.how.slots = args.slots;
    run.at.scheduler = args.from.scheduler;
    run.at.token = args.from.token;
    run.at.tls = args.from.tls;
    run.at.state.state = reach.state.clone().or(args.from.state.state);
    run
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_that_stand_are_counted() {
        assert_eq!(standing(1), "1 verdict stands as it is");
        assert_eq!(standing(0), "0 verdicts stand as they are");
    }
}
