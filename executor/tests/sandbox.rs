//! The process sandbox with real supervisors and real process trees.
//!
//! Processes of a tree hold a connection to the test: a line on it says that they live, its end that all are dead.

#![expect(clippy::disallowed_methods, reason = "real processes die in real time")]

mod mounts;
mod setup;

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use seagull_domain::Limits;
use seagull_executor::control_groups::ControlGroups;
use seagull_executor::sandbox::{
    Children, End, Exit, Handle, Home, OutOfMemory, ProcessSandbox, Sandbox, Spec, environment,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

/// One per process, as it must be.
static CHILDREN: LazyLock<Arc<Children>> = LazyLock::new(|| Arc::new(Children::become_subreaper().unwrap()));

const PATIENCE: Duration = Duration::from_secs(30);
const SUPERVISOR: &str = env!("CARGO_BIN_EXE_supervise-for-tests");

/// What scripts begin with: `say` reports to the test, and all processes forked from here hold the connection.
const PRELUDE: &str = "
import os, signal, socket, sys, time
connection = socket.socket(socket.AF_UNIX)
connection.connect(os.environ['CONNECTION'])
def say(text):
    connection.sendall(text.encode())
def rest():
    while True:
        signal.pause()
def daemon(body):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            body()
        os._exit(0)
    os.wait()
def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    say('d')
    rest()
";

struct Bench {
    home: Home,
    directory: PathBuf,
    temporary: PathBuf,
    listener: UnixListener,
}

impl Bench {
    fn new() -> Self {
        let home = Home::create(Home::PARENT.as_ref()).unwrap();
        let [directory, temporary] = home.sandbox("gw0").unwrap();
        let listener = UnixListener::bind(home.path().join("socket")).unwrap();
        Self { home, directory, temporary, listener }
    }

    fn spec(&self, command: &[&str]) -> Spec {
        let connection = self.home.path().join("socket").to_str().unwrap().to_owned();
        let given = [("CONNECTION".to_owned(), connection)];
        Spec {
            command: command.iter().map(OsString::from).collect(),
            env: environment(std::env::vars_os(), &given, &self.temporary),
            cwd: "/".into(),
            directories: vec![self.directory.clone(), self.temporary.clone()],
            log: self.log(),
            shared: None,
            tree: "/".into(),
            bounds: None,
            hosts: None,
        }
    }

    fn log(&self) -> PathBuf {
        self.home.path().join("log")
    }

    fn start(&self, command: &[&str]) -> Handle {
        let sandbox = ProcessSandbox::new(CHILDREN.clone(), self.home.path()).unwrap();
        sandbox.with_supervisor(vec![SUPERVISOR.into()]).start(&self.spec(command)).unwrap()
    }

    /// Starts Python and waits until `words` single letters were said.
    async fn python(&self, script: &str, words: usize) -> (Handle, UnixStream) {
        let handle = self.start(&["python3", "-c", &format!("{PRELUDE}{script}")]);
        (handle, self.connection(words).await)
    }

    async fn connection(&self, words: usize) -> UnixStream {
        let (mut stream, _) =
            timeout(PATIENCE, self.listener.accept()).await.expect("no connection").unwrap();
        let mut said = vec![0; words];
        timeout(PATIENCE, stream.read_exact(&mut said)).await.expect("nothing said").unwrap();
        stream
    }

    fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap()
    }
}

async fn exit(handle: &Handle) -> Exit {
    timeout(PATIENCE, handle.wait()).await.expect("the sandbox does not end")
}

/// A supervisor that [`CHILDREN`] does not know, and does not take for an orphan: a shell stands between.
fn bare_supervisor() -> std::process::Command {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "\"$0\" \"$@\"; exit $?", SUPERVISOR]);
    command
}

/// Waits until nobody holds the connection.
async fn all_dead(mut stream: UnixStream) {
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("someone lives").unwrap();
}

#[tokio::test]
async fn exit_code_output_and_usage_are_reported() {
    let bench = Bench::new();
    let handle = bench.start(&["sh", "-c", "echo out; echo err >&2; cat; pwd; touch $TMPDIR/x; exit 7"]);
    let exit = exit(&handle).await;
    assert_eq!(exit.end, End::Code(7));
    assert_eq!((exit.leftovers, exit.surviving, &exit.directory_left), (0, 0, &None));
    assert!(exit.usage.peak_bytes > 100_000, "{:?}", exit.usage);
    assert!(exit.usage.user_seconds + exit.usage.system_seconds > 0.0);
    assert_eq!(bench.log_text(), "out\nerr\n/\n");
    assert!(!bench.directory.exists() && !bench.temporary.exists());
    // A second look sees the same.
    assert_eq!(handle.wait().await, exit);
}

/// Whether there are control groups to be made, which is said if not.
fn groups() -> Option<ControlGroups> {
    let groups = ControlGroups::find();
    let there = groups.are_there();
    if !there {
        let _ = writeln!(std::io::stderr(), "skipped: there are no control groups to be made");
    }
    there.then_some(groups)
}

impl Bench {
    fn start_within(&self, bounds: &Limits, groups: ControlGroups, script: &str) -> Handle {
        let sandbox = ProcessSandbox::new(CHILDREN.clone(), self.home.path()).unwrap().in_groups(groups);
        let spec = Spec { bounds: Some(bounds.clone()), ..self.spec(&["python3", "-c", script]) };
        sandbox.with_supervisor(vec![SUPERVISOR.into()]).start(&spec).unwrap()
    }
}

#[tokio::test]
async fn what_is_over_its_memory_is_ended_as_a_whole_and_counted_with_its_children() {
    let Some(groups) = groups() else { return };
    let bench = Bench::new();
    let bounds = Limits { memory_kib: Some(64 << 10), ..Limits::default() };
    let script = "import subprocess, sys, time
subprocess.run([sys.executable, '-c', 'x = bytearray(200 << 20)'])
time.sleep(600)";
    let handle = bench.start_within(&bounds, groups.clone(), script);
    let exit = exit(&handle).await;
    assert_eq!((&exit.end, exit.out_of_memory), (&End::Signal(9), Some(OutOfMemory::Limit)), "{exit:?}");
    assert!(exit.usage.peak_bytes > 60 << 20, "{exit:?}");
    assert_eq!(handle.meter().at_end(&exit).map(|used| used.whole), Some(true));
    assert_eq!(handle.meter().read(), None, "its group is gone");
    let bench = Bench::new();
    let script = "import subprocess, sys
subprocess.run([sys.executable, '-c', 'x = bytearray(50 << 20)'], check=True)";
    let roomy = Limits { memory_kib: Some(1 << 20), millicpus: Some(1500), ..Limits::default() };
    let exit = self::exit(&bench.start_within(&roomy, groups, script)).await;
    assert_eq!((&exit.end, exit.out_of_memory), (&End::Code(0), None), "{exit:?}");
    assert!(exit.usage.peak_bytes > 50 << 20, "{exit:?}");
}

#[tokio::test]
async fn a_bound_of_processes_holds_and_one_that_nobody_can_set_is_said() {
    let bench = Bench::new();
    let bounds = Limits { pids: 40, ..Limits::default() };
    if let Some(groups) = groups() {
        let script = "import os, time
for _ in range(60):
    try:
        os.fork() or time.sleep(600)
    except OSError:
        os._exit(7)";
        assert_eq!(exit(&bench.start_within(&bounds, groups, script)).await.end, End::Code(7));
    }
    let bench = Bench::new();
    let exit = exit(&bench.start_within(&bounds, ControlGroups::default(), "pass")).await;
    let said = "pids cannot be bounded to 40: its executor has no control group that does";
    assert!(matches!(&exit.end, End::NotStarted(why) if why == said), "{exit:?}");
}

#[tokio::test]
async fn a_signal_is_reported_and_stays_in_its_process_group() {
    let bench = Bench::new();
    let exit = exit(&bench.start(&["python3", "-c", "import os; os.killpg(0, 9)"])).await;
    assert_eq!(exit.end, End::Signal(9));
    // The C library has no name for it.
    let bench = Bench::new();
    let exit = self::exit(&bench.start(&["python3", "-c", "import os; os.kill(os.getpid(), 45)"])).await;
    assert_eq!(exit.end, End::Signal(45));
}

#[tokio::test]
async fn a_command_that_is_not_there_says_so() {
    let bench = Bench::new();
    let exit = exit(&bench.start(&["/nowhere/python"])).await;
    assert!(matches!(&exit.end, End::NotStarted(reason) if reason.contains("/nowhere/python")), "{exit:?}");
    assert!(!bench.directory.exists());
}

#[tokio::test]
async fn an_interrupt_reaches_python_as_such_even_if_it_was_ignored() {
    let bench = Bench::new();
    let script = "
def ended():
    try:
        say('r')
        rest()
    except KeyboardInterrupt:
        print('torn down', flush=True)
        sys.exit(3)
ended()";
    // A shell's background job has SIGINT ignored, and so has what it starts.
    let sandbox = ProcessSandbox::new(CHILDREN.clone(), bench.home.path()).unwrap();
    let ignoring = ["sh", "-c", "trap '' INT; exec \"$0\" \"$@\"", SUPERVISOR].map(OsString::from);
    let spec = bench.spec(&["python3", "-c", &format!("{PRELUDE}{script}")]);
    let handle = sandbox.with_supervisor(ignoring.into()).start(&spec).unwrap();
    let stream = bench.connection(1).await;
    handle.interrupt();
    assert_eq!(exit(&handle).await.end, End::Code(3));
    all_dead(stream).await;
    assert_eq!(bench.log_text(), "torn down\n");
}

#[tokio::test]
async fn stacks_are_dumped_on_demand() {
    let bench = Bench::new();
    let script = "
import faulthandler
faulthandler.register(45)
def stuck():
    say('r')
    connection.recv(1)
stuck()";
    let (handle, stream) = bench.python(script, 1).await;
    handle.dump_stacks();
    let dumped = async {
        while !bench.log_text().contains("in stuck") {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, dumped).await.expect("no stack in the log");
    handle.kill();
    assert_eq!(exit(&handle).await.end, End::Signal(9));
    all_dead(stream).await;
}

#[tokio::test]
async fn what_the_main_process_leaves_behind_is_killed() {
    let bench = Bench::new();
    let (handle, stream) =
        bench.python("daemon(deaf)\ndaemon(deaf)\nconnection.recv(1)\nsys.exit(0)", 2).await;
    let mut stream = stream;
    stream.write_all(b"x").await.unwrap();
    let exit = exit(&handle).await;
    assert_eq!((exit.end, exit.leftovers, exit.surviving), (End::Code(0), 2, 0));
    let [left] = &exit.left[..] else { panic!("{:?}", exit.left) };
    assert_eq!((&*left.command, left.processes, &*left.during), ("(a fork of its worker)", 2, ""));
    all_dead(stream).await;
}

#[tokio::test]
async fn killing_takes_the_whole_tree_within_a_second() {
    for dropped in [false, true] {
        let bench = Bench::new();
        let script = "daemon(deaf)\nif os.fork() == 0:\n    daemon(deaf)\n    deaf()\ndeaf()";
        let (handle, stream) = bench.python(script, 4).await;
        let begun = Instant::now();
        let exit = if dropped {
            drop(handle);
            None
        } else {
            handle.kill();
            Some(exit(&handle).await)
        };
        all_dead(stream).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        if let Some(exit) = exit {
            assert_eq!((exit.end, exit.leftovers, exit.surviving), (End::Signal(9), 3, 0));
            assert!(!bench.directory.exists());
        }
    }
}

#[tokio::test]
async fn processes_that_fork_away_all_the_time_are_caught() {
    let bench = Bench::new();
    let script = "
def runner():
    say('d')
    while True:
        if os.fork():
            os._exit(0)
for _ in range(3):
    daemon(runner)
rest()";
    let (handle, stream) = bench.python(script, 3).await;
    handle.kill();
    let exit = exit(&handle).await;
    assert_eq!((exit.end, exit.surviving), (End::Signal(9), 0));
    all_dead(stream).await;
}

#[tokio::test]
async fn a_killed_supervisor_leaves_nothing() {
    let bench = Bench::new();
    let script = "
daemon(deaf)
if os.fork() == 0:
    deaf()
connection.recv(1)
os.kill(os.getppid(), 9)
rest()";
    let (handle, mut stream) = bench.python(script, 2).await;
    stream.write_all(b"x").await.unwrap();
    let exit = exit(&handle).await;
    assert_eq!((exit.end, exit.surviving), (End::SupervisorLost, 0));
    all_dead(stream).await;
    assert!(!bench.directory.exists());
}

#[tokio::test]
async fn a_stopped_supervisor_is_woken_to_kill() {
    let bench = Bench::new();
    let script = "os.kill(os.getppid(), signal.SIGSTOP)\nsay('s')\nrest()";
    let (handle, stream) = bench.python(script, 1).await;
    handle.kill();
    assert_eq!(exit(&handle).await.end, End::Signal(9));
    all_dead(stream).await;
}

#[tokio::test]
async fn a_supervisor_that_is_asked_to_end_obeys_its_executor_alone() {
    let bench = Bench::new();
    let script = "
for number in (1, 2, 3, 15): os.kill(os.getppid(), number)
say('s')
connection.recv(1)
sys.exit(7)";
    let (handle, mut stream) = bench.python(script, 1).await;
    stream.write_all(b"x").await.unwrap();
    assert_eq!(exit(&handle).await.end, End::Code(7));
}

/// A supervisor whose executor is gone: its pipe has ended, and nobody holds the home's lock.
#[tokio::test]
async fn a_dead_executor_leaves_no_process_and_no_directory() {
    let bench = Bench::new();
    let abandoned = tempfile::Builder::new().prefix("seagull-").rand_bytes(7).tempdir_in("/tmp").unwrap();
    let directory = abandoned.path().join("gw0");
    fs::create_dir(&directory).unwrap();
    fs::write(abandoned.path().join("lock"), "").unwrap();
    let script = format!("{PRELUDE}\ndaemon(deaf)\ndeaf()");
    let mut supervisor = bare_supervisor();
    supervisor.arg("--directory").arg(&directory).arg("--home").arg(abandoned.path());
    supervisor.args(["--cwd", "/", "--", "python3", "-c", &script]);
    supervisor.env("CONNECTION", bench.home.path().join("socket"));
    let mut supervisor = supervisor.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let stream = bench.connection(2).await;
    let begun = Instant::now();
    drop(supervisor.stdin.take());
    all_dead(stream).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(supervisor.wait().unwrap().success());
    assert!(!abandoned.path().exists());
}

/// An executor that is killed together with its supervisor.
#[tokio::test]
async fn a_command_dies_with_its_supervisor_though_nobody_is_left_to_kill_it() {
    let bench = Bench::new();
    let script = format!("{PRELUDE}\nsay('r')\nrest()");
    let mut supervisor = bare_supervisor();
    supervisor.arg("--directory").arg(&bench.directory).arg("--home").arg(bench.home.path());
    supervisor.args([
        "--cwd",
        "/",
        "--",
        "python3",
        "-c",
        &format!("import os; print(os.getppid(), flush=True){script}"),
    ]);
    supervisor.env("CONNECTION", bench.home.path().join("socket")).stderr(Stdio::piped());
    let mut supervisor = supervisor.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let stream = bench.connection(1).await;
    let mut said = BufReader::new(supervisor.stderr.take().unwrap());
    let mut pid = String::new();
    said.read_line(&mut pid).unwrap();
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    all_dead(stream).await;
    assert!(!supervisor.wait().unwrap().success());
}

#[tokio::test]
async fn a_living_executor_keeps_its_home() {
    let bench = Bench::new();
    let mut supervisor = bare_supervisor();
    supervisor.arg("--directory").arg(&bench.directory).arg("--home").arg(bench.home.path());
    supervisor.args(["--cwd", "/", "--", "sleep", "1000"]);
    let mut supervisor = supervisor.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // An order that does not exist changes nothing.
    supervisor.stdin.as_mut().unwrap().write_all(b"?").unwrap();
    let output = supervisor.wait_with_output().unwrap();
    let exit: Exit = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(exit.end, End::Signal(9));
    assert!(!bench.directory.exists());
    assert!(bench.home.path().exists());
}
