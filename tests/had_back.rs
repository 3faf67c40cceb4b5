//! Runs that are had back: one that broke off goes on by its id, by a rerun or by a selection, whatever its tests left.

use nix::sys::signal::Signal;

use crate::around::{Ran, said};
use crate::harness::{Running, Suite, is, text, until};

#[test]
fn a_run_of_another_process_is_watched_until_it_breaks_off() {
    let suite = Suite::named("long");
    let state = suite.beside("state").into_os_string().into_string().unwrap();
    let mut run = suite.start(&["--run-id", "one"]);
    run.until(|event| is("test_started")(event) && text(event, "test").contains("waits"));
    let watch = |name: &str| {
        let command = suite.seagull(&["watch", "one", "--output", "json", "--state", &state]);
        Running::start(command, &suite.beside(name))
    };
    let mut watching = watch("watching");
    watching.until(is("verdict"));
    // Whoever leaves does not take the run along.
    let leaving = watch("leaving");
    leaving.signal(Signal::SIGINT);
    let (_, code, _) = leaving.end();
    assert!(code == 130, "{code}");
    let ran = Ran { suite, from: vec!["--state".into(), state] };
    assert_eq!(text(&ran.objects(&["runs"])[0], "state"), "under_way");
    let open = ran.objects(&["results", "one", "--not-passed"]);
    assert!(open.iter().any(|test| test["verdict"].is_null()), "{open:?}");

    let not_ended = |ran: &Ran| {
        let selected = ran.ask(&["run", "--select", "failed@one"]);
        assert_eq!(selected.status.code(), Some(2), "{}", said(&selected));
        assert!(said(&selected).contains("run one has not ended"), "{}", said(&selected));
    };
    not_ended(&ran);
    let same = ran.ask(&["run", "--run-id", "one"]);
    let hint = format!("hint: seagull watch one {} follows it", ran.from.join(" "));
    assert!(said(&same).contains(&hint), "{}", said(&same));

    run.signal(Signal::SIGKILL);
    let (_, code, stderr) = watching.end();
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("error: run one has broken off: its process is gone\n"), "{stderr}");
    assert!(stderr.contains("hint: it goes on by the same command with --run-id one\n"), "{stderr}");
    let why = ran.text(&["explain", "one"]);
    assert!(
        why.contains("it has broken off: its process is gone; the same command with --run-id one"),
        "{why}"
    );
    let why = ran.text(&["explain", "one", text(&open[0], "test")]);
    assert!(why.contains("the run has broken off before it had a result"), "{why}");
    assert_eq!(text(&ran.objects(&["runs"])[0], "state"), "broken_off");
}

/// A suite whose tests write files that git sees; the last waits for a long time, once.
fn littering() -> Ran {
    let source = "import pathlib, pytest\n\
        @pytest.mark.parametrize('n', range(4))\n\
        def test_n(n):\n    pathlib.Path(f'out{n}.txt').write_text(str(n))\n    open('ran', 'a').write(str(n))\n\
        def test_last():\n    if not pathlib.Path('../wait').exists():\n\
        \x20       pathlib.Path('../wait').write_text('')\n        __import__('time').sleep(600)\n";
    let ran = Ran::of(&[("test_a.py", source)]);
    ran.suite.commit();
    ran
}

/// Its run `one`, of one slot, killed in the last test.
fn broken_off() -> Ran {
    let ran = littering();
    let mut run = ran.suite.start(&["--slots", "1", "--run-id", "one", "--no-early-start"]);
    for _ in 0..4 {
        run.until(is("verdict"));
    }
    until(|| ran.suite.beside("wait").exists());
    run.signal(Signal::SIGKILL);
    run.end();
    ran
}

#[test]
fn a_run_that_broke_off_goes_on_though_its_tests_left_files() {
    let ran = broken_off();
    let command = ["--slots", "1", "--run-id", "one", "--no-early-start"];
    let junit = ran.suite.path().join("watched.xml").into_os_string().into_string().unwrap();
    ran.ask(&["watch", "one", "--junit", &junit]);
    // What git tracks has changed.
    let source = ran.suite.read("test_a.py");
    ran.suite.write("test_a.py", &format!("{source}\n"));
    let (_, code, stderr) = ran.suite.start(&command).end();
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("hint: seagull rerun --state ") && stderr.contains(" one runs what has not"),
        "{stderr}"
    );
    ran.suite.write("test_a.py", &source);
    // Another folder of the repository is another suite, whatever it is called.
    let (top, state) = (ran.suite.path(), ran.suite.beside("state"));
    std::fs::create_dir(top.join("elsewhere")).unwrap();
    let mut other = ran.suite.seagull(&[&["run"], &command[..]].concat());
    other.arg("--state").arg(state).arg("--project").arg(top.file_name().unwrap());
    let other = other.current_dir(top.join("elsewhere")).output().unwrap();
    assert_eq!(other.status.code(), Some(2), "{}", said(&other));
    assert!(said(&other).contains("workspace"), "{}", said(&other));
    let (events, code, stderr) = ran.suite.start(&command).end();
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("that git does not track came since the run began"), "{stderr}");
    assert_eq!(events.iter().filter(|event| is("verdict")(event)).count(), 5);
    assert_eq!(ran.suite.read("ran"), "0123", "what had a verdict ran again");

    // Once it has ended, it is shown again, whatever files there are.
    ran.suite.write("more.txt", "");
    let shown = ran.suite.run(&command);
    shown.expect_code(0);
    assert_eq!(ran.suite.read("ran"), "0123");
}

#[test]
fn what_a_run_that_broke_off_did_not_come_to_is_run_by_a_rerun_and_by_a_selection() {
    let ran = broken_off();
    let last = [("test_a.py::test_last", "passed")];
    ran.suite.run(&["--slots", "1", "--run-id", "two", "--select", "not-passed@one"]).expect(0, &last);
    let again = ran.ask(&["rerun", "one", "--run-id", "three"]);
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
    assert!(
        said(&again).contains("rerun of run one: 1 test; 4 verdicts stand as they are"),
        "{}",
        said(&again)
    );
    assert_eq!(ran.suite.read("ran"), "0123");
}

#[test]
fn a_run_whose_log_is_in_its_own_tree_is_found_again_by_its_id() {
    let suite = Suite::of(&[("test_a.py", "def test_a(): pass\n")]);
    suite.commit();
    let state = suite.beside("state").into_os_string().into_string().unwrap();
    for _ in 0..2 {
        let mut run = suite.seagull(&["run", "--run-id", "one", "--state", &state]);
        let log =
            std::fs::File::options().create(true).append(true).open(suite.path().join("nohup.out")).unwrap();
        let status = run.stdout(log.try_clone().unwrap()).stderr(log).status().unwrap();
        assert_eq!(status.code(), Some(0), "{}", suite.read("nohup.out"));
    }
    assert!(suite.read("nohup.out").contains("run one is there already"), "{}", suite.read("nohup.out"));
}
