//! Branches of real repositories: each goes by its own verdicts first.

use crate::harness::{Suite, text};

const TESTS: &str =
    "import pathlib\ndef test_it(): assert not pathlib.Path('broken').exists()\ndef test_other(): pass\n";
const IT: &str = "test_a.py::test_it";

fn on_main() -> Suite {
    let suite = Suite::of(&[("test_a.py", TESTS)]);
    suite.git(&["init", "--quiet"]);
    suite.git(&["symbolic-ref", "HEAD", "refs/heads/main"]);
    suite.git(&["add", "--all"]);
    suite.git(&["commit", "--quiet", "-m", "all"]);
    suite
}

#[test]
fn what_failed_on_a_branch_is_selected_there_and_on_what_is_made_from_it() {
    let suite = on_main();
    suite.run(&[]).expect_counts(0, &[("passed", 2)]);
    suite.git(&["checkout", "--quiet", "-b", "feature"]);
    suite.write("broken", "");
    suite.git(&["add", "--all"]);
    suite.git(&["commit", "--quiet", "-m", "broken"]);
    suite.run(&[]).expect_counts(100, &[("passed", 1), ("failed", 1)]);
    suite.git(&["checkout", "--quiet", "-b", "on-top"]);
    suite.run(&["--select", "last-failed"]).expect(100, &[(IT, "failed")]);
    suite.git(&["checkout", "--quiet", "main"]);
    suite.run(&["--select", "last-failed"]).expect(0, &[]);
    // Another branch is made from the main one.
    suite.git(&["checkout", "--quiet", "-b", "other"]);
    suite.run(&["--select", "last-failed"]).expect(0, &[]);
    let asked = ["--select", "last-failed", "--branch", "feature"];
    suite.run(&asked).expect(0, &[(IT, "passed")]);
    suite.run(&asked).expect(0, &[]);
}

#[test]
fn a_job_of_a_merge_request_is_of_its_branch() {
    let suite = on_main();
    suite.run(&[]).expect_counts(0, &[("passed", 2)]);
    suite.git(&["checkout", "--quiet", "--detach"]);
    suite.write("broken", "");
    let state = suite.beside("state").into_os_string().into_string().unwrap();
    let job = |arguments: &[&str]| {
        let mut command =
            suite.seagull(&[&["run", "--state", &state, "--output", "json"], arguments].concat());
        command.env("GITHUB_ACTIONS", "true").env("GITHUB_HEAD_REF", "fix").env("GITHUB_BASE_REF", "main");
        command.output().unwrap().status.code()
    };
    assert_eq!(job(&[]), Some(100));
    suite.run(&["--select", "last-failed"]).expect(0, &[]);
    assert_eq!(job(&["--select", "last-failed"]), Some(100));
    let plan = suite.run(&["--branch", "fix", "--select", "last-failed"]);
    assert_eq!(text(plan.all("test_finished")[0], "test"), IT);
}
