//! A real Docker engine for cases, and a way to it on which whoever asks can be killed at a given question.
#![expect(clippy::disallowed_methods, reason = "a thread for each connection")]

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{Place, Suite, skip, text};

/// An image with a shell and Python, the same one with a volume `/data` and a health check that wants a file there, and one
/// with pytest.
pub const IMAGE: &str = "seagull-test:1";
pub const DECLARING: &str = "seagull-test:2";
pub const WITH_PYTEST: &str = "seagull-test:3";
/// What `tests/docker.sh` exits with where there can be no engine, and what makes an image where it cannot.
const NONE: i32 = 3;

#[derive(Clone)]
pub struct Docker {
    directory: PathBuf,
    /// The engine stays while this is locked.
    _user: Arc<File>,
}

impl Docker {
    /// None, which is said, where there can be no engine.
    pub fn get() -> Option<Docker> {
        Docker::named("docker")
    }

    /// One that no other case has while this is kept, so that anything may be done to it.
    pub fn alone() -> Option<(Docker, MutexGuard<'static, ()>)> {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        Docker::named("docker-alone").map(|docker| (docker, alone))
    }

    fn named(name: &str) -> Option<Docker> {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = Path::new(env!("CARGO_BIN_EXE_seagull")).parent().unwrap().parent().unwrap();
        let directory = target.join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let users = OpenOptions::new().create(true).append(true).open(directory.join("users")).unwrap();
        users.lock_shared().unwrap();
        can(Command::new(top.join("tests/docker.sh")).arg(&directory))
            .then(|| Docker { directory, _user: Arc::new(users) })
    }

    /// Makes the image of `examples/shop`, if it is not there; false, which is said, where it cannot be made.
    pub fn shop(&self) -> bool {
        let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shop/image.sh"));
        can(script.env("DOCKER_HOST", format!("unix://{}", self.socket().display())))
    }

    /// A registry's program; None, which is said, where it cannot be had.
    pub fn registry(&self) -> Option<PathBuf> {
        let directory = self.directory.with_file_name("registry");
        let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/registry.sh"));
        can(script.arg(&directory)).then(|| directory.join("usr/bin/docker-registry"))
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    /// Whether the engine is there.
    pub fn answers(&self) -> bool {
        let mut curl = Command::new("curl");
        curl.args(["-fsS", "--unix-socket"]).arg(self.socket()).arg("http://engine/_ping");
        curl.output().unwrap().status.success()
    }

    /// Has the engine killed, and started again by who sees to it.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    pub fn signal(&self, signal: Signal) {
        let pid = std::fs::read_to_string(self.directory.join("pid")).unwrap();
        let _ = kill(Pid::from_raw(pid.trim().parse().unwrap()), signal);
    }

    /// Kills containers of a state directory.
    pub fn kill_containers(&self, state: &Path, ending: &str) {
        for name in self.objects_in(state).iter().filter(|name| name.ends_with(ending)) {
            let mut curl = Command::new("curl");
            curl.args(["-sS", "-X", "POST", "--unix-socket"]).arg(self.socket());
            // It may not run any more, or not yet.
            let _ = curl.arg(format!("http://engine/containers/{name}/kill")).output();
        }
    }

    /// Where the engine's networks and published ports are.
    pub fn place(&self) -> Place {
        let keeper = std::fs::read_to_string(self.directory.join("namespace")).unwrap();
        Place::of(&["nsenter", &format!("--net=/proc/{}/ns/net", keeper.trim())])
    }

    /// Something that listens there, on all addresses, and its port.
    pub fn listener(&self) -> (u16, std::process::Child) {
        let line = "import socket; s = socket.create_server(('', 0)); print(s.getsockname()[1], flush=True)\nwhile 1: s.accept()";
        let mut python = Command::new("python3");
        python.args(["-c", line]);
        let mut child = self.place().command(python).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        (said.trim().parse().unwrap(), child)
    }

    /// `seagull` there.
    pub fn seagull(&self, suite: &Suite, arguments: &[&str]) -> Command {
        self.seagull_through(&self.socket(), suite, arguments)
    }

    pub fn seagull_through(&self, socket: &Path, suite: &Suite, arguments: &[&str]) -> Command {
        let mut command = suite.seagull(arguments);
        command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
        self.place().command(command)
    }

    /// What the engine answers.
    #[track_caller]
    pub fn ask(&self, path: &str) -> Value {
        let mut curl = Command::new("curl");
        curl.args(["-fsS", "--globoff", "--unix-socket"])
            .arg(self.socket())
            .arg(format!("http://engine{path}"));
        let output = curl.output().unwrap();
        assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What the engine answers to a request that changes something.
    #[track_caller]
    pub fn tell(&self, method: &str, path: &str, body: &str) -> Value {
        let mut curl = Command::new("curl");
        curl.args(["-fsS", "--globoff", "-X", method, "-H", "Content-Type: application/json", "-d", body]);
        let output = curl
            .arg("--unix-socket")
            .arg(self.socket())
            .arg(format!("http://engine{path}"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// An image like [`IMAGE`], and no other; its digest.
    pub fn image(&self, name: &str, label: &str) -> String {
        let made =
            self.tell("POST", "/containers/create", &format!(r#"{{"Image": "{IMAGE}", "Cmd": ["true"]}}"#));
        let container = text(&made, "Id");
        let query = format!("container={container}&repo={name}&tag=1&changes=LABEL+which={label}");
        let image = text(&self.tell("POST", &format!("/commit?{query}"), "{}"), "Id").to_owned();
        self.tell("DELETE", &format!("/containers/{container}"), "");
        image
    }

    /// An image with nothing in it.
    pub fn empty_image(&self, name: &str) {
        let line = "tar -c -T /dev/null | curl -fsS -X POST -T - --unix-socket \"$0\" \
                    \"http://engine/images/create?fromSrc=-&repo=$1&tag=1\"";
        let mut shell = Command::new("sh");
        let made = shell.args(["-c", line]).arg(self.socket()).arg(name).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    }

    /// Has the engine's disk be full where it keeps containers, or as it was.
    pub fn fill(&self, full: bool) {
        let keeper = std::fs::read_to_string(self.directory.join("namespace")).unwrap();
        let mut mount = Command::new("nsenter");
        mount.arg(format!("--mount=/proc/{}/ns/mnt", keeper.trim()));
        match full {
            // One page.
            true => mount.args(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs"]),
            false => mount.args(["umount", "--lazy"]),
        };
        let mounted = mount.arg(self.directory.join("data/containers")).output().unwrap();
        assert!(mounted.status.success(), "{mounted:?}");
    }

    /// The names of all containers, networks and volumes that a suite has on the engine, as the engine lists them.
    pub fn objects(&self, suite: &Suite) -> Vec<String> {
        self.objects_in(&suite.path().join(".seagull"))
    }

    /// How many images are templates of a suite, or were to be.
    pub fn templates(&self, suite: &Suite) -> usize {
        let filter = of_installation(&suite.path().join(".seagull"));
        self.ask(&format!("/images/json?{filter}")).as_array().unwrap().len()
    }

    /// The same of a state directory.
    pub fn objects_in(&self, state: &Path) -> Vec<String> {
        let filter = of_installation(state);
        let lists = [
            self.ask(&format!("/containers/json?all=1&{filter}")),
            self.ask(&format!("/networks?{filter}")),
            self.ask(&format!("/volumes?{filter}"))["Volumes"].clone(),
        ];
        let name = |object: &Value| {
            let name = object["Name"].as_str().or(object["Names"][0].as_str());
            name.unwrap_or_else(|| panic!("{object}")).trim_start_matches('/').to_owned()
        };
        lists.iter().flat_map(|list| list.as_array().into_iter().flatten().map(name)).collect()
    }
}

/// Whether a script has made what it is to make; false, which is said, where it cannot be made.
#[track_caller]
fn can(script: &mut Command) -> bool {
    let output = script.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || output.status.code() == Some(NONE), "{said}");
    if !output.status.success() {
        skip(&said);
    }
    output.status.success()
}

/// What an engine is asked by for what a state directory has on it.
fn of_installation(state: &Path) -> String {
    let id = std::fs::read_to_string(state.join("sandboxes/installation")).unwrap_or_default();
    let id = if id.is_empty() { "nobody" } else { id.trim() };
    format!("filters=%7B%22label%22%3A%5B%22seagull.installation%3D{id}%22%5D%7D")
}

/// When somebody is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The engine has not heard of it.
    Before,
    /// The engine has only just heard of it.
    During,
    /// It is done, and nobody is told yet.
    After,
}

/// A question: how its first line begins, and what the path then has in it.
pub type Question = (&'static str, &'static str);

/// Who is killed.
#[derive(Clone)]
pub enum Victim {
    /// Whoever asks, once it is known which process that is.
    Asker(Arc<AtomicI32>),
    Other(Arc<dyn Fn() + Send + Sync>),
    /// Nobody: what was asked is lost, and so is the answer.
    Question,
}

impl Victim {
    pub fn asker() -> Victim {
        Victim::Asker(Arc::default())
    }

    pub fn other(kill: impl Fn() + Send + Sync + 'static) -> Victim {
        Victim::Other(Arc::new(kill))
    }
}

/// A way to the engine.
pub struct Way {
    pub socket: PathBuf,
    victim: Victim,
    /// How often such a question was asked.
    asked: Arc<AtomicUsize>,
    /// How often somebody was killed.
    killed: Arc<AtomicUsize>,
}

impl Way {
    /// Counts such questions, and kills nobody.
    pub fn counting(docker: &Docker, socket: PathBuf, question: Question) -> Way {
        Way::at(docker, socket, (question, usize::MAX), When::Before, Victim::other(|| ()))
    }

    /// Kills the victim at the first such question.
    pub fn new(docker: &Docker, socket: PathBuf, question: Question, when: When, victim: Victim) -> Way {
        Way::at(docker, socket, (question, 0), when, victim)
    }

    /// Kills the victim at such a question, when so many have been asked before.
    pub fn at(
        docker: &Docker,
        socket: PathBuf,
        (question, before): (Question, usize),
        when: When,
        victim: Victim,
    ) -> Way {
        let listener = UnixListener::bind(&socket).unwrap();
        let killed: Arc<AtomicUsize> = Arc::default();
        let asked: Arc<AtomicUsize> = Arc::default();
        let hit = Hit {
            question,
            before,
            asked: asked.clone(),
            when,
            victim: victim.clone(),
            killed: killed.clone(),
        };
        let engine = docker.socket();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (hit, engine) = (hit.clone(), engine.clone());
                thread::spawn(move || hit.pass(client, &engine));
            }
        });
        Way { socket, victim, asked, killed }
    }

    /// Which process asks.
    pub fn asks(&self, process: u32) {
        if let Victim::Asker(asker) = &self.victim {
            asker.store(process.try_into().unwrap(), Ordering::SeqCst);
        }
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub fn has_killed(&self) -> bool {
        self.killed.load(Ordering::SeqCst) > 0
    }
}

#[derive(Clone)]
struct Hit {
    question: Question,
    before: usize,
    /// How often it was asked by now.
    asked: Arc<AtomicUsize>,
    when: When,
    victim: Victim,
    killed: Arc<AtomicUsize>,
}

impl Hit {
    /// Passes one connection on: one question and its answer.
    fn pass(&self, mut client: UnixStream, engine: &Path) {
        let mut head = [0; 16 << 10];
        let Ok(length) = client.read(&mut head) else { return };
        let text = String::from_utf8_lossy(&head[..length]);
        let line = text.lines().next().unwrap_or_default();
        let is_such = line.starts_with(self.question.0) && line.contains(self.question.1);
        let is_meant = is_such && self.asked.fetch_add(1, Ordering::SeqCst) >= self.before;
        let is_at = |when| is_meant && self.when == when;
        if is_at(When::Before) && self.kill() {
            return;
        }
        // An engine that is away is away for whoever asks, too.
        let Ok(mut engine) = UnixStream::connect(engine) else { return };
        let _ = engine.write_all(&head[..length]);
        if is_at(When::During) && self.kill() {
            return;
        }
        let (mut from, mut to) = (client.try_clone().unwrap(), engine.try_clone().unwrap());
        thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
        if is_at(When::After) {
            // Something of the answer: it is done.
            let mut first = [0];
            let read = engine.read(&mut first).unwrap_or(0);
            if self.kill() {
                return;
            }
            let _ = client.write_all(&first[..read]);
        }
        let _ = std::io::copy(&mut engine, &mut client);
        let _ = client.shutdown(Shutdown::Both);
    }

    /// Kills once; whether nobody is left who waits for an answer.
    fn kill(&self) -> bool {
        if self.killed.fetch_add(1, Ordering::SeqCst) > 0 {
            return false;
        }
        match &self.victim {
            Victim::Asker(asker) => {
                let process = asker.load(Ordering::SeqCst);
                assert!(process > 1, "nobody is known to ask");
                let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
                true
            }
            Victim::Other(kill) => {
                kill();
                false
            }
            Victim::Question => true,
        }
    }
}
