//! Certificates: an authority, and what it signs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// What `openssl ca` needs to know.
const SETTINGS: &str = "\
[ca]
default_ca = it
[it]
database = index
new_certs_dir = .
rand_serial = yes
default_md = sha256
unique_subject = no
policy = any
[any]
commonName = supplied
";
/// A key that is quickly made.
const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/// An authority, and what it signs, in files.
pub struct Authority(tempfile::TempDir);

impl Authority {
    pub fn new(name: &str) -> Authority {
        let authority = Authority(tempfile::tempdir().unwrap());
        fs::write(authority.path("settings"), SETTINGS).unwrap();
        fs::write(authority.path("index"), "").unwrap();
        let subject = format!("/CN={name}");
        let rest = ["-x509", "-subj", &subject, "-days", "30", "-keyout", "ca.key", "-out", "ca.pem"];
        authority.openssl("req", &[&KEY[..], &rest].concat());
        authority
    }

    fn openssl(&self, command: &str, arguments: &[&str]) {
        let mut openssl = Command::new("openssl");
        let output = openssl.current_dir(&self.0).arg(command).args(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "openssl {command} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn file(&self, name: &str) -> String {
        self.path(name).into_os_string().into_string().unwrap()
    }

    /// The options of a scheduler with a certificate: what it is for, and further options of `openssl ca`.
    pub fn sign(&self, name: &str, extensions: &str, options: &[&str]) -> [String; 4] {
        let [pem, key, request, other] = ["pem", "key", "csr", "ext"].map(|kind| format!("{name}.{kind}"));
        fs::write(self.path(&other), extensions).unwrap();
        let rest = ["-subj", "/CN=scheduler", "-keyout", &key, "-out", &request];
        self.openssl("req", &[&KEY[..], &rest].concat());
        let signing = ["-batch", "-notext", "-config", "settings", "-cert", "ca.pem", "-keyfile", "ca.key"];
        let files = ["-in", &request, "-out", &pem, "-extfile", &other];
        let days = if options.is_empty() { &["-days", "7"][..] } else { options };
        self.openssl("ca", &[&signing[..], &files, days].concat());
        ["--tls-cert".to_owned(), self.file(&pem), "--tls-key".to_owned(), self.file(&key)]
    }
}
