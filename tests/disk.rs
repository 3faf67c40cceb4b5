//! What sandboxes may write on a real Docker engine: who has written more is told so, and nothing is left.

use crate::environments::run;
use crate::harness::{DECLARING, Docker, IMAGE, Suite};
use crate::{containers, services};

/// The larger try is known by its memory. What is killed for its disk ends by nothing else.
const WRITES: &str = r#"
import pathlib, time
def is_larger():
    limits = [pathlib.Path("/sys/fs/cgroup", name) for name in ("memory.max", "memory/memory.limit_in_bytes")]
    return int(next(path for path in limits if path.exists()).read_text()) > 100 << 20
def write(path, mib):
    with open(path, "wb") as file:
        for _ in range(mib):
            file.write(b"x" * (1 << 20))
def test_in_its_container():
    write("/tmp/x", 80)
    time.sleep(600)
def test_in_the_runs_files():
    write("x", 80)
    time.sleep(600)
def test_within():
    write("/tmp/w", 5)
    write("w", 5)
def test_once_more():
    write("y", 48)
    is_larger() or time.sleep(600)
def test_where_nobody_else_has_written():
    write("z", 48)
    is_larger() or time.sleep(600)
"#;

#[test]
fn a_test_that_writes_more_than_its_sandbox_may_is_told_so_after_another_try_with_twice_as_much() {
    let Some(docker) = Docker::get() else { return };
    let suite = containers::suite(&[("tests/db/test_a.py", WRITES)]);
    let toml = suite.read("seagull.toml").replace("pids = 100", "pids = 100\n    disk = \"32MiB\"");
    suite.write("seagull.toml", &toml);
    let finished = run(&docker, &suite, &["--slots", "1", "tests"]);
    finished.expect_counts(100, &[("failed", 2), ("passed", 3)]);
    for test in ["test_in_its_container", "test_in_the_runs_files"] {
        let result = finished.result(&format!("tests/db/test_a.py::{test}"));
        assert_eq!(result["cause"], "over its disk limit", "{result}");
    }
    let said = finished.all("test_finished").iter().map(|event| event.to_string()).collect::<String>();
    assert_eq!(said.matches("first_disk_kill").count(), 4, "{said}");
    for words in ["over its disk limit of 32 MiB: killed, ", "limit of 64 MiB, twice what is set: killed, "] {
        assert!(said.contains(words), "{said}");
    }
    assert!(said.contains(" MiB written; [environment.db] disk sets it"), "{said}");
}

/// A service that writes what it is told to, in MiB.
const WRITER: &str = r#"
import socketserver
class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        with open("/tmp/x", "wb") as file:
            for _ in range(int(self.rfile.readline())):
                file.write(b"x" * (1 << 20))
        self.wfile.write(b"done\n")
socketserver.ThreadingTCPServer(("", 7000), Answer).serve_forever()
"#;

/// Where it was asked for too much once, the next is asked for no more.
const ASKS: &str = r#"
import os, pathlib, socket, time
def ask(mib):
    where = os.environ["SEAGULL_SERVICE_WRITER_HOST"], int(os.environ["SEAGULL_SERVICE_WRITER_PORT"])
    with socket.create_connection(where) as connection:
        connection.sendall(b"%d\n" % mib)
        return connection.makefile().read()
def test_within():
    assert ask(10) == "done\n"
def test_too_much_once():
    asked = pathlib.Path(os.environ["MEETING_PLACE"], "asked")
    if not asked.exists():
        asked.touch()
        ask(80)
        time.sleep(600)
    assert ask(10) == "done\n"
"#;

#[test]
fn a_service_that_writes_more_than_it_may_is_replaced_also_where_workers_share_it() {
    let Some(docker) = Docker::get() else { return };
    for scope in ["slot", "executor"] {
        let toml = format!(
            "[services.writer]\nimage = '{IMAGE}'\ncommand = ['python3', '/writer.py']\nports = [7000]\n\
             files = {{ '/writer.py' = 'writer.py' }}\nuser = '1000'\nscope = '{scope}'\ndisk = '32MiB'\n\
             [environment.default]\nservices = ['writer']\n"
        );
        let files = [("seagull.toml", toml.as_str()), ("writer.py", WRITER), ("tests/test_a.py", ASKS)];
        let suite = Suite::of(&files);
        let finished = run(&docker, &suite, &["--slots", "1", "tests"]);
        finished.expect_counts(0, &[("passed", 2)]);
        let lost = finished.all("attempt_lost");
        let words = "writer ended while tests used it: it was killed over its disk limit of 32 MiB, with ";
        assert!(lost.len() == 1 && lost[0].to_string().contains(words), "{scope}: {lost:?}");
    }
}

#[test]
fn a_bound_that_leaves_out_volumes_of_the_image_is_refused() {
    let Some(docker) = Docker::get() else { return };
    let toml = |tmpfs: &str| {
        format!(
            "[services.db]\nimage = '{DECLARING}'\ncommand = ['sleep', '60']\ndisk = '1GiB'\n{tmpfs}[environment.e]\nservices = ['db']\n"
        )
    };
    let suite = Suite::of(&[("seagull.toml", toml("").as_str())]);
    let up = docker.seagull(&suite, &["services", "up", "e"]).output().unwrap();
    let said = services::said(&up, 1);
    assert!(said.contains("[services.db] disk cannot be seen to"), "{said}");
    assert!(said.contains(r#"hint: [services.db] tmpfs = ["/data"]"#), "{said}");
    suite.write("seagull.toml", &toml("tmpfs = ['/data']\n"));
    services::said(&docker.seagull(&suite, &["services", "up", "e"]).output().unwrap(), 0);
    services::said(&docker.seagull(&suite, &["services", "down", "e"]).output().unwrap(), 0);
    assert_eq!(docker.objects(&suite), [""; 0]);
}
