//! A real S3 server for cases: one that all share, and one of a case's own that it may kill.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{skip, until};

/// What `tests/minio.sh` exits with where there can be no server.
const NONE: i32 = 3;
/// Key and secret of whoever may do everything there.
const ROOT: &str = "testtest";

pub struct Minio {
    pub address: String,
    /// Its program.
    program: PathBuf,
    /// Files with credentials, and the authority of a server with TLS.
    pub files: tempfile::TempDir,
    /// The shared server stays while this is locked.
    _user: Option<File>,
    own: Option<Child>,
}

impl Minio {
    /// None, which is said, where there can be no server.
    pub fn get() -> Option<Minio> {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = Path::new(env!("CARGO_BIN_EXE_seagull")).parent().unwrap().parent().unwrap();
        let directory = target.join("minio");
        std::fs::create_dir_all(&directory).unwrap();
        let users = OpenOptions::new().create(true).append(true).open(directory.join("users")).unwrap();
        users.lock_shared().unwrap();
        let output = Command::new(top.join("tests/minio.sh")).arg(&directory).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(NONE) {
            skip(&said);
            return None;
        }
        assert!(output.status.success(), "{said}");
        let address = std::fs::read_to_string(directory.join("address")).unwrap().trim().to_owned();
        let files = tempfile::tempdir().unwrap();
        let minio = Minio { address, program: directory.join("minio"), files, _user: Some(users), own: None };
        minio.keys("root", ROOT, ROOT, None);
        Some(minio)
    }

    /// A server of the case's own. It speaks TLS if there are a certificate and its key.
    pub fn own(&self, tls: Option<(&str, &str)>) -> Minio {
        let files = tempfile::tempdir().unwrap();
        if let Some((certificate, key)) = tls {
            let certificates = files.path().join("certs");
            std::fs::create_dir(&certificates).unwrap();
            std::fs::copy(certificate, certificates.join("public.crt")).unwrap();
            std::fs::copy(key, certificates.join("private.key")).unwrap();
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let program = self.program.clone();
        let mut own = Minio { address: free.to_string(), program, files, _user: None, own: None };
        own.keys("root", ROOT, ROOT, None);
        own.start();
        own
    }

    /// Starts a server of the case's own, at the same address and with the same data as before.
    pub fn start(&mut self) {
        let mut server = Command::new(&self.program);
        let certificates = self.files.path().join("certs");
        server.args(["server", "--quiet", "--address", &self.address]);
        if certificates.is_dir() {
            server.arg("--certs-dir").arg(&certificates);
        }
        server.arg(self.files.path().join("data"));
        server.envs([("MINIO_ROOT_USER", ROOT), ("MINIO_ROOT_PASSWORD", ROOT)]);
        server.envs([("MINIO_BROWSER", "off"), ("MINIO_UPDATE", "off")]);
        let log = File::create(self.files.path().join("log")).unwrap();
        server.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.own = Some(server.spawn().unwrap());
        // It says that it is ready before it takes requests.
        until(|| self.try_to_ask("s3", "", &[]).status.success());
    }

    pub fn kill(&mut self) {
        if let Some(mut server) = self.own.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// Signals a server of the case's own.
    pub fn signal(&self, signal: Signal) {
        let server = self.own.as_ref().expect("it is the case's own, and is up");
        kill(Pid::from_raw(server.id().try_into().unwrap()), signal).unwrap();
    }

    /// Whoever may do everything asks.
    fn ask(&self, service: &str, path: &str, arguments: &[&str]) -> Output {
        let output = self.try_to_ask(service, path, arguments);
        assert!(output.status.success(), "{output:?}");
        output
    }

    fn try_to_ask(&self, service: &str, path: &str, arguments: &[&str]) -> Output {
        let scheme = if self.files.path().join("certs").is_dir() { "https" } else { "http" };
        let mut curl = Command::new("curl");
        curl.args(["-ksS", "--fail-with-body", "--aws-sigv4", &format!("aws:amz:us-east-1:{service}")]);
        curl.args(["--user", &format!("{ROOT}:{ROOT}")]).args(arguments);
        curl.arg(format!("{scheme}://{}/{path}", self.address)).output().unwrap()
    }

    /// Whether there is an object of this name, its bucket first.
    pub fn has(&self, path: &str) -> bool {
        self.try_to_ask("s3", path, &["--head"]).status.success()
    }

    /// A new bucket.
    pub fn bucket(&self) -> String {
        let name = format!("b-{:x}-{:x}", RandomState::new().hash_one(0), std::process::id());
        self.ask("s3", &name, &["-X", "PUT"]);
        name
    }

    /// A file with credentials, by its path.
    pub fn keys(&self, name: &str, key: &str, secret: &str, token: Option<&str>) -> String {
        let token = token.map(|token| format!("aws_session_token = {token}\n")).unwrap_or_default();
        let path = self.files.path().join(name);
        let text = format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n{token}");
        std::fs::write(&path, text).unwrap();
        path.into_os_string().into_string().unwrap()
    }

    /// Credentials that may do only so much, by a policy's statement.
    pub fn limited(&self, name: &str, statement: &str) -> String {
        let policy = format!("Policy={{\"Version\": \"2012-10-17\", \"Statement\": [{statement}]}}");
        let form = ["Action=AssumeRole", "Version=2011-06-15", "DurationSeconds=900", &policy];
        let form: Vec<&str> = form.iter().flat_map(|field| ["--data-urlencode", field]).collect();
        let answer = String::from_utf8(self.ask("sts", "", &form).stdout).unwrap();
        let field = |name: &str| {
            let start = answer.split_once(&format!("<{name}>")).expect("it is in the answer").1;
            start.split('<').next().unwrap().to_owned()
        };
        self.keys(name, &field("AccessKeyId"), &field("SecretAccessKey"), Some(&field("SessionToken")))
    }

    /// The URL of a place in it, asked by the holder of these credentials, at another address if there is one between.
    pub fn url(&self, place: &str, keys: &str, at: Option<&str>) -> String {
        let address = at.unwrap_or(&self.address);
        let scheme = if self.files.path().join("certs").is_dir() { "https" } else { "http" };
        let keys = self.files.path().join(keys);
        format!("s3://{place}?endpoint={scheme}://{address}&path-style=true&credentials={}", keys.display())
    }
}

impl Drop for Minio {
    fn drop(&mut self) {
        self.kill();
    }
}
