//! A real Elasticsearch for cases, each with names of its own in it.
#![expect(clippy::disallowed_methods, reason = "names are made of the time")]

use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::skip;

/// What `tests/elasticsearch.sh` exits with where there can be none.
const NONE: i32 = 3;

pub struct Elasticsearch {
    directory: PathBuf,
    name: String,
    /// How the names of all that the case makes begin.
    pub prefix: String,
    /// The server stays while this is locked.
    _user: File,
}

impl Elasticsearch {
    /// None, which is said, where there can be none.
    pub fn get() -> Option<Elasticsearch> {
        Self::named("shared")
    }

    /// One of its own, which may be killed.
    pub fn apart(name: &str) -> Option<Elasticsearch> {
        Self::named(name)
    }

    fn named(name: &str) -> Option<Elasticsearch> {
        let target = Path::new(env!("CARGO_BIN_EXE_seagull")).parent().unwrap().parent().unwrap();
        let directory = target.join("elasticsearch");
        std::fs::create_dir_all(directory.join(name)).unwrap();
        let users = OpenOptions::new().create(true).append(true).open(directory.join(name).join("users"));
        let users = users.unwrap();
        users.lock_shared().unwrap();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let prefix = format!("case-{}-{}", std::process::id(), since.as_nanos());
        let server = Elasticsearch { directory, name: name.to_owned(), prefix, _user: users };
        server.start().then_some(server)
    }

    /// Whether it is up, which it is unless there can be none.
    pub fn start(&self) -> bool {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/elasticsearch.sh");
        let output = Command::new(script).arg(&self.directory).arg(&self.name).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(NONE) {
            skip(&said);
            return false;
        }
        assert!(output.status.success(), "{said}");
        true
    }

    fn read(&self, file: &str) -> String {
        let path = self.directory.join(&self.name).join(file);
        std::fs::read_to_string(path).unwrap().trim().to_owned()
    }

    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.read("pid").parse().unwrap()), signal).unwrap();
    }

    pub fn address(&self) -> SocketAddr {
        self.read("url").strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// As `--index` takes it, by way of another address.
    pub fn url_at(&self, address: SocketAddr) -> String {
        format!("es+http://{address}/{}?replicas=0", self.prefix)
    }

    pub fn url(&self) -> String {
        self.url_at(self.address())
    }

    /// Asks the server itself.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--globoff", "--max-time", "60", "-X", method]);
        if let Some(body) = body {
            curl.args(["-H", "Content-Type: application/json", "-d", &body.to_string()]);
        }
        let output = curl.arg(format!("{}/{path}", self.read("url"))).output().unwrap();
        assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// What was written is found from here on.
    #[track_caller]
    pub fn refresh(&self) {
        self.ask("POST", &format!("{}-*/_refresh", self.prefix), None);
    }

    /// How many documents of a kind there are; none that can be counted while their index is made.
    #[track_caller]
    pub fn count(&self, kind: &str) -> u64 {
        self.refresh();
        self.ask("GET", &format!("{}-{kind}-*/_count", self.prefix), None)["count"].as_u64().unwrap_or(0)
    }
}

impl Drop for Elasticsearch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let indices = self.ask("GET", &format!("_cat/indices/{}-*?format=json&h=index", self.prefix), None);
        let names: Vec<_> =
            indices.as_array().into_iter().flatten().filter_map(|i| i["index"].as_str()).collect();
        for names in names.chunks(20) {
            self.ask("DELETE", &names.join(","), None);
        }
        self.ask("DELETE", &format!("_index_template/{}-*", self.prefix), None);
    }
}
