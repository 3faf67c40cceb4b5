//! What is said of a command line that cannot be taken: in the form of all errors, and with what options of other tools
//! are called here.

use std::env;
use std::io::Write;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::again::quoted;
use crate::errors::Stderr;

/// Options that people have in their fingers, and what does the same in `seagull run`.
const HABITS: [(&[&str], &str); 10] = [
    (&["-x", "--exitfirst"], "--fail-fast stops after the first failure"),
    (&["--maxfail"], "--fail-fast=N stops after N failures"),
    (&["-k", "-m"], "--select takes a path, an id or a glob; pytest's own options go after --"),
    (&["-n", "--numprocesses", "-j", "--jobs", "--workers"], "--slots N runs N tests at a time"),
    (&["--lf", "--last-failed", "--ff", "--failed-first"], "--select last-failed runs what failed last"),
    (&["--sw", "--stepwise"], "--select not-passed --fail-fast goes on where it stopped"),
    (&["--reruns"], "--retries N runs a failed test again"),
    (&["--junitxml", "--junit-xml"], "--junit FILE writes a JUnit report"),
    (&["--self-contained-html"], "--html FILE writes an HTML report, which is one page anyway"),
    (&["--timeout"], "--test-limit DURATION kills a test that takes longer"),
];
/// Options of pytest that take the next word.
const WITH_VALUE: [&str; 6] = ["-k", "-m", "-p", "-o", "-c", "-n"];
/// Commands that pass on what stands after `--`.
const PASSING_ON: [&str; 3] = ["run", "plan", "doctor"];

/// Says why a command line is not taken, or shows the help that it asks for; never returns.
pub fn refuse(error: &clap::Error) -> ! {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.exit();
    }
    let words: Vec<String> = env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let _ = Stderr.write_all(describe(error, &words).as_bytes());
    std::process::exit(error.exit_code())
}

/// The error, then the hints. `words` are those after the program.
pub fn describe(error: &clap::Error, words: &[String]) -> String {
    let first = words.first().map_or("", String::as_str);
    let rendered = error.render().to_string();
    let lines =
        rendered.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let (tips, said): (Vec<&str>, Vec<&str>) =
        lines.filter(|line| !line.trim().is_empty()).partition(|line| line.trim().starts_with("tip: "));
    // So do the numbers of the standard library.
    let mut text = said.join("\n").replace("invalid digit found in string", "expected a number") + "\n";
    let tips = tips.iter().map(|tip| tip.trim().trim_start_matches("tip: ").to_owned());
    // No command takes such values.
    let tips = tips.filter(|tip| !tip.starts_with("to pass "));
    let tips: Vec<String> = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(given))) if given.parse::<i64>().is_ok() => {
            vec!["no number here is less than 0".to_owned()]
        }
        (ErrorKind::UnknownArgument, Some(ContextValue::String(given))) if PASSING_ON.contains(&first) => {
            let own = format!(
                "what is for the framework goes after --: seagull {first} -- {}",
                whole(given, words)
            );
            // What is called otherwise here is no slip of the finger.
            let known = habit(given).map_or_else(|| tips.collect(), |habit| vec![habit]);
            known.into_iter().chain([own]).collect()
        }
        _ => tips.collect(),
    };
    for tip in tips {
        text += &format!("hint: {tip}\n");
    }
    let command =
        if first.starts_with('-') || error.kind() == ErrorKind::InvalidSubcommand { "" } else { first };
    text + &format!(
        "hint: {} shows what there is\n",
        ["seagull", command, "--help"].join(" ").replace("  ", " ")
    )
}

/// The option with the value that stands behind it, if it takes one.
fn whole(given: &str, words: &[String]) -> String {
    let behind = words.iter().skip_while(|word| *word != given).nth(1);
    let value = behind.filter(|word| WITH_VALUE.contains(&given) && !word.starts_with('-'));
    quoted([given].into_iter().chain(value.map(String::as_str)))
}

fn habit(given: &str) -> Option<String> {
    let (_, here) = HABITS.iter().find(|(names, _)| names.contains(&given))?;
    Some((*here).to_owned())
}
