//! What is told of services that cannot be: by their last lines, by what the engine says, and what to do about it.

use crate::harness::{DECLARING, Docker, IMAGE};
use crate::services::{ONE, said, suite};

#[test]
fn what_does_not_get_ready_is_told_with_its_last_lines() {
    let Some(docker) = Docker::get() else { return };
    let with = |settings: &str| {
        let toml = format!("[services.a]\nimage = \"IMAGE\"\n{settings}\n[environment.e]\nservices = ['a']");
        let suite = suite(&toml);
        let stderr = said(&docker.seagull(&suite, &["services", "up"]).output().unwrap(), 1);
        assert_eq!(docker.objects(&suite), [""; 0], "{stderr}");
        stderr
    };
    let table = [
        (
            "command = 'echo no disk; exit 7'\nready.log = 'up'",
            "a ended before it was ready: exit code 7; it said last:\n  no disk\nhint: ",
        ),
        (
            "command = 'echo thinking; sleep 1000'\nports = [80]\nready.within = '5s'",
            "a is not ready within 5 s: port 80 takes no connection; it said last:\n  thinking\nhint: ",
        ),
        (
            "command = 'sleep 1000'\nready = { log = 'up', within = '300ms' }",
            "a is not ready within 0.3 s: no line of its log has \"up\"; it said nothing\nhint: ",
        ),
        (
            "command = 'sleep 1000'\nready = { command = 'echo not yet; exit 3', within = '10s' }",
            "a is not ready within 10 s: \"/bin/sh\" ends with 3: not yet; it said nothing\nhint: ",
        ),
        (
            "command = 'sleep 1000'\nready = { health = true, within = '5s' }",
            "a is never ready: its image IMAGE has no health check\nhint: [services.a] ready.command asks",
        ),
        (
            "command = 'sleep 1000'\nprepare = ['echo one', 'echo two; exit 4']",
            "a cannot be prepared: \"echo two; exit 4\" ends with 4; it said last:\n  two\nhint: [services.a] prepare has",
        ),
        (
            "command = ['python3', '-c', 'x = bytearray(1 << 30)']\nmemory = '32MiB'\nready.log = 'up'",
            "a ended before it was ready: it was killed",
        ),
    ];
    // Side by side, for some wait for a deadline.
    std::thread::scope(|scope| {
        for (settings, expected) in table {
            let with = &with;
            scope.spawn(move || {
                let stderr = with(settings);
                let expected = expected.replace("IMAGE", IMAGE);
                assert!(stderr.contains(&format!("error: {expected}")), "{settings}\n{stderr}");
            });
        }
    });
    let suite = suite("[services.a]\nimage = 'seagull.invalid/none'\n[environment.e]\nservices = ['a']");
    let stderr = said(&docker.seagull(&suite, &["services", "up"]).output().unwrap(), 1);
    let expected = "error: the image seagull.invalid/none is not here and cannot be fetched: ";
    assert!(stderr.contains(expected), "{stderr}");
}

#[test]
fn what_ends_when_it_was_ready_is_not_up() {
    let Some(docker) = Docker::get() else { return };
    // One that is ready as soon as it runs, and one whose end comes while it is waited for another.
    let table = [
        ("command = 'echo falls; sleep 0.5; exit 3'", "command = 'sleep 1000'"),
        (
            "command = 'echo falls; sleep 2; exit 3'\nready.log = 'falls'",
            "command = 'sleep 1000'\ndepends-on = ['a']\nready.command = 'sleep 4'",
        ),
    ];
    for (falls, other) in table {
        let toml = format!(
            "[services.a]\nimage = \"IMAGE\"\n{falls}\n[services.b]\nimage = \"IMAGE\"\n{other}\n\
             [environment.e]\nservices = ['a', 'b']"
        );
        let suite = suite(&toml);
        let stderr = said(&docker.seagull(&suite, &["services", "up"]).output().unwrap(), 1);
        let expected =
            "error: a was ready and has ended: exit code 3; it said last:\n  falls\nhint: [services.a] ready";
        assert!(stderr.contains(expected) && !stderr.contains("e is up"), "{stderr}");
        assert_eq!(docker.objects(&suite), [""; 0], "{stderr}");
    }
}

#[test]
fn what_the_engine_refuses_is_told_with_what_to_do() {
    let Some(docker) = Docker::get() else { return };
    docker.empty_image("seagull-empty");
    let table = [
        ("image = 'seagull-empty:1'", "o command specified", "[services.NAME] command says which"),
        ("image = 'seagull-empty:1'\ncommand = 'true'", "/bin/sh", "the image has no shell: write command"),
        (
            "image = 'IMAGE'\ncommand = ['nothing']",
            "cannot start the container",
            "command names one that it has",
        ),
        (
            "image = 'IMAGE'\ncommand = 'sleep 9'\nfiles = { '/x' = 'not-there' }",
            "cannot make the container seagull-e-",
            "[services.NAME] files shows what is there",
        ),
        (
            "image = 'IMAGE'\ncommand = 'sleep 9'\ncapabilities = ['NO_SUCH']",
            "NO_SUCH",
            "man 7 capabilities lists them",
        ),
        (
            "image = 'IMAGE'\ncommand = 'sleep 9'\nuser = 'nobody-here'",
            "nobody-here",
            "user names one of its /etc/passwd",
        ),
    ];
    for (settings, said_by_it, hint) in table {
        let suite = suite(&format!("[services.a]\n{settings}\n[environment.e]\nservices = ['a']"));
        let stderr = said(&docker.seagull(&suite, &["services", "up"]).output().unwrap(), 1);
        let (words, told) = stderr.split_once("\nhint: ").unwrap_or((&stderr, ""));
        assert!(words.contains(said_by_it) && told.contains(hint), "{settings}\n{stderr}");
        assert_eq!(docker.objects(&suite), [""; 0], "{settings}");
    }
    let suite = suite(ONE);
    let up = |variable: &str, value: &str| {
        let mut up = docker.seagull(&suite, &["services", "up"]);
        said(&up.env(variable, value).output().unwrap(), 1)
    };
    let stderr = up("DOCKER_HOST", "tcp://127.0.0.1:2375");
    assert!(stderr.contains("hint: an engine on this machine is needed"), "{stderr}");
    suite.write("docker/config.json", "{");
    suite.write("seagull.toml", &suite.read("seagull.toml").replace(DECLARING, "seagull.invalid/none"));
    let stderr = up("DOCKER_CONFIG", &suite.path().join("docker").to_string_lossy());
    assert!(
        stderr.contains("config.json: ") && stderr.contains("hint: docker login writes this file"),
        "{stderr}"
    );
    docker.tell("DELETE", "/images/seagull-empty:1", "");
}

#[test]
fn what_there_is_not_is_an_error_that_names_what_there_is() {
    let Some(docker) = Docker::get() else { return };
    let suite = suite(&format!("{ONE}\n[environment.default]\nimage = 'IMAGE'\n"));
    let run = |arguments: &[&str]| said(&docker.seagull(&suite, arguments).output().unwrap(), 2);
    let stderr = run(&["services", "down", "ones"]);
    assert!(stderr.contains("there is no [environment.ones]\nhint: did you mean one?"), "{stderr}");
    let stderr = run(&["services", "down", "web"]);
    assert!(stderr.contains("there is no [environment.web]\nhint: there is default, one\n"), "{stderr}");
    let stderr = run(&["services", "up", "default"]);
    assert!(
        stderr.contains("[environment.default] has no services\nhint: its tests run in its image"),
        "{stderr}"
    );
}
