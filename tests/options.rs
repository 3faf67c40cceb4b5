//! Options that own the session, in `addopts`, in `PYTEST_ADDOPTS` or after `--`: the table of `docs/pytest.md`, row by row.

use crate::harness::{Finished, Packages, Suite, text};

const TESTS: &str = "def test_a(): pass\ndef test_b(): assert 0\ndef test_c(): pass\n";
/// Where another order would be another test.
const IN_ORDER: &str = "-p no:randomly";

fn suite(addopts: &str) -> Suite {
    let ini = format!("[pytest]\naddopts = {IN_ORDER} {addopts}\n");
    Suite::of(&[("pytest.ini", &ini), ("test_a.py", TESTS)]).with(Packages::Plugins)
}

fn warnings(run: &Finished) -> Vec<String> {
    let warnings = run.one("manifest_confirmed")["warnings"].as_array().unwrap();
    warnings.iter().map(|warning| warning.as_str().unwrap().to_owned()).collect()
}

/// All three tests run and have their verdicts; these are the warnings.
#[track_caller]
fn runs_whole(run: &Finished, expected: &[&str]) {
    run.expect_counts(100, &[("passed", 2), ("failed", 1)]);
    assert_eq!(warnings(run), expected);
}

#[test]
fn every_row_of_the_page_has_its_case() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/pytest.md")).unwrap();
    let table =
        |title| page.split(title).nth(1).expect("the page has the table").split("\n## ").next().unwrap();
    let tables = ["## Options that own the session", "## Coverage\n"].map(table);
    let rows = tables.into_iter().flat_map(str::lines).filter(|line| line.starts_with("| `"));
    let cases = concat!(
        include_str!("options.rs"),
        include_str!("coverage.rs"),
        include_str!("suites/plugins/randomly/pytest.ini"),
        include_str!("suites/plugins/order/test_numbers.py"),
        include_str!("suites/plugins/dependency/test_chain.py"),
    );
    let goes_on = |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-');
    let is_tried =
        |option: &str| cases.match_indices(option).any(|(at, _)| !goes_on(&cases[at + option.len()..]));
    let options: Vec<_> =
        rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2)).collect();
    assert!(options.len() > 20, "{options:?}");
    let untried: Vec<_> = options.into_iter().filter(|option| !is_tried(option)).collect();
    assert!(untried.is_empty(), "no case has {untried:?}");
}

#[test]
fn distribution_is_ours() {
    let given = "-n 3 --dist loadfile --maxprocesses 2 --tx 2*popen ";
    runs_whole(&suite(given).run(&[]), &[]);
}

#[test]
fn a_bound_on_warnings_is_ignored_and_said() {
    let said = "--max-warnings ignored: no worker knows the warnings of all";
    runs_whole(&suite("--max-warnings=0").run(&[]), &[said]);
}

#[test]
fn stopping_early_is_the_runs_and_is_said_once() {
    for (given, said) in [
        ("-x", "-x, or --maxfail=1, is --fail-fast: it stops the whole run"),
        ("--exitfirst", "-x, or --maxfail=1, is --fail-fast: it stops the whole run"),
        ("--maxfail=2", "--maxfail=2 is --fail-fast=2: it stops the whole run"),
    ] {
        let limit = if given.ends_with('2') { 2 } else { 1 };
        let source = "\
import pytest, time
@pytest.mark.parametrize('n', range(60))
def test_n(n):
    time.sleep(0.05)
    assert n > 3
";
        let suite = suite(given);
        suite.write("test_a.py", source);
        let run = suite.run(&["--slots", "1"]);
        run.expect_code(100);
        assert_eq!(warnings(&run), [said]);
        let counts = run.counts();
        // Another may fail before the last is known.
        assert!((limit..=limit + 1).contains(&counts["failed"]), "{given}: {counts:?}");
        assert!(counts["not_executed: fail-fast"] > 40, "{given}: {counts:?}");
    }
}

#[test]
fn the_commands_own_fail_fast_goes_before_the_suites() {
    let run = suite("-x").run(&["--fail-fast=3"]);
    runs_whole(&run, &[]);
    // And pytest's own way to take it back holds.
    runs_whole(&suite("-x").run(&["--", "--maxfail=0"]), &[]);
}

#[test]
fn last_failed_is_a_selection() {
    let suite = suite("");
    let all = "--last-failed is --select last-failed: 0 of 3 tests are known to have failed, so all run";
    // As in pytest everything runs where nothing is known to have failed.
    runs_whole(&suite.run(&["--", "--lf"]), &[all]);
    let run = suite.run(&["--", "--last-failed"]);
    run.expect(100, &[("test_a.py::test_b", "failed")]);
    assert_eq!(
        warnings(&run),
        ["--last-failed is --select last-failed: 1 of 3 tests are known to have failed"]
    );
    suite.write("test_a.py", &TESTS.replace("assert 0", "pass"));
    suite.run(&["--", "--lf"]).expect(0, &[("test_a.py::test_b", "passed")]);
    suite.run(&["--", "--lf", "--lfnf=none"]).expect(0, &[]);
    suite.run(&["--", "--lf", "--lfnf", "all"]).expect_counts(0, &[("passed", 3)]);
}

#[test]
fn what_goes_by_the_times_of_files_is_ignored_with_the_hint() {
    let said = "--new-first ignored: files have other times on other machines; use seagull's --changed";
    runs_whole(&suite("--nf ").run(&[]), &[said]);
}

#[test]
fn what_failed_goes_first_where_the_suite_wants_it() {
    let suite = suite("--ff ");
    suite.write(
        "test_a.py",
        "import time\ndef test_a(): time.sleep(0.3)\ndef test_b(): assert 0\ndef test_c(): pass\n",
    );
    let said = |failed| format!("--failed-first: {failed} of 3 tests are known to have failed, and go first");
    runs_whole(&suite.run(&["--slots", "1"]), &[&said(0)]);
    let second = suite.run(&["--slots", "1"]);
    runs_whole(&second, &[&said(1)]);
    assert_eq!(text(second.all("test_finished")[0], "test"), "test_a.py::test_b");
}

#[test]
fn step_by_step_what_has_not_passed_runs_up_to_the_first_failure() {
    let suite = suite("--sw ");
    suite.write("test_a.py", "def test_a(): pass\n");
    suite.run(&[]).expect(0, &[("test_a.py::test_a", "passed")]);
    suite.write("test_a.py", TESTS);
    let run = suite.run(&["--slots", "1"]);
    let said = [
        "--stepwise is --select not-passed: 2 of 3 tests have not passed",
        "--stepwise is --fail-fast=1: it stops the whole run",
    ];
    assert_eq!(warnings(&run), said);
    run.expect_code(100);
    assert_eq!(run.verdicts()["test_a.py::test_b"], "failed");
    suite.write("test_a.py", &TESTS.replace("assert 0", "pass"));
    suite.run(&[]).expect_code(0);
    // As in pytest everything runs where all has passed.
    suite.run(&[]).expect_counts(0, &[("passed", 3)]);
    let skips = self::suite("--sw-skip ").run(&[]);
    let said = [
        "--stepwise is --select not-passed: 3 of 3 tests have not passed",
        "--stepwise is --fail-fast=2: it stops the whole run",
    ];
    runs_whole(&skips, &said);
}

#[test]
fn the_junit_report_is_written_once_where_the_suite_wants_it() {
    let suite = suite("--junitxml=reports/junit.xml ");
    runs_whole(&suite.run(&[]), &[]);
    let report = suite.read("reports/junit.xml");
    assert_eq!(report.matches("<testcase").count(), 3, "{report}");
    assert!(report.contains("seagull") || report.contains("test_a.py"), "{report}");
    std::fs::remove_file(suite.path().join("reports/junit.xml")).unwrap();
    // It is no change of the tree: the same run again is the same.
    let git = std::process::Command::new("git").args(["init", "--quiet"]).current_dir(suite.path()).status();
    assert!(git.unwrap().success());
    let named = ["--run-id", "one"];
    assert_eq!(suite.run(&named).verdicts(), suite.run(&named).verdicts());
    std::fs::remove_file(suite.path().join("reports/junit.xml")).unwrap();
    // What the command is told goes before.
    let ours = suite.beside("ours.xml");
    runs_whole(&suite.run(&["--junit", ours.to_str().unwrap()]), &[]);
    assert_eq!((ours.exists(), suite.read("reports/junit.xml").as_str()), (true, ""));
}

#[test]
fn the_html_report_is_written_once_where_the_suite_wants_it() {
    let suite = suite("--html=reports/page.html ");
    runs_whole(&suite.run(&[]), &[]);
    let page = suite.read("reports/page.html");
    assert_eq!(page.matches("<tr>").count(), 3, "{page}");
    assert!(page.contains("test_a") && !page.contains("pytest-html"), "it is ours: {page}");
    let ours = suite.beside("ours.html");
    std::fs::remove_file(suite.path().join("reports/page.html")).unwrap();
    suite.run(&["--html", ours.to_str().unwrap()]);
    assert_eq!((ours.exists(), suite.read("reports/page.html").as_str()), (true, ""));
}

#[test]
fn reports_of_a_whole_session_are_not_written() {
    let said = "--report-log not written: no worker knows the whole run; use seagull's --junit FILE";
    let suite = suite("--report-log=log.jsonl");
    runs_whole(&suite.run(&[]), &[said]);
    assert_eq!(suite.read("log.jsonl"), "");
}

#[test]
fn reruns_are_honoured_and_what_passes_then_is_flaky() {
    let suite = Suite::named("retries").with(Packages::Plugins);
    let run = suite.run(&["--", "-p", "no:randomly", "--reruns", "1"]);
    run.expect(0, &[("test_retries.py::test_flaky", "flaky"), ("test_retries.py::test_good", "passed")]);
    let results = run.all("test_finished");
    let flaky: Vec<_> =
        results.iter().filter(|result| result["test"] == "test_retries.py::test_flaky").collect();
    assert_eq!(flaky.len(), 2);
    assert_eq!(text(flaky[0], "detail"), "rerun");
}

#[test]
fn nobody_is_asked_at_a_prompt() {
    let why = "ignored: nobody sits at a worker; use pytest itself";
    runs_whole(&suite("--pdb").run(&[]), &[&format!("--pdb {why}")]);
    runs_whole(&suite("").run(&["--", "--trace"]), &[&format!("--trace {why}")]);
    runs_whole(&suite("").run(&["--", "-f"]), &[&format!("--looponfail {why}")]);
}

#[test]
fn forked_tests_run_each_in_a_child() {
    let suite = Suite::named("plugins/forked").with(Packages::Forked);
    let plain = Suite::named("plugins/forked").with(Packages::Forked).plain(&[]);
    let run = suite.run(&["--", "--forked"]);
    assert_eq!(run.verdicts(), plain);
    run.expect_counts(100, &[("passed", 4), ("failed", 3)]);
    assert!(text(run.result("test_forked.py::test_is_killed"), "message").contains("CRASHED"));
}

#[test]
fn output_that_is_not_captured_is_said_to_be_lost() {
    for (given, named) in [("-s", "-s"), ("--capture=no ", "-s"), ("-p no:capture", "-p no:capture")] {
        let said = format!("{named}: what tests write is shown nowhere; without {named} it is with the test");
        runs_whole(&suite(given).run(&[]), &[&said]);
    }
}

#[test]
fn what_runs_no_tests_is_refused() {
    let refused =
        ["--collect-only", "--co", "--setup-plan", "--setup-only", "--fixtures", "--fixtures-per-test"];
    for given in refused.into_iter().chain(["--markers", "--cache-show", "--version", "--help"]) {
        let run = suite(given).run(&[]);
        run.expect(101, &[]);
        assert!(text(run.one("discovery_failed"), "message").contains("use pytest itself"), "{given}");
    }
}

#[test]
fn the_variable_is_as_good_as_the_setting() {
    let suite = suite("");
    let state = suite.beside("state").into_os_string().into_string().unwrap();
    let mut command = suite.seagull(&["run", "--slots", "1", "--state", &state, "--output", "plain"]);
    let output = command.env("PYTEST_ADDOPTS", "-x --pdb").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(100), "{said}");
    for line in [
        "-x, or --maxfail=1, is --fail-fast: it stops the whole run",
        "--pdb ignored: nobody sits at a worker",
    ] {
        assert_eq!(said.matches(line).count(), 1, "{said}");
    }
}
