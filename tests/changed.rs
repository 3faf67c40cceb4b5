//! `--changed`: what differs from where the work began runs first.

use crate::harness::{Suite, text};

/// Three files; of the first, each test takes a minute unless something failed before.
fn committed() -> Suite {
    let slow = "import time\ndef test_one(): time.sleep(60)\ndef test_two(): time.sleep(60)\n";
    let suite = Suite::of(&[
        ("tests/test_a.py", slow),
        ("tests/test_y.py", "def test_it(): pass\n"),
        ("tests/test_z.py", "def test_it(): pass\n"),
    ]);
    suite.git(&["init", "--quiet"]);
    suite.git(&["add", "--all"]);
    suite.git(&["commit", "--quiet", "-m", "all"]);
    suite
}

#[test]
fn a_changed_test_that_fails_ends_the_run_before_the_others_come_to_anything() {
    for (path, content) in
        [("tests/test_z.py", "def test_it(): assert 0\n"), ("tests/test_zz.py", "def test_it(): assert 0\n")]
    {
        let suite = committed();
        suite.write(path, content);
        let run = suite.run(&["--changed", "--fail-fast", "--slots", "1"]);
        run.expect_code(100);
        assert_eq!(run.verdicts()[&format!("{path}::test_it")], "failed");
        let slow = ["tests/test_a.py::test_one", "tests/test_a.py::test_two"];
        for test in slow {
            assert_eq!(run.verdicts()[test], "not_executed: fail-fast", "{:?}", run.verdicts());
        }
        assert!(run.stderr.contains("--changed: 1 file changed since HEAD"), "{}", run.stderr);
    }
}

#[test]
fn what_is_named_after_a_changed_file_runs_first_in_any_folder_of_the_repository() {
    let suite = committed();
    suite.write("src/z.py", "");
    suite.write("tests/pytest.ini", "[pytest]\n");
    let arguments = ["--changed=HEAD", "--slots", "1", "--select", "*::test_it"];
    let run = suite.run_in(&suite.path().join("tests"), &arguments);
    run.expect(0, &[("test_y.py::test_it", "passed"), ("test_z.py::test_it", "passed")]);
    let order: Vec<_> = run.all("test_finished").iter().map(|event| text(event, "test").to_owned()).collect();
    assert_eq!(order, ["test_z.py::test_it", "test_y.py::test_it"]);
}

#[test]
fn where_nothing_can_go_first_that_is_said() {
    let suite = committed();
    suite.write("notes.txt", "");
    let run = suite.run(&["--changed", "--select", "*::test_it"]);
    run.expect_counts(0, &[("passed", 2)]);
    let warnings = run.one("manifest_confirmed")["warnings"].to_string();
    assert!(warnings.contains("--changed: no test is in the file that has changed"), "{warnings}");
}

#[test]
fn without_a_repository_or_a_base_it_is_wrong_usage() {
    let suite = Suite::of(&[("test_a.py", "def test_x(): pass\n")]);
    let (_, code, stderr) = suite.start(&["--changed"]).end();
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("is in no git repository\nhint: "), "{stderr}");
    suite.git(&["init", "--quiet"]);
    let (_, code, stderr) = suite.start(&["--changed=nowhere"]).end();
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("--changed=nowhere: git knows no such commit here\nhint: "), "{stderr}");
}
