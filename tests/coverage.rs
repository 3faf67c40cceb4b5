//! Coverage by pytest-cov: the figures are plain pytest's, line by line, and what is less than demanded is a suite error.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Cluster, Finished, Packages, Running, Suite, is, text};

const REPORT: &str = "--cov-report=json:report.json";

fn suite() -> Suite {
    Suite::named("coverage").with(Packages::Coverage)
}

/// What the report in the tree says: every file with its lines and branches, and the totals.
fn figures(suite: &Suite) -> Value {
    let report = suite.read("report.json");
    let report: Value = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report:?}"));
    json!({ "files": report["files"], "totals": report["totals"] })
}

/// What plain pytest comes to, with the same arguments.
fn plain(suite: &Suite, arguments: &[&str]) -> Value {
    let mut pytest = suite.command(suite.python());
    let output = pytest.args(["-m", "pytest", "-q"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    figures(suite)
}

/// Runs the suite on two slots.
fn covered(suite: &Suite, arguments: &[&str]) -> Finished {
    suite.run(&[&["--"][..], arguments].concat())
}

/// What is in the suite's directory by that beginning of its name.
fn left(suite: &Suite, beginning: &str) -> Vec<String> {
    let entries = std::fs::read_dir(suite.path()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(beginning)).collect()
}

#[test]
fn the_figures_are_plain_pytests() {
    // Of one package, and of whatever is executed: conftest and tests too, but nothing of ours.
    for source in ["--cov=shop", "--cov"] {
        let suite = suite();
        let run = covered(&suite, &[source, REPORT]);
        run.expect_counts(0, &[("passed", 6)]);
        let slots: BTreeSet<_> =
            run.all("test_finished").iter().map(|result| result["slot"].as_u64()).collect();
        assert_eq!(slots.len(), 2, "{slots:?}");
        assert!(!run.stderr.contains("warning"), "{}", run.stderr);
        let expected = plain(&self::suite(), &[source, REPORT]);
        assert_eq!(figures(&suite), expected);
        assert!(expected["files"]["shop/tool.py"]["executed_lines"].as_array().unwrap().len() > 5);
        assert!(left(&suite, ".coverage.").is_empty(), "{:?}", left(&suite, ".coverage."));
        assert!(suite.path().join(".coverage").exists());
    }
}

#[test]
fn what_other_processes_leave_in_the_tree_counts() {
    let source = "\
import multiprocessing, work
def test_a():
    process = multiprocessing.get_context('fork').Process(target=work.apart)
    process.start()
    process.join()
    assert process.exitcode == 0
def test_b():
    work.here()
";
    let files = [
        ("pytest.ini", "[pytest]\npythonpath = .\n"),
        (".coveragerc", "[run]\nconcurrency = multiprocessing\n"),
        ("work.py", "def apart():\n    return 1\ndef here():\n    return 2\n"),
        ("test_a.py", source),
    ];
    let suite = || Suite::of(&files).with(Packages::Coverage);
    let ours = suite();
    covered(&ours, &["--cov=work", REPORT]).expect_counts(0, &[("passed", 2)]);
    assert_eq!(figures(&ours), plain(&suite(), &["--cov=work", REPORT]));
    assert_eq!(figures(&ours)["totals"]["covered_lines"], 4);
    assert!(left(&ours, ".coverage.").is_empty(), "{:?}", left(&ours, ".coverage."));
}

#[test]
fn all_reports_are_written_once_where_the_suite_wants_them() {
    let suite = suite();
    let run = covered(
        &suite,
        &[
            "--cov=shop",
            "--cov-report=term-missing:skip-covered",
            "--cov-report=xml:out/c.xml",
            "--cov-report=html:pages",
            "--cov-report=lcov:c.lcov",
            "--cov-report=annotate:notes",
            "--cov-report=markdown:c.md",
        ],
    );
    run.expect_code(0);
    for line in ["TOTAL", "shop/unused.py", "Coverage XML written to file out/c.xml"] {
        assert_eq!(run.stderr.matches(line).count(), 1, "{line}\n{}", run.stderr);
    }
    assert!(
        suite.read("out/c.xml").contains("branch-rate") && suite.path().join("pages/index.html").exists()
    );
    assert!(
        suite.read("c.lcov").contains("SF:shop/prices.py") && suite.read("c.md").contains("shop/prices.py")
    );
    assert!(left(&suite, "notes").len() == 1, "{:?}", left(&suite, ""));
    let silent = covered(&suite, &["--cov=shop", "--cov-report="]);
    assert!(!silent.expect_code(0).stderr.contains("TOTAL"), "{}", silent.stderr);
}

#[test]
fn too_little_is_a_suite_error_each_time_the_run_is_shown() {
    let suite = suite();
    let junit = suite.beside("junit.xml");
    let asked = ["--run-id", "little", "--junit", junit.to_str().unwrap(), "--", "--cov=shop"];
    let asked = [&asked[..], &["--cov-fail-under=99.5"]].concat();
    for _ in 0..2 {
        let run = suite.run(&asked);
        run.expect_counts(100, &[("passed", 6)]);
        let error = run.one("suite_error");
        assert_eq!(text(error, "title"), "coverage");
        assert!(text(error, "message").ends_with(" % is less than --cov-fail-under=99.5"), "{error}");
        assert!(run.stderr.contains("FAIL Required test coverage of 99.5% not reached."), "{}", run.stderr);
        assert_eq!(run.one("run_finished")["verdict"], "failed");
        assert!(std::fs::read_to_string(&junit).unwrap().contains("is less than --cov-fail-under=99.5"));
    }
}

#[test]
fn whatever_comes_after_too_little_knows_of_it() {
    let suite = suite();
    let demand = ["--cov=shop", "--cov-fail-under=99.5"];
    suite.run(&[&["--run-id", "little", "--"][..], &demand].concat()).expect_counts(100, &[("passed", 6)]);
    let state = suite.beside("state");
    let after = |command: &[&str]| {
        let output = suite.seagull(command).arg("--state").arg(&state).output().unwrap();
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap()).concat();
        (output.status.code().unwrap(), said)
    };
    for (command, code, wanted) in [
        (&["runs", "--output", "json"][..], 0, "\"verdict\":\"failed\""),
        (&["explain", "little"], 0, "because 1 suite error"),
        (&["watch", "little"], 100, " % is less than --cov-fail-under=99.5"),
        (&["rerun", "little"], 100, "    suite error: coverage: a total of "),
        (&["rerun", "little", "--failed"], 100, "no test of run little failed; the run itself: failed"),
    ] {
        let (exit, said) = after(command);
        assert!(exit == code && said.contains(wanted), "{command:?}: {exit}\n{said}");
    }
    // Nothing is left, and that is no success.
    for selection in ["not-passed", "last-failed"] {
        suite.run(&[&["--select", selection, "--"][..], &demand].concat()).expect_code(101);
    }
}

/// A suite whose coverage is not combined before there is a file `go`.
fn slow() -> Suite {
    let plugin = "\
import os, time
def coverage_init(registry, options):
    parent = os.getppid()
    while 'PYTEST_XDIST_WORKER' not in os.environ and not os.path.exists('go'):
        if os.getppid() != parent:
            os._exit(1)
        time.sleep(0.05)
";
    let files = [
        ("pytest.ini", "[pytest]\npythonpath = .\naddopts = --cov=work --cov-fail-under=100\n"),
        (".coveragerc", "[run]\nplugins = slow\n"),
        ("slow.py", plugin),
        ("work.py", "def first():\n    return 1\ndef never():\n    return 2\n"),
        ("test_a.py", "import work\ndef test_a(): assert work.first()\n"),
    ];
    let suite = Suite::of(&files).with(Packages::Coverage);
    suite.write("seagull.toml", &format!("[env]\nPYTHONPATH = {:?}\n", suite.path()));
    suite
}

#[test]
fn a_run_whose_client_dies_before_it_judges_is_judged_when_it_goes_on() {
    let suite = slow();
    let mut first = suite.start(&["--run-id", "dies"]);
    let awaited = first.until(is("judgement_awaited"));
    assert_eq!(awaited["verdict"], "passed");
    first.kill();
    suite.write("go", "");
    let second = suite.run(&["--run-id", "dies"]);
    second.expect_counts(100, &[("passed", 1)]);
    assert_eq!(second.all("test_finished").len(), 1, "it is not run again");
    assert!(text(second.one("suite_error"), "message").contains("less than --cov-fail-under=100"));
}

#[test]
fn a_run_that_is_interrupted_while_it_is_judged_is_cancelled() {
    let suite = slow();
    let mut run = suite.start(&[]);
    run.until(is("judgement_awaited"));
    run.signal(Signal::SIGINT);
    let run = run.finish();
    run.expect_code(130);
    assert_eq!(run.one("run_finished")["verdict"], "cancelled");
}

#[test]
fn a_run_that_was_left_is_judged_if_it_is_had_back_before_it_ends() {
    let cluster = Cluster::start(suite());
    let token = cluster.token();
    let at = ["--scheduler", &cluster.url, "--token-file", token.to_str().unwrap()];
    let asked = ["--run-id", "left", "--detach", "--", "--cov=shop", "--cov-fail-under=99.5"];
    let detached = cluster.suite.seagull(&[&["run"][..], &at, &asked].concat()).output().unwrap();
    assert!(detached.status.success(), "{}", String::from_utf8_lossy(&detached.stderr));
    let asked = asked.map(|word| if word == "--detach" { "--yes" } else { word });
    let mut run = cluster.start_run(&asked);
    run.until(is("run_started"));
    let _executor = cluster.executor("e-one");
    let run = run.finish();
    run.expect_counts(100, &[("passed", 6)]);
    assert_eq!(text(run.one("suite_error"), "title"), "coverage");
    let watched = cluster.suite.seagull(&[&["watch", "left"][..], &at].concat()).output().unwrap();
    assert_eq!(watched.status.code(), Some(100));
}

#[test]
fn a_run_that_nobody_judges_says_so() {
    let cluster = Cluster::start(suite());
    let _executor = cluster.executor("e-one");
    let token = cluster.token();
    let at = ["--scheduler", &cluster.url, "--token-file", token.to_str().unwrap()];
    let asked = ["--run-id", "left", "--detach", "--", "--cov=shop", "--cov-fail-under=99.5"];
    let said = |words: &[&str], more: &[&str]| {
        let output = cluster.suite.seagull(&[words, &at, more].concat()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stderr).unwrap()
    };
    let detached = said(&["run"], &asked);
    assert!(
        detached.contains("nobody judges its coverage") && detached.contains("--run-id left"),
        "{detached}"
    );
    let watched = said(&["watch", "left"], &[]);
    assert!(watched.contains("warning: nobody judged the coverage of run left\nhint: "), "{watched}");
    let explained = cluster.suite.seagull(&[&["explain", "left"][..], &at].concat()).output().unwrap();
    let explained = String::from_utf8(explained.stdout).unwrap();
    assert!(explained.contains("    nobody judged its coverage: "), "{explained}");
}

#[test]
fn coverages_own_configuration_demands_as_well() {
    let suite = suite();
    let demand = |least: u32| {
        suite.write(".coveragerc", &format!("[run]\npatch = subprocess\n[report]\nfail_under = {least}\n"));
        covered(&suite, &["--cov=shop"])
    };
    let enough = demand(50);
    assert!(
        enough.expect_code(0).stderr.contains("Required test coverage of 50.0% reached."),
        "{}",
        enough.stderr
    );
    demand(100).expect_counts(100, &[("passed", 6)]);
    let off = covered(&suite, &["--cov=shop", "--no-cov"]);
    assert!(!off.expect_code(0).stderr.contains("TOTAL"), "{}", off.stderr);
}

#[test]
fn other_options_mean_what_they_mean_to_pytest() {
    let files = [
        ("pytest.ini", "[pytest]\npythonpath = .\n"),
        ("other.rc", "[json]\nshow_contexts = true\n[run]\nbranch = true\nomit = left_out.py\n"),
        ("work.py", "def first():\n    return 1\ndef last():\n    return 2\n"),
        ("left_out.py", "never = 1\n"),
        ("test_a.py", "import work\ndef test_a():\n    assert work.first()\n"),
        ("test_b.py", "import left_out, work\ndef test_b():\n    assert work.last()\n"),
    ];
    let suite = || Suite::of(&files).with(Packages::Coverage);
    for arguments in [
        &["--cov=.", "--cov-config=other.rc", "--cov-context=test", REPORT][..],
        &["--cov=nothing", "--cov-reset", "--cov=work", "--cov-branch", REPORT],
    ] {
        let ours = suite();
        covered(&ours, arguments).expect_counts(0, &[("passed", 2)]);
        assert_eq!(figures(&ours), plain(&suite(), arguments));
    }
    let precise = covered(&suite(), &["--cov=work", "--cov=left_out", "--cov-precision=2"]);
    let total = precise.stderr.lines().find(|line| line.starts_with("TOTAL"));
    assert!(total.is_some_and(|line| line.ends_with("100.00%")), "{}", precise.stderr);
    let failing = suite();
    failing.write("test_b.py", "def test_b(): assert 0\n");
    let run = covered(&failing, &["--cov=work", "--cov-fail-under=100", "--no-cov-on-fail"]);
    run.expect_counts(100, &[("passed", 1), ("failed", 1)]);
    assert!(run.all("suite_error").is_empty() && !run.stderr.contains("TOTAL"), "{}", run.stderr);
}

#[test]
fn what_is_there_is_kept_if_it_is_appended_to() {
    let parts = [["--cov=shop", REPORT, "test_tool.py"], ["--cov=shop", REPORT, "test_words.py"]];
    let [ours, theirs] = [suite(), suite()];
    for (place, part) in parts.iter().enumerate() {
        let append: &[&str] = if place == 0 { &[] } else { &["--cov-append"] };
        let arguments = [&part[..], append].concat();
        covered(&ours, &arguments).expect_code(0);
        assert_eq!(figures(&ours), plain(&theirs, &arguments));
    }
}

#[test]
fn a_rerun_of_a_part_is_not_held_against_what_the_whole_must_cover() {
    let files = [
        ("pytest.ini", "[pytest]\npythonpath = .\n"),
        ("work.py", "def first():\n    return 1\ndef last():\n    return 2\n"),
        ("test_a.py", "import work\ndef test_a(): assert work.first()\n"),
        ("test_b.py", "import os, work\ndef test_b(): assert work.last() and os.path.exists('mended')\n"),
    ];
    let suite = Suite::of(&files).with(Packages::Coverage);
    covered(&suite, &["--cov=work", REPORT, "--cov-fail-under=100"])
        .expect_counts(100, &[("passed", 1), ("failed", 1)]);
    let whole = figures(&suite);
    suite.write("mended", "");
    let state = suite.beside("state");
    let rerun = suite.seagull(&["rerun", "--output", "json", "--state", state.to_str().unwrap()]);
    let rerun = Running::start(rerun, &suite.beside("stderr-rerun")).finish();
    rerun.expect_counts(0, &[("passed", 1)]);
    assert_eq!(figures(&suite), whole);
}

#[test]
fn of_a_revision_it_is_said_which_sources_are_read() {
    let cluster = Cluster::start(suite());
    let _executor = cluster.executor("e-one");
    let run = cluster.start_run(&["--rev", "HEAD", "--", "--cov=shop"]).finish();
    run.expect_counts(0, &[("passed", 6)]);
    let said = "warning: coverage: the sources are those of the work tree here, not of HEAD\n";
    assert_eq!(run.stderr.matches(said).count(), 1, "{}", run.stderr);
}

#[test]
fn what_a_dead_worker_had_not_told_is_named() {
    let source = "\
import os, work
def test_a(): work.first()
def test_dies(): os._exit(3)
def test_z(): work.last()
";
    let files = [
        ("pytest.ini", "[pytest]\npythonpath = .\n"),
        ("work.py", "def first():\n    return 1\ndef last():\n    return 2\n"),
        ("test_a.py", source),
    ];
    let suite = Suite::of(&files).with(Packages::Coverage);
    let run = suite.run(&["--slots", "1", "--", "--cov=work", REPORT, "--cov-fail-under=90"]);
    run.expect_counts(100, &[("passed", 2), ("failed", 1)]);
    let lost = "warning: coverage is partial: what 2 tests covered is lost with their worker: \
                test_a.py::test_a, test_a.py::test_dies\n";
    assert!(run.stderr.contains(lost), "{}", run.stderr);
    assert_eq!(figures(&suite)["files"]["work.py"]["executed_lines"], json!([1, 3, 4]));
    assert!(text(run.one("suite_error"), "message").ends_with("but it is partial: data of tests are lost"));
}

/// The script that combines, as the command runs it.
const SCRIPT: &str = include_str!("../src/commands/run/coverage.py");

#[test]
fn executors_elsewhere_measure_the_same() {
    let files = [
        ("lib/work.py", "def first():\n    return 1\ndef never():\n    return 2\n"),
        ("suite/pytest.ini", "[pytest]\npythonpath = ../lib\naddopts = --cov=../lib --cov=. --cov-branch\n"),
        ("suite/test_a.py", "import work\ndef test_a(): assert work.first()\n"),
        ("suite/test_b.py", "import work\ndef test_b(): assert work.first()\n"),
    ];
    let suite = || Suite::of(&files).with(Packages::Coverage);
    let cluster = Cluster::start(suite());
    let _executors = [cluster.executor("e-one"), cluster.executor("e-two")];
    let run = |arguments: &[&str]| {
        let token = cluster.token().into_os_string().into_string().unwrap();
        let at = ["--scheduler", &cluster.url, "--token-file", &token, "--", REPORT];
        cluster.suite.run_in(&cluster.suite.path().join("suite"), &[&at, arguments].concat())
    };
    let first = run(&[]);
    first.expect_counts(0, &[("passed", 2)]);
    assert!(!first.stderr.contains("warning"), "{}", first.stderr);
    let figures = |suite: &Suite| {
        let text = suite.read("suite/report.json").replace(suite.path().to_str().unwrap(), "TOP");
        let report: Value = serde_json::from_str(&text).unwrap();
        json!({ "files": report["files"], "totals": report["totals"] })
    };
    let plain = suite();
    let mut pytest = plain.command(plain.python());
    let output =
        pytest.args(["-m", "pytest", REPORT]).current_dir(plain.path().join("suite")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(figures(&cluster.suite), figures(&plain));
    assert_eq!(figures(&plain)["totals"]["covered_lines"], 7);
    let second = run(&["--cov-fail-under=99"]);
    second.expect_counts(100, &[("passed", 2)]);
    assert!(text(second.one("suite_error"), "message").ends_with(" % is less than --cov-fail-under=99"));
    assert_eq!(second.one("judgement_awaited")["verdict"], "passed");
}

#[test]
fn what_a_lost_executor_had_not_told_is_named() {
    let suite = Suite::named("steps").with(Packages::Coverage);
    let cluster = Cluster::start(suite);
    let executors = [cluster.executor("e-one"), cluster.executor("e-two")];
    let mut run = cluster.start_run(&["--", "--cov=."]);
    run.until(|event| is("test_finished")(event) && text(event, "executor") == "e-one");
    executors[0].signal(Signal::SIGKILL);
    let run = run.finish();
    run.expect_counts(0, &[("passed", 40)]);
    let warning = run.stderr.lines().find(|line| line.starts_with("warning: coverage is partial: "));
    let named = warning.and_then(|line| line.rsplit_once(": ")).unwrap_or_else(|| panic!("{}", run.stderr)).1;
    let finished = run.all("test_finished");
    for lost in named.split(", ") {
        let by: Vec<_> = finished.iter().filter(|event| event["test"] == lost).collect();
        assert!(
            !by.is_empty() && by.iter().all(|event| text(event, "executor") == "e-one"),
            "{lost}: {by:?}"
        );
    }
    // Whoever looks at it afterwards sees it, too.
    let mut explain = cluster.suite.seagull(&["explain", "--output", "json", "--scheduler", &cluster.url]);
    let explained = explain.arg("--token-file").arg(cluster.token()).output().unwrap();
    let explained: Value = serde_json::from_slice(&explained.stdout).unwrap();
    let lost = explained["coverage"]["lost"].as_array().unwrap();
    assert_eq!(lost.iter().map(|id| id.as_str().unwrap()).collect::<Vec<_>>().join(", "), named);
}

#[test]
fn an_interpreter_without_coverage_is_a_suite_error_that_says_so() {
    let cluster = Cluster::start(suite());
    let _executor = cluster.executor("e-one");
    let mut command = cluster.suite.seagull(&["run", "--output", "json", "--scheduler", &cluster.url]);
    command.arg("--token-file").arg(cluster.token()).args(["--", "--cov=shop"]);
    command.env("VIRTUAL_ENV", Packages::Pytest.environment());
    let run = Running::start(command, &cluster.suite.beside("stderr-without")).finish();
    run.expect_counts(100, &[("passed", 6)]);
    let message = text(run.one("suite_error"), "message");
    assert!(message.starts_with("it cannot be combined: ") && message.contains("hint: "), "{message}");
}

/// What the script answers where workers told so.
fn combined(suite: &Suite, told: &[&str], trusted: bool) -> Value {
    let folder = suite.beside("folder");
    std::fs::create_dir_all(&folder).unwrap();
    let lines: String = told.iter().map(|text| json!(text).to_string() + "\n").collect();
    std::fs::write(folder.join("told"), lines).unwrap();
    let asked = json!({
        "arguments": ["--cov=shop", REPORT], "folder": folder, "told": folder.join("told"), "inside": null,
        "trusted": trusted, "failed": false,
    });
    answer(suite.command(suite.python()).args(["-c", SCRIPT]), &asked.to_string())
}

/// What a program answers to its input, as JSON.
fn answer(command: &mut Command, input: &str) -> Value {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// These, as a worker would tell them.
fn packed(suite: &Suite, pieces: &[Value]) -> Vec<String> {
    const PACK: &str = "import base64, json, sys, zlib\n\
        pack = lambda piece: base64.b64encode(zlib.compress(json.dumps(piece).encode())).decode()\n\
        print(json.dumps([pack(piece) for piece in json.load(sys.stdin)]))";
    let packed = answer(suite.command(suite.python()).args(["-c", PACK]), &json!(pieces).to_string());
    serde_json::from_value(packed).unwrap()
}

#[test]
fn nothing_that_executors_tell_is_believed() {
    let suite = suite();
    let piece =
        |rows: Value, tests: Value| json!({ "top": "/e", "branches": false, "rows": rows, "tests": tests });
    let row = |name: &str, lines: Value| json!([[name, "", "", lines]]);
    let secret = suite.beside("secret.py").into_os_string().into_string().unwrap();
    std::fs::write(&secret, "password = 1\n").unwrap();
    let mut pieces = vec![
        piece(row("/e/shop/prices.py", json!([1])), json!([0])),
        piece(row(&secret, json!([1])), json!([1])),
        piece(row("/e/../../secret.py", json!([1])), json!([2])),
        piece(row("../secret.py", json!([1])), json!([3])),
    ];
    let broken = [
        piece(row("/e/a.py", json!([1_000_000_000_000_u64])), json!([4])),
        piece(row("/e/a.py", json!([-1])), json!([4])),
        piece(row("/e/a.py", json!(["1"])), json!([4])),
        piece(row("/e/a\0.py", json!([1])), json!([4])),
        piece(json!([["/e/a.py"]]), json!([4])),
        piece(json!(7), json!([4])),
        piece(json!([]), json!([-1])),
        piece(json!([]), json!([1_u64 << 40])),
        json!({ "top": "/e", "branches": true, "rows": row("/e/a.py", json!([1])), "tests": [4] }),
        json!({ "top": 5, "branches": false, "rows": [], "tests": [4] }),
        json!({}),
        json!("x".repeat(70 << 20)),
    ];
    pieces.extend(broken);
    let mut told = packed(&suite, &pieces);
    told.extend(
        ["", "no base64", "aGVsbG8=", "[left out: there was more text than could be kept]\n"]
            .map(str::to_owned),
    );
    let told: Vec<_> = told.iter().map(String::as_str).collect();
    let answer = combined(&suite, &told, false);
    assert_eq!((&answer["problem"], &answer["tests"]), (&Value::Null, &json!([0, 1, 2, 3])), "{answer}");
    let files = figures(&suite)["files"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(files, ["shop/prices.py"]);
    // What this user's own workers say of other places is theirs to say.
    combined(&suite, &told[1..2], true);
    assert!(figures(&suite)["files"].as_object().unwrap().keys().any(|name| name.ends_with("secret.py")));
}
