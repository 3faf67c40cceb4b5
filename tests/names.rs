//! Tests on the machine reach services by their names, as in a container, where the executor may see to that; by variables always.

use crate::environments::{CONFTEST, KEEPER, run};
use crate::harness::{Docker, IMAGE, Place, Running, Suite};

/// One for each worker, one that workers share, and one that has no port here.
const TOML: &str = r#"
    [services.keeper]
    image = "IMAGE"
    command = ["python3", "/keeper.py"]
    files = { "/keeper.py" = "keeper.py" }
    ports = [7000]
    [services.common]
    image = "IMAGE"
    command = ["python3", "/keeper.py"]
    files = { "/keeper.py" = "keeper.py" }
    ports = [7000]
    scope = "executor"
    [services.silent]
    image = "IMAGE"
    command = ["python3", "/keeper.py"]
    files = { "/keeper.py" = "keeper.py" }
    ready.log = "listens"
    [environment.db]
    services = ["keeper", "common", "silent"]
    tests = ["tests/db"]
"#;

const NAMED: &str = r#"
import os, socket
def named(name, line):
    with socket.create_connection((name, 7000), 30) as connection:
        connection.sendall(line.encode() + b"\n")
        return connection.makefile().read().splitlines()
def test_x(keeper, meeting):
    meeting("NAME", ["a", "b"])
    mine = str(os.getpid())
    assert named("keeper", mine) == [mine]
    assert keeper(mine) == [mine] * 2
    assert named("silent", mine) == [mine]
    assert mine in named("common", mine)
    assert keeper(mine, "COMMON").count(mine) == 2
    assert socket.gethostbyname("localhost") == "127.0.0.1"
"#;

fn suite(files: &[(&str, &str)]) -> Suite {
    let toml = TOML.replace("IMAGE", IMAGE);
    let base = [("seagull.toml", toml.as_str()), ("keeper.py", KEEPER), ("tests/conftest.py", CONFTEST)];
    Suite::of(&[&base, files].concat())
}

#[test]
fn each_worker_reaches_its_own_services_and_shared_ones_by_name_and_a_repetition_does_too() {
    let Some(docker) = Docker::get() else { return };
    let named = |name| NAMED.replace("NAME", name);
    let machine = std::fs::read_to_string("/etc/hosts").unwrap();
    let plain = "def test_plain():\n    assert 'keeper' not in open('/etc/hosts').read()\n";
    let suite = suite(&[
        ("tests/db/test_a.py", &named("a")),
        ("tests/db/test_b.py", &named("b")),
        ("tests/test_plain.py", plain),
    ]);
    run(&docker, &suite, &["tests"]).expect_counts(0, &[("passed", 3)]);
    let repeated = docker.seagull(&suite, &["repro", "last", "test_a.py"]).output().unwrap();
    assert_eq!(repeated.status.code(), Some(0), "{repeated:?}");
    assert_eq!(std::fs::read_to_string("/etc/hosts").unwrap(), machine);
    assert_eq!(docker.objects(&suite), [""; 0]);
}

#[test]
fn an_executor_that_may_not_mount_has_tests_reach_services_by_variables() {
    let Some(docker) = Docker::get() else { return };
    let test = "def test_x(keeper):\n    assert 'keeper' not in open('/etc/hosts').read() and keeper('x') == ['x']\n";
    let suite = suite(&[("tests/db/test_a.py", test)]);
    let mut command = suite.seagull(&["run", "--output", "json", "--slots", "1", "tests"]);
    command.env("DOCKER_HOST", format!("unix://{}", docker.socket().display()));
    let without = Place::of(&["setpriv", "--bounding-set=-sys_admin"]);
    let command = docker.place().command(without.command(command));
    Running::start(command, &suite.beside("stderr")).finish().expect_counts(0, &[("passed", 1)]);
}
