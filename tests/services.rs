//! Services on a real Docker engine: up and ready, told of when they are not, and gone whatever happens.

use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::environments::start_through;
use crate::harness::{DECLARING, Docker, IMAGE, Question, Running, Suite, Victim, Way, When, until};

/// How long a guard may take to see that its owner is dead and to remove what there is, on a busy machine.
const GUARDED: Duration = Duration::from_secs(120);

pub fn suite(toml: &str) -> Suite {
    let toml = toml.replace("IMAGE", IMAGE).replace("DECLARING", DECLARING);
    Suite::of(&[("seagull.toml", &toml)])
}

/// A web server, and what depends on it and is prepared.
const TWO: &str = r#"
    [services.web]
    image = "IMAGE"
    command = ["python3", "-m", "http.server", "8000"]
    ports = [8000]
    ready.http = "8000/"
    url = "http://{host}:{port}/"
    [services.store]
    image = "DECLARING"
    command = "echo begins; touch /data/healthy; exec sleep 1000"
    ready.health = true
    depends-on = ["web"]
    prepare = ["python3 -c 'import urllib.request as web; web.urlopen(\"http://web:8000/\")' && echo got >/data/got"]
    [environment.both]
    services = ["store"]
    env = { MODE = "it's" }
"#;

/// One that says and does little.
pub const ONE: &str = r#"
    [services.one]
    image = "DECLARING"
    command = "echo begins; exec sleep 1000"
    ready.command = "true"
    prepare = ["true"]
    [environment.one]
    services = ["one"]
"#;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
pub fn said(output: &Output, code: i32) -> String {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    stderr
}

fn shell(docker: &Docker, suite: &Suite, line: &str) -> Output {
    let mut shell = suite.command("sh");
    shell.args(["-c", line]).env("DOCKER_HOST", format!("unix://{}", docker.socket().display()));
    docker.place().command(shell).output().unwrap()
}

#[test]
fn services_are_up_and_found_and_gone() {
    let Some(docker) = Docker::get() else { return };
    let suite = suite(TWO);
    let run = |arguments: &[&str]| docker.seagull(&suite, arguments).output().unwrap();
    let up = run(&["services", "up"]);
    let stderr = said(&up, 0);
    assert!(stderr.contains("  web    ready after "), "{stderr}");
    assert!(stderr.contains("both is up in "), "{stderr}");
    // A shell that reads what it said reaches the server.
    let program = env!("CARGO_BIN_EXE_seagull");
    let line = format!(
        "eval \"$({program} services up both)\"; echo \"$MODE\"; curl -fsS \"$SEAGULL_SERVICE_WEB_URL\""
    );
    let reached = shell(&docker, &suite, &line);
    let told = said(&reached, 0);
    assert!(told.contains("both is up already, for another 1") && told.contains(" h\n"), "{told}");
    let page = text(&reached.stdout);
    assert!(page.starts_with("it's\n") && page.contains("Directory listing"), "{page}");
    let variables = text(&run(&["services", "shell", "both", "--", "env"]).stdout);
    assert!(variables.contains("SEAGULL_SERVICE_WEB_URL=http://127.0.0.1:"), "{variables}");
    let told = run(&["services", "up", "both", "--output", "json"]);
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((&told["environment"], &told["variables"]["MODE"]), (&"both".into(), &"it's".into()));
    let web = &told["services"]["web"];
    assert_eq!(web["url"], format!("http://127.0.0.1:{}/", web["ports"]["8000"]));
    let line = text(&run(&["services", "logs", "both", "store", "--output", "json"]).stdout);
    assert_eq!(line, "{\"line\":\"begins\",\"service\":\"store\"}\n");
    let logs = text(&run(&["services", "logs", "both"]).stdout);
    assert!(logs.contains("store | begins\n") && logs.contains("web   | "), "{logs}");
    assert_eq!(docker.objects(&suite).len(), 4, "two containers, a network and a volume");
    assert_eq!(suite.marked().alive().len(), 1, "the guard");

    let stderr = said(&run(&["services", "down"]), 0);
    assert_eq!(stderr, "both is down: 2 containers, 1 network, 1 volume removed\n");
    assert_eq!(docker.objects(&suite), [""; 0]);
    suite.marked().all_gone_within(GUARDED);
    assert_eq!(said(&run(&["services", "down", "both"]), 0), "both is not up\n");
    let stderr = said(&run(&["services", "logs", "both"]), 1);
    assert!(stderr.contains("both is not up\nhint: seagull services up both"), "{stderr}");
}

#[test]
fn a_container_may_do_no_more_than_is_written() {
    let Some(docker) = Docker::get() else { return };
    let suite = suite(
        r#"
        [services.tight]
        image = "IMAGE"
        command = ["sh", "-c", "cat /proc/self/status; id -u; touch /x || echo refused; touch /memory/x && exec sleep 1000"]
        tmpfs = ["/memory"]
        user = "1000"
        read-only = true
        memory = "64MiB"
        cpus = "0.5"
        pids = 50
        ready.log = "refused"
        [environment.e]
        services = ["tight"]
        "#,
    );
    said(&docker.seagull(&suite, &["services", "up"]).output().unwrap(), 0);
    let logs = docker.seagull(&suite, &["services", "logs", "e"]).output().unwrap();
    let logs = text(&logs.stdout);
    for line in ["CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "1000"] {
        assert!(logs.lines().any(|said| said == line), "no {line:?} in {logs}");
    }
    let name = docker.objects(&suite).into_iter().find(|name| name.ends_with("-tight")).unwrap();
    let host = docker.ask(&format!("/containers/{name}/json"))["HostConfig"].clone();
    assert_eq!((&host["Memory"], &host["PidsLimit"]), (&(64 << 20).into(), &50.into()));
    assert_eq!((&host["NanoCpus"], &host["Privileged"]), (&500_000_000.into(), &false.into()));
    said(&docker.seagull(&suite, &["services", "down"]).output().unwrap(), 0);
}

#[test]
fn a_secret_is_in_no_place_but_the_container() {
    let Some(docker) = Docker::get() else { return };
    let suite = suite(
        r#"
        [services.a]
        image = "IMAGE"
        command = ["sh", "-c", "id -u; cat /run/secrets/KEY >/tmp/key && echo got it && exec sleep 1000"]
        secrets = { KEY = "env:THE_KEY" }
        user = "1000"
        ready.log = "got it"
        prepare = ["test $(cat /tmp/key) = hunter2hunter2"]
        [environment.e]
        services = ["a"]
        "#,
    );
    let none = docker.seagull(&suite, &["services", "up"]).output().unwrap();
    assert!(
        said(&none, 1).contains(
            "a cannot have its secrets: secret KEY, env:THE_KEY: there is no such variable\nhint: "
        )
    );
    assert_eq!(docker.objects(&suite), [""; 0]);
    let mut up = docker.seagull(&suite, &["services", "up"]);
    said(&up.env("THE_KEY", "hunter2hunter2").output().unwrap(), 0);
    let container = docker.objects(&suite).remove(0);
    let inspected = docker.ask(&format!("/containers/{container}/json")).to_string();
    assert!(inspected.contains("/run/secrets") && !inspected.contains("hunter2"), "{inspected}");
    let guards = suite.marked().alive();
    assert!(!guards.is_empty() && guards.iter().all(|(_, line)| !line.contains("hunter2")), "{guards:?}");
    let directory = format!("/dev/shm/seagull-secrets-{}", container.split('-').nth(2).unwrap());
    assert!(std::path::Path::new(&directory).exists());
    suite.marked().kill();
    suite.marked().all_gone_within(GUARDED);
    let gc = docker.seagull(&suite, &["executor", "gc"]).output().unwrap();
    said(&gc, 0);
    assert!(!std::path::Path::new(&directory).exists());
    assert_eq!(docker.objects(&suite), [""; 0]);
}

#[test]
fn a_secret_is_in_no_log_wherever_an_engine_or_a_bound_cuts_it() {
    let Some(docker) = Docker::get() else { return };
    // An engine has a line in pieces of 16 KiB, of which the first ends in the middle of the secret.
    let suite = suite(
        r#"
        [secrets]
        RUNS = "env:RUNS"
        [services.a]
        image = "IMAGE"
        command = ["python3", "-c", "import time; key = open('/run/secrets/KEY').read(); print('x' * 16379 + key, key, flush=True); print('tortoise99', flush=True); time.sleep(1000)"]
        secrets = { KEY = "env:THE_KEY" }
        ready.log = "tortoise"
        [environment.e]
        services = ["a"]
        "#,
    );
    let secrets = [("THE_KEY", "hunter2hunter2"), ("RUNS", "tortoise99")];
    let up = || docker.seagull(&suite, &["services", "up"]).envs(secrets).output().unwrap();
    said(&up(), 0);
    // Its own is known by what it has, also to whoever does not have it any more.
    let logs = |lines: &str| {
        let mut logs = docker.seagull(&suite, &["services", "logs", "e", "--lines", lines]);
        text(&logs.env("RUNS", "tortoise99").output().unwrap().stdout)
    };
    assert!(logs("10").ends_with("xxx*** ***\n***\n"), "{}", logs("10"));
    // It begins with the second piece.
    assert_eq!(logs("2"), "*** ***\n***\n");
    said(&docker.seagull(&suite, &["services", "down"]).output().unwrap(), 0);
    // What fails is told by its end, which begins in the middle of the secret.
    let fails = r#"prepare = ["cat /run/secrets/KEY; python3 -c 'print(\"x\" * 16376)'; exit 3"]"#;
    let toml = suite.read("seagull.toml");
    suite.write("seagull.toml", &toml.replace("ready.log = \"tortoise\"", &format!("{fails}\n")));
    let told = said(&up(), 1);
    assert!(told.contains("it said last:\n  ***xxx") && !told.contains("hunter2"), "{told:.400}");
    assert_eq!(docker.objects(&suite), [""; 0]);
}

#[test]
fn services_whose_state_directory_is_gone_go_too_for_nobody_finds_them_any_more() {
    let Some(docker) = Docker::get() else { return };
    let suite = suite(ONE);
    said(&docker.seagull(&suite, &["services", "up"]).output().unwrap(), 0);
    assert_eq!(docker.objects(&suite).len(), 3);
    let moved = suite.beside("moved");
    std::fs::rename(suite.path().join(".seagull"), &moved).unwrap();
    suite.marked().all_gone_within(GUARDED);
    assert_eq!(docker.objects_in(&moved), [""; 0]);
}

#[test]
fn an_interrupt_removes_what_was_begun() {
    let Some(docker) = Docker::get() else { return };
    let suite = suite(&ONE.replace("\"true\"\n", "\"false\"\n"));
    let up = docker.seagull(&suite, &["services", "up"]);
    let mut up = Running::start(up, &suite.beside("stderr"));
    until(|| docker.objects(&suite).iter().any(|name| name.ends_with("-one")));
    // Another is told that somebody is at work.
    let second = docker.seagull(&suite, &["services", "up"]).output().unwrap();
    assert!(said(&second, 1).contains("another seagull services is at work on one\n"));
    up.signal(Signal::SIGINT);
    let (code, stderr) = up.wait();
    assert_eq!(code, 130, "{stderr}");
    assert!(stderr.contains("interrupted: removing what was begun"), "{stderr}");
    assert_eq!(docker.objects(&suite), [""; 0]);
    suite.marked().all_gone_within(GUARDED);
}

#[test]
fn what_is_up_is_not_taken_for_what_is_written_since() {
    let Some(docker) = Docker::get() else { return };
    let suite = suite(ONE);
    let up = || docker.seagull(&suite, &["services", "up"]).output().unwrap();
    said(&up(), 0);
    let first = docker.objects(&suite);
    suite.write("seagull.toml", &ONE.replace("DECLARING", IMAGE));
    let stderr = said(&up(), 1);
    assert!(stderr.contains("one is up as it was written before seagull.toml changed\nhint: "), "{stderr}");
    assert_eq!(docker.objects(&suite), first);
    suite.write("seagull.toml", &ONE.replace("DECLARING", DECLARING));
    // A service that ended is no service.
    let container = first.iter().find(|name| name.ends_with("-one")).unwrap();
    let mut curl = Command::new("curl");
    curl.args(["-fsS", "-X", "POST", "--unix-socket"]).arg(docker.socket());
    let killed = curl.arg(format!("http://engine/containers/{container}/kill")).output().unwrap();
    assert!(killed.status.success());
    let stderr = said(&up(), 0);
    assert!(stderr.contains("one has ended since; one starts anew"), "{stderr}");
    assert!(docker.objects(&suite).len() == 3 && !docker.objects(&suite).contains(container));
    said(&docker.seagull(&suite, &["services", "down"]).output().unwrap(), 0);
}

/// One that is prepared with a number that nobody knows, in a volume and beside it, and adds a line at each start.
const SAVED: &str = r#"
    [services.kept]
    image = "DECLARING"
    command = ["python3", "/kept.py"]
    files = { "/kept.py" = "kept.py" }
    ready.log = "ready"
    prepare = [
        "chmod 701 /data && mkdir -m 700 /data/own /beside",
        "cat /proc/sys/kernel/random/uuid >/data/own/id && cat /data/own/id >/beside/id",
    ]
    template = true
    [environment.kept]
    services = ["kept"]
"#;

const KEPT: &str = "import os, signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n\
                    os.path.exists('/data/own') and open('/data/own/starts', 'a').write('started\\n')\n\
                    print('ready', flush=True)\nsignal.pause()\n";

/// What is in its volume and beside it, as the container has it.
fn kept(docker: &Docker, suite: &Suite) -> String {
    let container = docker.objects(suite).into_iter().find(|name| name.ends_with("-kept")).unwrap();
    let look = "cat /data/own/id /beside/id /data/own/starts; ls -ld /data /data/own; ls /data";
    text(&shell(docker, suite, &format!("docker exec {container} sh -c '{look}' | cut -c1-36")).stdout)
}

#[test]
fn what_a_service_is_once_it_is_prepared_is_saved_and_is_what_the_next_begins_with() {
    let Some(docker) = Docker::get() else { return };
    let suite = suite(SAVED);
    suite.write("kept.py", KEPT);
    let run = |arguments: &[&str]| docker.seagull(&suite, arguments).output().unwrap();
    let up = || {
        let stderr = said(&run(&["services", "up"]), 0);
        let found = kept(&docker, &suite);
        said(&run(&["services", "down"]), 0);
        assert_eq!(docker.objects(&suite), [""; 0]);
        (stderr, found)
    };
    let templates = || text(&run(&["services", "templates", "--output", "json"]).stdout);
    let (stderr, first) = up();
    assert!(
        stderr.contains("  kept  prepared after ") && stderr.contains("is saved as a template"),
        "{stderr}"
    );
    let lines: Vec<&str> = first.lines().collect();
    assert!(lines.len() == 6 && lines[0].len() == 36 && lines[0] == lines[1], "{first}");
    assert_eq!(lines[2], "started");
    assert!(lines[3].starts_with("drwx-----x") && lines[4].starts_with("drwx------"), "{first}");
    assert_eq!(lines[5], "own");
    let made = templates();
    let (stderr, second) = up();
    assert!(
        !stderr.contains("prepare") && first == second,
        "what is written to one is not in the next: {stderr}{first}{second}"
    );
    assert!(made.lines().count() == 1 && made.contains("\"service\":\"kept\""), "{made}");
    // What it came of has changed.
    suite.write("kept.py", &format!("{KEPT}# new\n"));
    let (_, third) = up();
    assert!(third.lines().next() != first.lines().next(), "{third}");
    assert_eq!(templates().lines().count(), 2);
    said(&run(&["services", "up"]), 0);
    let stderr = said(&run(&["services", "templates", "--remove"]), 0);
    assert!(stderr.contains("stays: something runs with it\n1 template removed"), "{stderr}");
    said(&run(&["services", "down"]), 0);
    assert_eq!(said(&run(&["services", "templates", "--remove"]), 0), "1 template removed\n");
    assert_eq!((templates(), docker.templates(&suite)), (String::new(), 0));
    // It would not be what it is.
    suite.write("kept.py", "import time\nprint('ready', flush=True)\ntime.sleep(1000)\n");
    let stderr = said(&run(&["services", "up"]), 1);
    assert!(
        stderr.contains("kept cannot be a template: told to end, by SIGTERM, it has not within"),
        "{stderr}"
    );
    assert_eq!((docker.objects(&suite).len(), docker.templates(&suite)), (0, 0));
}

#[test]
fn what_the_doctor_makes_a_template_of_is_the_suites() {
    let Some(docker) = Docker::get() else { return };
    let settings = SAVED.replace("[environment.kept]", "[artifact]\nroot = \".\"\n[environment.default]");
    let suite = suite(&settings);
    suite.write("kept.py", KEPT);
    suite.write("test_a.py", "def test_x(): pass\n");
    let run = |arguments: &[&str]| docker.seagull(&suite, arguments).output().unwrap();
    let doctor = run(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(0), "{}", text(&doctor.stdout));
    assert_eq!((docker.objects(&suite), docker.templates(&suite)), (Vec::new(), 1));
    assert_eq!(said(&run(&["services", "templates", "--remove"]), 0), "1 template removed\n");
}

/// What is asked while a template is made.
const SAVING: [Question; 4] =
    [("POST", "/stop"), ("PUT", "/archive"), ("GET", "/archive"), ("POST", "/commit")];

#[test]
fn nothing_is_left_of_an_owner_that_is_killed_while_it_makes_a_template() {
    let Some(docker) = Docker::get() else { return };
    let mut left = Vec::new();
    for (question, when) in
        SAVING.iter().flat_map(|question| [When::During, When::After].map(|when| (*question, when)))
    {
        let suite = suite(SAVED);
        suite.write("kept.py", KEPT);
        let way = Way::new(&docker, suite.beside("engine"), question, when, Victim::asker());
        let mut up = start_through(&docker, &suite, &way, &["services", "up"]);
        let (code, stderr) = up.wait();
        assert_eq!(code, 137, "{question:?} {when:?}: {stderr}");
        left.push((question, when, suite, way));
    }
    for (question, when, suite, _way) in &left {
        suite.marked().all_gone_within(GUARDED);
        assert_eq!(docker.objects(suite), [""; 0], "{question:?} {when:?}");
        let run = |arguments: &[&str]| said(&docker.seagull(suite, arguments).output().unwrap(), 0);
        run(&["services", "up"]);
        run(&["services", "down"]);
        run(&["services", "templates", "--remove"]);
        assert_eq!(docker.templates(suite), 0, "{question:?} {when:?}");
    }
}

/// Every kind of question that is asked until services are up.
const QUESTIONS: [Question; 11] = [
    ("GET", "/version"),
    ("GET", "/containers/json"),
    ("GET", "/images/"),
    ("POST", "/networks/create"),
    ("POST", "/containers/create"),
    ("POST", "/start "),
    ("GET", "-one/json"),
    ("POST", "/wait"),
    ("POST", "-one/exec"),
    ("POST", "/exec/"),
    ("GET", "/exec/"),
];

#[test]
fn nothing_is_left_of_an_owner_that_is_killed_at_any_question() {
    let Some(docker) = Docker::get() else { return };
    let at = [When::Before, When::During, When::After];
    let cases: Vec<_> = QUESTIONS.iter().flat_map(|question| at.map(|when| (*question, when))).collect();
    // Begun one after the other, so that each does what it would alone; the guards work side by side.
    let mut left = Vec::new();
    for (question, when) in cases {
        let suite = suite(ONE);
        let way = Way::new(&docker, suite.beside("engine"), question, when, Victim::asker());
        let mut up = start_through(&docker, &suite, &way, &["services", "up"]);
        let (code, stderr) = up.wait();
        assert_eq!(code, 137, "{question:?} {when:?}: {stderr}");
        assert!(way.has_killed());
        left.push((question, when, suite, way));
    }
    for (question, when, suite, _way) in &left {
        suite.marked().all_gone_within(GUARDED);
        assert_eq!(docker.objects(suite), [""; 0], "{question:?} {when:?}");
    }
}

#[test]
fn what_no_guard_sees_to_is_found_and_removed() {
    let Some(docker) = Docker::get() else { return };
    let suite = suite(ONE);
    let run = |arguments: &[&str]| docker.seagull(&suite, arguments).output().unwrap();
    said(&run(&["services", "up"]), 0);
    let objects = docker.objects(&suite);
    let gc = |arguments: &[&str]| {
        let output = run(&[&["executor", "gc"], arguments].concat());
        said(&output, 0);
        let lines = text(&output.stdout);
        objects
            .iter()
            .filter(|object| lines.contains(&format!("  {object}  of one: its owner is dead")))
            .count()
    };
    assert_eq!(gc(&[]), 0, "its guard lives");
    suite.marked().kill();
    suite.marked().all_gone_within(GUARDED);
    assert_eq!(docker.objects(&suite), objects, "nobody is left who would remove them");
    assert_eq!(gc(&["--dry-run"]), 3);
    assert_eq!(docker.objects(&suite), objects);
    assert_eq!(gc(&[]), 3);
    assert_eq!(docker.objects(&suite), [""; 0]);

    // The next one that starts sees to it too.
    said(&run(&["services", "up"]), 0);
    suite.marked().kill();
    suite.marked().all_gone_within(GUARDED);
    let stderr = said(&run(&["services", "up"]), 0);
    assert!(stderr.contains("removed 3 objects that had been left behind"), "{stderr}");
    assert_eq!(docker.objects(&suite).len(), 3);
    said(&run(&["services", "down"]), 0);
}

#[test]
fn a_lease_ends_by_itself() {
    let Some(docker) = Docker::get() else { return };
    let suite = suite(ONE);
    said(&docker.seagull(&suite, &["services", "up", "--lease", "1s"]).output().unwrap(), 0);
    suite.marked().all_gone_within(GUARDED);
    assert_eq!(docker.objects(&suite), [""; 0]);
}
