//! The help that users read, and what is taken and refused.

use clap::CommandFactory;
use clap::error::ErrorKind;

use seagull_executor::notice::{Endpoint, Source};

use super::*;
use crate::golden;

fn help(name: Option<&str>) -> String {
    let mut command = Cli::command().term_width(100);
    command.build();
    let names = name.into_iter().flat_map(|name| name.split(' '));
    let command = names.fold(&mut command, |command, name| command.find_subcommand_mut(name).unwrap());
    let text = command.render_long_help().to_string();
    text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[test]
fn the_help_is_as_approved() {
    golden::check("help.txt", &help(None));
    for name in [
        "run",
        "plan",
        "init",
        "doctor",
        "runs",
        "results",
        "logs",
        "attachments",
        "explain",
        "watch",
        "rerun",
        "repro",
        "history",
        "tests",
        "search",
        "gc",
        "export",
        "import",
        "scheduler",
        "results-proxy",
        "executor",
        "executor drain",
        "executor gc",
        "services",
        "services up",
        "services down",
        "services logs",
        "services shell",
        "services templates",
    ] {
        golden::check(&format!("help-{}.txt", name.replace(' ', "-")), &help(Some(name)));
    }
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

fn run(arguments: &[&str]) -> Result<Run, ErrorKind> {
    let whole = ["seagull", "run"].iter().chain(arguments);
    match Cli::try_parse_from(whole).map_err(|error| error.kind())?.command {
        Command::Run(run) => Ok(*run),
        other => panic!("{other:?}"),
    }
}

#[test]
fn paths_options_and_framework_arguments_are_told_apart() {
    let given =
        run(&["a.py", "--retries", "2", "b", "--fail-fast", "c", "--", "-m", "slow", "--junit"]).unwrap();
    assert_eq!(given.paths, ["a.py", "b", "c"]);
    assert_eq!(given.arguments, ["-m", "slow", "--junit"]);
    assert_eq!((given.how.retries, given.how.fail_fast), (Some(2), Some(1)));
    assert_eq!(run(&["--fail-fast=7"]).unwrap().how.fail_fast, Some(7));
    assert_eq!(run(&["--select", "a", "--select", "b"]).unwrap().what.select, ["a", "b"]);
    assert_eq!(run(&["--cap", "90s"]).unwrap().how.cap, Some(Duration::from_secs(90)));
    assert_eq!(run(&["--flaky", "fail"]).unwrap().how.flaky, Some(true));
}

#[test]
fn nonsense_is_refused() {
    let table: [&[&str]; 12] = [
        &["--slots", "0"],
        &["--cap", "0s"],
        &["--cap", "ten"],
        &["--fail-fast=0"],
        &["--retries", "1001"],
        &["--flaky", "maybe"],
        &["--output", "xml"],
        &["--run-id", "a/b"],
        &["--scheduler", "127.0.0.1:7878"],
        &["--scheduler", "ftp://x:1"],
        &["--scheduler", "http://x:1/path"],
        &["--scheduler", "http://x"],
    ];
    for arguments in table {
        let error = run(arguments).unwrap_err();
        assert!(
            matches!(error, ErrorKind::ValueValidation | ErrorKind::InvalidValue),
            "{arguments:?}: {error}"
        );
    }
}

#[test]
fn what_is_refused_is_said_as_all_errors_with_what_it_is_called_here() {
    let refusal = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        let error = Cli::try_parse_from(["seagull"].iter().chain(&words)).unwrap_err();
        habits::describe(&error, &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    };
    let after = "hint: what is for the framework goes after --: seagull run --";
    let help = "hint: seagull run --help shows what there is\n";
    assert_eq!(
        refusal("run -x"),
        format!(
            "error: unexpected argument '-x' found\nhint: --fail-fast stops after the first failure\n{after} -x\n{help}"
        )
    );
    let table = [
        ("run -k foo", "hint: --select takes"),
        ("run -n 4", "hint: --slots N"),
        ("run --lf", "hint: --select last-failed"),
        ("run --maxfail=3", "hint: --fail-fast=N"),
        ("doctor -k foo", "hint: what is for the framework goes after --: seagull doctor -- -k foo\n"),
        ("run --retries -1", "hint: no number here is less than 0\nhint: seagull run --help"),
        ("rerun --print", "error: unexpected argument '--print' found\nhint: seagull rerun --help"),
        ("run --seed x", "'--seed <N>': expected a number\nhint: seagull run --help"),
        ("runs --limt 3", "hint: a similar argument exists: '--limit'\nhint: seagull runs --help"),
        ("rum", "hint: some similar subcommands exist: "),
        ("executor", "not provided:\n  --scheduler <URL>\nhint: seagull executor --help"),
    ];
    for (line, part) in table {
        let said = refusal(line);
        assert!(said.contains(part) && !said.contains("tip:") && !said.contains("Usage:"), "{line}: {said}");
    }
}

#[test]
fn a_test_alone_is_one_of_the_last_run() {
    let of = |line: &str| match Cli::try_parse_from(line.split(' ')).unwrap().command {
        Command::Repro(repro) => repro.of.parts().map(|(run, test)| (run, test.to_owned())),
        other => panic!("{other:?}"),
    };
    assert_eq!(of("seagull repro test_x"), Ok((RunName::Last, "test_x".to_owned())));
    assert_eq!(of("seagull repro last a.py::test_x --alone"), Ok((RunName::Last, "a.py::test_x".to_owned())));
    assert_eq!(of("seagull repro r-7 last"), Ok((RunName::Id("r-7".parse().unwrap()), "last".to_owned())));
    assert_eq!(of("seagull repro a/b x").unwrap_err(), "a/b: expected a run's id, or last");
}

#[test]
fn the_slowest_are_ten_without_a_number() {
    let slowest = |line: &str| match Cli::try_parse_from(line.split(' ')).unwrap().command {
        Command::Results(results) => results.slowest.map(std::num::NonZeroU32::get),
        other => panic!("{other:?}"),
    };
    assert_eq!(slowest("seagull results last --slowest"), Some(10));
    assert_eq!(slowest("seagull results --slowest 3"), Some(3));
    assert_eq!(slowest("seagull results --slowest --failed"), Some(10));
}

fn executor(line: &str) -> Result<Executor, ErrorKind> {
    match Cli::try_parse_from(line.split(' ')).map_err(|error| error.kind())?.command {
        Command::Executor(executor) => Ok(*executor),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_executor_is_offered_or_others_are_drained() {
    let offered =
        executor("seagull executor --scheduler http://s:1 --notice ec2 --notice ec2=http://m:8").unwrap();
    assert!(offered.command.is_none() && offered.scheduler.is_some());
    let other = Source::Ec2("http://m:8".parse().unwrap());
    assert_eq!(offered.notices, [Source::Ec2(Endpoint::default()), other]);
    assert_eq!(offered.drain_limit, Duration::from_secs(120));
    let drain = executor("seagull executor drain a b --scheduler http://s:1 --limit 0s").unwrap();
    let Some(OfExecutors::Drain(drain)) = drain.command else { panic!("it drains") };
    assert_eq!((drain.names.len(), drain.limit, drain.wait), (2, Duration::ZERO, false));
    for line in ["executor drain --scheduler http://s:1", "executor drain a", "executor"] {
        let kind = executor(&format!("seagull {line}")).unwrap_err();
        assert_eq!(kind, ErrorKind::MissingRequiredArgument, "{line}");
    }
    let source = executor("seagull executor --scheduler http://s:1 --notice gce");
    assert_eq!(source.unwrap_err(), ErrorKind::ValueValidation);
}

#[test]
fn words_are_known_and_the_last_run_is_no_name_for_a_new_one() {
    let refused = |arguments: &[&str]| {
        let error = Cli::try_parse_from([&["seagull"], arguments].concat()).unwrap_err().to_string();
        error.lines().take(2).collect::<Vec<_>>().join("\n")
    };
    let output = refused(&["run", "--output", "yaml"]);
    assert!(
        output.contains("'yaml'") && output.contains("[possible values: human, plain, json]"),
        "{output}"
    );
    for command in ["run", "rerun"] {
        let named = refused(&[command, "--run-id", "last"]);
        assert!(named.contains("last is whichever run was the last"), "{named}");
    }
}
