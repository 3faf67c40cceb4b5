//! Plugins that many suites have: each with a suite whose verdicts are plain pytest's, test by test.

use crate::harness::{Finished, Packages, Suite};

fn suite(name: &str) -> Suite {
    Suite::named(&format!("plugins/{name}")).with(Packages::Plugins)
}

/// Runs the suite on two slots, and compares every verdict with plain pytest's; `counts` is what they come to.
#[track_caller]
fn as_plain_pytest(name: &str, counts: &[(&str, usize)]) -> Finished {
    let plain = suite(name).plain(&[]);
    let run = suite(name).run(&[]);
    assert_eq!(run.verdicts(), plain, "{}", run.stderr);
    run.expect_counts(if counts.iter().any(|(word, _)| *word == "failed") { 100 } else { 0 }, counts);
    assert!(run.all("suite_error").is_empty(), "{:?}", run.all("suite_error"));
    run
}

#[test]
fn randomly_draws_the_same_for_a_seed() {
    as_plain_pytest("randomly", &[("passed", 22), ("failed", 16)]);
    // Without one of the suite's own it is the run's.
    let of_the_run = |seed: &str| {
        let suite = suite("randomly");
        suite.write("pytest.ini", "[pytest]\n");
        suite.run(&["--seed", seed]).verdicts()
    };
    assert_eq!(of_the_run("20"), suite("randomly").plain(&[]));
    assert_ne!(of_the_run("21"), of_the_run("20"));
    let last = suite("randomly").run(&["--", "--randomly-seed=last"]);
    assert!(last.one("manifest_confirmed")["warnings"].to_string().contains("use seagull's --seed N"));
}

#[test]
fn rerunfailures_reruns_and_what_passes_then_is_flaky() {
    as_plain_pytest("rerunfailures", &[("passed", 1), ("flaky", 3), ("failed", 2), ("skipped", 1)]);
}

#[test]
fn timeout_fails_the_test_that_takes_too_long() {
    as_plain_pytest("timeout", &[("passed", 3), ("failed", 4)]);
}

#[test]
fn a_timeout_that_ends_the_process_fails_its_test_alone() {
    let ini = "[pytest]\naddopts = -p no:randomly\ntimeout = 1\ntimeout_method = thread\n";
    let source = "import time\ndef test_a(): pass\ndef test_hangs(): time.sleep(30)\ndef test_b(): pass\n";
    let run = Suite::of(&[("pytest.ini", ini), ("test_a.py", source)]).with(Packages::Plugins).run(&[]);
    let expected = [
        ("test_a.py::test_a", "passed"),
        ("test_a.py::test_hangs", "failed"),
        ("test_a.py::test_b", "passed"),
    ];
    run.expect(100, &expected);
    assert_eq!(run.result("test_a.py::test_hangs")["cause"], "crashed");
}

#[test]
fn asyncio_has_its_loops_and_their_fixtures() {
    as_plain_pytest("asyncio", &[("passed", 11), ("failed", 4), ("skipped", 1)]);
}

#[test]
fn mock_patches_and_takes_back() {
    as_plain_pytest("mock", &[("passed", 5), ("failed", 3)]);
}

#[test]
fn hypothesis_holds_fails_and_refuses() {
    as_plain_pytest("hypothesis", &[("passed", 4), ("failed", 6)]);
}

#[test]
fn order_keeps_what_it_relates_together_and_in_order() {
    let run = as_plain_pytest("order", &[("passed", 27)]);
    assert_eq!(slots_of(&run, &["test_numbers.py::test_first", "test_numbers.py::test_third"]).len(), 1);
}

#[test]
fn dependency_runs_a_test_after_those_it_needs() {
    let run = as_plain_pytest("dependency", &[("passed", 29), ("failed", 1), ("skipped", 2)]);
    assert_eq!(slots_of(&run, &["test_chain.py::test_create", "test_other.py::test_across_files"]).len(), 1);
}

#[test]
fn one_test_of_a_chain_takes_along_no_other_by_itself() {
    // As in plain pytest: what was not selected did not run, so what needs it is skipped.
    let change = "test_chain.py::test_change";
    suite("dependency").run(&["--select", change]).expect(0, &[(change, "skipped")]);
    assert_eq!(suite("dependency").plain(&[change])[change], "skipped");
}

/// The slots that ran any of these tests.
fn slots_of(run: &Finished, tests: &[&str]) -> std::collections::BTreeSet<u64> {
    tests.iter().map(|test| run.result(test)["slot"].as_u64().unwrap()).collect()
}
