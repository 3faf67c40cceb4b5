//! Suites of other frameworks than pytest: any command, and cargo.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Finished, Running, Suite, is, text};

/// How long what was killed may take to be gone.
const GONE: Duration = Duration::from_secs(1);

fn command(ids: &[&str]) -> Suite {
    let suite = Suite::named("command");
    suite.write("ids.txt", &ids.join("\n"));
    suite
}

/// How many tests each start of the run command got.
fn batches(suite: &Suite) -> Vec<usize> {
    let text = std::fs::read_to_string(suite.beside("meet/batches")).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

#[track_caller]
fn says(run: &Finished, test: &str, field: &str, expected: &str) {
    let result = run.result(test);
    assert!(text(result, field).contains(expected), "{result}");
}

#[test]
fn what_a_command_reports_is_what_its_tests_came_to() {
    let ids = ["cart::adds", "cart::fails", "cart::breaks", "cart::skips", "till::recovers", "till::opens"];
    let run = command(&ids).run(&[]);
    run.expect(
        100,
        &[
            ("cart::adds", "passed"),
            ("cart::fails", "failed"),
            ("cart::breaks", "failed"),
            ("cart::skips", "skipped"),
            ("till::recovers", "flaky"),
            ("till::opens", "passed"),
        ],
    );
    says(&run, "cart::fails", "cause", "assertion");
    says(&run, "cart::fails", "message", "1 is not 2");
    says(&run, "cart::breaks", "cause", "error");
    says(&run, "cart::skips", "message", "not today");
    assert!(run.all("suite_error").is_empty());
}

#[test]
fn a_test_is_repeated_by_the_run_command_with_its_id_alone() {
    let suite = command(&["cart::adds", "cart::fails", "cart::crashes", "cart::is_left_out"]);
    suite.run(&["--slots", "1"]).expect_code(100);
    std::fs::remove_file(suite.beside("meet/batches")).unwrap();
    for (test, code) in [("adds", 0), ("fails", 100), ("crashes", 100)] {
        let repeated = repro(&suite, &["last", test, "--until-fail=2"]);
        assert_eq!(
            repeated.status.code(),
            Some(code),
            "{test}: {}",
            String::from_utf8_lossy(&repeated.stderr)
        );
    }
    assert_eq!(batches(&suite), [1; 4], "twice one that does not fail");
    let line = String::from_utf8(repro(&suite, &["last", "fails", "--print"]).stdout).unwrap();
    let printed = suite.command("sh").args(["-c", &line]).output().unwrap();
    assert_eq!(printed.status.code(), Some(3), "{line}");
    assert_eq!(batches(&suite).len(), 5);
}

#[test]
fn many_short_tests_share_a_start_and_a_batch_of_nothing_has_one_each() {
    let ids: Vec<_> = (0..300).map(|number| format!("many::t{number}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let suite = command(&ids);
    suite.run(&[]).expect_counts(0, &[("passed", 300)]);
    let started = batches(&suite);
    assert!(started.len() < 30 && started.iter().sum::<usize>() == 300, "{started:?}");
    let suite = command(&ids[..6]);
    suite.write("seagull.toml", &(suite.read("seagull.toml") + "batch = '0s'\n"));
    suite.run(&[]).expect_counts(0, &[("passed", 6)]);
    assert_eq!(batches(&suite), [1; 6]);
}

#[test]
fn an_isolated_batch_has_tests_of_one_bundle_or_one_test() {
    let ids = ["many::a", "many::b", "many::c", "few::a", "few::b", "few::c"];
    for (isolation, expected) in [("bundle", &[3, 3][..]), ("test", &[1; 6])] {
        let suite = command(&ids);
        let run = suite.run(&["--slots", "1", "--isolation", isolation, "--worker-memory", "1MiB"]);
        run.expect_counts(0, &[("passed", 6)]);
        assert_eq!(batches(&suite), expected, "{isolation}");
    }
}

#[test]
fn of_a_batch_that_tests_kill_only_those_fail() {
    // One, one in each half, and more together than it takes to call the command broken.
    for places in [&[13][..], &[3, 13], &[0, 1, 2, 3]] {
        let name = |place| if places.contains(&place) { "crashes" } else { "passes" };
        let ids: Vec<_> = (0..20).map(|place| format!("many::{}_{place}", name(place))).collect();
        let suite = command(&ids.iter().map(String::as_str).collect::<Vec<_>>());
        let run = suite.run(&["--slots", "1"]);
        run.expect_counts(100, &[("passed", 20 - places.len()), ("failed", places.len())]);
        for place in places {
            let crashes = format!("many::crashes_{place}");
            says(&run, &crashes, "cause", "crashed");
            says(&run, &crashes, "message", "signal 9");
        }
        assert!(run.all("suite_error").is_empty());
    }
}

#[test]
fn a_batch_that_is_killed_though_no_test_alone_does_it_is_a_suite_error() {
    let run = command(&["many::a", "many::shakes", "many::b"]).run(&["--slots", "1"]);
    let passed = ["many::a", "many::shakes", "many::b"].map(|id| (id, "passed"));
    run.expect(100, &passed);
    assert_eq!(text(run.one("suite_error"), "message"), "signal 9");
}

#[test]
fn of_a_batch_that_hangs_only_the_test_that_does_times_out_and_its_processes_are_gone() {
    let suite = command(&["many::a", "many::hangs", "many::b"]);
    let run = suite.run(&["--test-limit", "3s", "--slots", "1"]);
    run.expect(100, &[("many::a", "passed"), ("many::hangs", "failed"), ("many::b", "passed")]);
    says(&run, "many::hangs", "cause", "timed out");
    suite.marked().all_gone_within(GONE);
}

#[test]
fn what_a_command_breaks_off_before_runs_again() {
    let run = command(&["many::a", "many::b", "many::bails", "many::c", "many::d"]).run(&["--slots", "1"]);
    let passed = ["many::a", "many::b", "many::c", "many::d"].map(|id| (id, "passed"));
    run.expect(100, &[&passed[..], &[("many::bails", "failed")]].concat());
    says(&run, "many::bails", "message", "exit status 3");
}

#[test]
fn what_a_command_that_ends_well_does_not_name_was_not_executed() {
    let run = command(&["many::a", "many::is_left_out"]).run(&[]);
    run.expect(101, &[("many::a", "passed"), ("many::is_left_out", "not_executed: unstable id")]);
    let missing = run.all("test_missing");
    assert!(
        text(missing[0], "reason").ends_with("\nhint: [command] id says how ids are made"),
        "{missing:?}"
    );
}

#[test]
fn a_failure_that_no_test_explains_is_a_suite_error() {
    let run = command(&["many::a", "many::spoils"]).run(&["--slots", "1"]);
    run.expect(100, &[("many::a", "passed"), ("many::spoils", "passed")]);
    assert_eq!(text(run.one("suite_error"), "message"), "exit status 3");
}

#[test]
fn commands_that_do_not_work_are_never_green() {
    let suite = command(&["many::a", "many::b", "many::c", "many::d", "many::e"]);
    suite.write("seagull.toml", "[command]\ndiscover = 'cat ids.txt'\nrun = 'echo broken >&2; exit 7'\n");
    let run = suite.run(&["--slots", "1"]);
    assert_eq!(text(run.all("attempt_lost")[0], "cause"), "sandbox failed");
    // Cut to bundles of one or two, it may seem to be the test that ends the command.
    let red = |verdict: &String| verdict.starts_with("not_executed") || verdict == "failed";
    assert!(run.counts().keys().all(red), "{:?}", run.counts());
    assert!([100, 101, 102].contains(&run.code), "{}", run.code);
    suite.write("seagull.toml", "[command]\ndiscover = 'echo no list >&2; exit 5'\nrun = 'true'\n");
    let run = suite.run(&[]);
    run.expect(101, &[]);
    assert!(format!("{:?}", run.events).contains("the discover command ended with exit status 5"), "{run:?}");
    assert!(format!("{:?}", run.events).contains("no list"), "{run:?}");
    suite.write("seagull.toml", "[command]\ndiscover = '(echo no npx >&2; exit 5) | sort'\nrun = 'true'\n");
    let run = suite.run(&[]);
    run.expect(101, &[]);
    assert!(format!("{:?}", run.events).contains("no npx"), "{run:?}");
    suite.write("seagull.toml", "[command]\ndiscover = 'true'\nrun = 'true'\n");
    let run = suite.run(&[]);
    run.expect(101, &[]);
    assert!(format!("{:?}", run.events).contains("\"no tests were found\""), "{run:?}");
}

#[test]
fn a_run_command_that_is_not_there_or_reports_nothing_is_shown_with_what_it_wrote() {
    for ids in [&["many::a"][..], &["many::a", "many::b", "many::c", "many::d", "many::e"]] {
        let suite = command(ids);
        suite.write("seagull.toml", "[command]\ndiscover = 'cat ids.txt'\nrun = './nowhere.sh {ids}'\n");
        let run = suite.run(&["--slots", "1"]);
        assert!(run.counts().keys().all(|verdict| verdict.starts_with("not_executed")), "{:?}", run.counts());
        let lost = text(run.all("attempt_lost")[0], "message");
        assert!(lost.contains("exit status 127") && lost.contains("; there is no report\n"), "{lost}");
        assert!(lost.contains("./nowhere.sh: not found"), "{lost}");
    }
    let suite = command(&["many::a"]);
    suite.write("seagull.toml", "[command]\ndiscover = 'cat ids.txt'\nrun = 'echo no jest; true {id}'\n");
    let (events, code, stderr) = suite.start(&["--slots", "1"]).end();
    assert_eq!(code, 101);
    let missing = events.iter().find(|event| is("test_missing")(event)).unwrap();
    assert!(text(missing, "reason").ends_with("; there is no report\nno jest"), "{missing}");
    assert!(
        stderr.contains("[command] run has {id}, which stands for nothing; did you mean {ids}?"),
        "{stderr}"
    );
}

#[test]
fn arguments_go_where_they_stand_for_or_nowhere() {
    let suite = command(&["many::a"]);
    let (_, code, stderr) = suite.start(&["many"]).end();
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("many goes nowhere"), "{stderr}");
    let settings = suite
        .read("seagull.toml")
        .replace("cat ids.txt", "for id in {args}; do echo \\\"many::$id\\\"; done");
    suite.write("seagull.toml", &settings);
    suite.run(&["x", "y z"]).expect(0, &[("many::x", "passed"), ("many::y z", "passed")]);
}

#[test]
fn an_interrupted_batch_is_cancelled_with_its_processes() {
    let suite = command(&["many::hangs", "many::a"]);
    let mut run = suite.start(&["--slots", "1"]);
    run.until(is("test_started"));
    run.signal(Signal::SIGINT);
    run.finish().expect_counts(130, &[("not_executed: cancelled", 2)]);
    suite.marked().all_gone_within(GONE);
}

fn cargo() -> Suite {
    Suite::named("cargo")
}

#[test]
fn a_workspace_runs_test_by_test_with_what_cargo_gives() {
    let suite = cargo();
    let run = suite.run(&["--run-id", "all"]);
    run.expect(
        100,
        &[
            ("alpha::doc", "passed"),
            ("alpha::lib::tests::aborts", "failed"),
            ("alpha::lib::tests::does_not_panic_as_it_should", "failed"),
            ("alpha::lib::tests::exits_as_if_all_were_well", "failed"),
            ("alpha::lib::tests::fails", "failed"),
            ("alpha::lib::tests::has_a_process_of_its_own", "passed"),
            ("alpha::lib::tests::is_ignored", "skipped"),
            ("alpha::lib::tests::panics", "failed"),
            ("alpha::lib::tests::panics_as_it_should", "passed"),
            ("alpha::lib::tests::passes", "passed"),
            ("alpha::lib::tests::returns_an_error", "failed"),
            ("alpha::lib::tests::so_has_another", "passed"),
            ("beta::bin/beta::is_called_beta", "passed"),
            ("beta::test/environment::it_runs_in_its_package_with_cargos_variables", "passed"),
            ("beta::test/environment::the_programs_of_its_package_are_there", "passed"),
            ("beta::test/own", "passed"),
        ],
    );
    let table = [
        ("fails", "assertion", "assertion `left == right` failed"),
        ("panics", "error", "a number"),
        ("aborts", "crashed", "signal 6"),
        ("exits_as_if_all_were_well", "crashed", "exit status 0"),
        ("returns_an_error", "error", "Error: \"no\""),
        ("does_not_panic_as_it_should", "error", "test did not panic as expected"),
    ];
    for (name, cause, message) in table {
        let test = format!("alpha::lib::tests::{name}");
        says(&run, &test, "cause", cause);
        says(&run, &test, "message", message);
    }
    says(&run, "alpha::lib::tests::fails", "location", "alpha/src/lib.rs:");
    let memory = &run.result("alpha::lib::tests::passes")["peak_memory_kib"];
    assert!(memory.is_null(), "{memory} is what the build took");
    says(&run, "alpha::lib::tests::is_ignored", "message", "too slow");
    let chosen = suite.run(&["--isolation", "test", "--", "-p", "alpha", "--lib", "--", "--ignored"]);
    chosen.expect(100, &[("alpha::lib::tests::is_ignored", "failed")]);

    for (test, code) in [
        ("alpha::lib::tests::passes", 0),
        ("alpha::lib::tests::is_ignored", 0),
        ("alpha::lib::tests::fails", 100),
        ("exits_as_if_all_were_well", 100),
        ("beta::test/own", 0),
        ("beta::bin/beta::is_called_beta", 0),
    ] {
        let repeated = repro(&suite, &["all", test, "--until-fail=1"]);
        assert_eq!(
            repeated.status.code(),
            Some(code),
            "{test}: {}",
            String::from_utf8_lossy(&repeated.stderr)
        );
    }
    let printed = repro(&suite, &["last", "is_ignored", "--print"]);
    let line = String::from_utf8(printed.stdout).unwrap();
    let expected = "cargo test -p alpha --lib -- --include-ignored --exact --nocapture tests::is_ignored\n";
    assert!(line.ends_with(expected), "{line}");
    let source = suite.read("alpha/src/lib.rs").replace("fn passes()", "fn is_called_otherwise()");
    suite.write("alpha/src/lib.rs", &source);
    let gone = repro(&suite, &["all", "alpha::lib::tests::passes"]);
    assert_eq!(gone.status.code(), Some(1), "{}", String::from_utf8_lossy(&gone.stderr));
}

fn repro(suite: &Suite, arguments: &[&str]) -> std::process::Output {
    let state = suite.beside("state").into_os_string().into_string().unwrap();
    suite.seagull(&[&["repro"], arguments, &["--state", &state]].concat()).output().unwrap()
}

#[test]
fn no_configured_runner_and_no_strange_variable_comes_between_cargo_and_a_test() {
    let suite = Suite::of(&[
        ("Cargo.toml", "[package]\nname = 'small'\nedition = '2024'\n"),
        (
            "src/lib.rs",
            "#[test]\nfn passes() {\n    assert_eq!(std::env::var(\"my-tool\").unwrap(), \"here\");\n}\n",
        ),
    ]);
    let said = suite.command("rustc").arg("-vV").output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    let host = said.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let configuration = "[env]\nmy-tool = 'here'\n[target.HOST]\nrunner = ['true', 'x']\n";
    suite.write(".cargo/config.toml", &configuration.replace("HOST", host));
    suite.run(&[]).expect(0, &[("small::lib::passes", "passed")]);

    let state = suite.beside("state");
    let mut command = suite.seagull(&["run", "--output", "json", "--slots", "1"]);
    command.arg("--state").arg(state);
    let name = host.to_ascii_uppercase().replace(['-', '.'], "_");
    command.env(format!("CARGO_TARGET_{name}_RUNNER"), "true");
    let run = Running::start(command, &suite.beside("stderr-runner")).finish();
    run.expect(0, &[("small::lib::passes", "passed")]);
}

#[test]
fn test_binaries_that_cargo_does_not_start_are_not_forgotten() {
    let suite = cargo();
    let run = suite.run(&["--", "--no-run"]);
    run.expect(101, &[]);
    assert!(format!("{:?}", run.events).contains("did not start it as it was told"), "{:#?}", run.events);
}

#[test]
fn what_does_not_build_is_told_in_cargos_words() {
    let suite = cargo();
    suite.write("beta/src/lib.rs", "//! Broken.\npub const NAME: &str = 3;\n");
    let run = suite.run(&[]);
    run.expect(101, &[]);
    assert!(format!("{:?}", run.events).contains("mismatched types"), "{:#?}", run.events);
}

#[test]
fn a_test_that_hangs_is_killed_with_its_processes_at_its_limit() {
    let suite = Suite::of(&[
        ("Cargo.toml", "[package]\nname = 'slow'\nedition = '2024'\n"),
        (
            "src/lib.rs",
            "#[test]\nfn hangs() {\n    std::process::Command::new(\"sleep\").arg(\"600\").status().unwrap();\n}\n\
             #[test]\nfn passes() {}\n",
        ),
    ]);
    let run = suite.run(&["--test-limit", "1s"]);
    run.expect(100, &[("slow::lib::hangs", "failed"), ("slow::lib::passes", "passed")]);
    says(&run, "slow::lib::hangs", "cause", "timed out");
    suite.marked().all_gone_within(GONE);
}
