//! Rust tests on executors that build nothing: what cargo built here is sent, or an archive of nextest.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Cluster, Finished, Running, Suite, until};

/// A workspace below the top of what is sent, with what is awkward to send: a proc macro, whose test needs a shared
/// library of Rust's; a build script's output; a program that a test starts; a target without a harness; doctests.
fn awkward() -> Suite {
    Suite::of(&[
        (".gitignore", "target\n"),
        ("seagull.toml", "[env]\nBOTH = 'suite'\n"),
        (
            "ws/Cargo.toml",
            "[workspace]\nmembers = ['lib', 'macro', 'tool']\nresolver = '3'\n\
             [workspace.package]\nedition = '2024'\nversion = '1.0.0'\n",
        ),
        ("ws/.cargo/config.toml", "[env]\nBOTH = 'cargo'\nCONFIGURED = 'cargo'\n"),
        (
            "ws/lib/Cargo.toml",
            "[package]\nname = 'lib'\nedition.workspace = true\nversion.workspace = true\n",
        ),
        (
            "ws/lib/build.rs",
            "fn main() {\n    let out = std::env::var(\"OUT_DIR\").unwrap();\n    \
             std::fs::create_dir_all(format!(\"{out}/d\")).unwrap();\n    \
             std::fs::write(format!(\"{out}/d/made\"), \"made\").unwrap();\n    \
             println!(\"cargo::rustc-env=MADE={out}/d/made\");\n}\n",
        ),
        (
            "ws/lib/src/lib.rs",
            "//! ```\n//! assert_eq!(lib::two(), 2);\n//! ```\npub fn two() -> u32 {\n    2\n}\n\
             #[test]\nfn has_what_was_made() {\n    assert_ne!(std::env::var(\"OUT_DIR\").unwrap(), \
             env!(\"OUT_DIR\"));\n    for path in [std::env::var(\"MADE\").unwrap(), \
             std::env::var(\"OUT_DIR\").unwrap() + \"/d/made\"] {\n        assert_eq!(std::fs::read(path).unwrap(), b\"made\");\n    }\n}\n\
             #[test]\nfn fails() {\n    assert_eq!(two(), 3);\n}\n\
             #[test]\n#[ignore]\nfn is_ignored() {}\n",
        ),
        (
            "ws/macro/Cargo.toml",
            "[package]\nname = 'macro'\nedition.workspace = true\nversion.workspace = true\n[lib]\nproc-macro = true\n\
             doctest = false\n",
        ),
        (
            "ws/macro/src/lib.rs",
            "#[proc_macro]\npub fn nothing(input: proc_macro::TokenStream) -> proc_macro::TokenStream {\n    input\n}\n\
             #[test]\nfn starts() {}\n",
        ),
        (
            "ws/tool/Cargo.toml",
            "[package]\nname = 'tool'\nedition.workspace = true\nversion.workspace = true\n[dependencies]\n\
             macro = { path = '../macro' }\n[[test]]\nname = 'own'\nharness = false\n",
        ),
        ("ws/tool/src/main.rs", "fn main() {\n    println!(\"tool\");\n}\n"),
        ("ws/tool/tests/own.rs", "fn main() {}\n"),
        (
            "ws/tool/tests/surroundings.rs",
            r#"use std::env::{current_dir, current_exe, var};
use std::process::Command;

#[test]
fn are_here_and_not_where_it_was_built() {
    let here = var("CARGO_MANIFEST_DIR").unwrap();
    assert_eq!(current_dir().unwrap().to_str().unwrap(), here);
    assert!(here.ends_with("/ws/tool") && here != env!("CARGO_MANIFEST_DIR"), "{here}");
    assert_eq!(var("CARGO_PKG_VERSION").unwrap(), "1.0.0");
    assert_eq!(var("BOTH").unwrap(), "suite");
    assert_eq!(var("OF_THE_EXECUTOR").unwrap(), "yes");
    assert!(var("OF_THE_CLIENT").is_err());
    assert_eq!(var("PATH").unwrap(), "/nowhere");
}

#[test]
fn have_what_cargo_is_configured_with() {
    assert_eq!(var("CONFIGURED").unwrap(), "cargo");
}

#[test]
fn the_program_is_there() {
    let program = var("CARGO_BIN_EXE_tool").unwrap();
    assert_ne!(program, env!("CARGO_BIN_EXE_tool"));
    let beside = current_exe().unwrap().parent().unwrap().parent().unwrap().join("tool");
    for program in [program.into(), beside] {
        assert_eq!(Command::new(program).output().unwrap().stdout, b"tool\n");
    }
}
"#,
        ),
    ])
}

/// What runs of them, without doctests.
const AWKWARD: [(&str, &str); 8] = [
    ("lib::lib::fails", "failed"),
    ("lib::lib::has_what_was_made", "passed"),
    ("lib::lib::is_ignored", "skipped"),
    ("macro::lib::starts", "passed"),
    ("tool::test/own", "passed"),
    ("tool::test/surroundings::are_here_and_not_where_it_was_built", "passed"),
    ("tool::test/surroundings::have_what_cargo_is_configured_with", "passed"),
    ("tool::test/surroundings::the_program_is_there", "passed"),
];

/// What an executor without any compiler, loader's path or variable of cargo's has.
const BARE: [(&str, &str); 3] = [("PATH", "/nowhere"), ("LD_LIBRARY_PATH", ""), ("OF_THE_EXECUTOR", "yes")];

/// A command for the cluster's scheduler, in the workspace, with a variable of the client's.
fn client(cluster: &Cluster, arguments: &[&str]) -> Command {
    let token = cluster.token().into_os_string().into_string().unwrap();
    let state = cluster.suite.beside("state").into_os_string().into_string().unwrap();
    let access = ["--scheduler", &cluster.url, "--token-file", &token, "--state", &state];
    let mut command = cluster.suite.seagull(&[&arguments[..1], &access, &arguments[1..]].concat());
    command.env("OF_THE_CLIENT", "yes");
    command.current_dir(cluster.suite.path().join("ws"));
    command
}

fn run(cluster: &Cluster, arguments: &[&str]) -> Finished {
    let words = [&["run", "--output", "json"][..], arguments].concat();
    Running::start(client(cluster, &words), &cluster.suite.beside("stderr-client")).finish()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn executors_without_cargo_run_what_was_built_here() {
    let cluster = Cluster::start(awkward());
    let _executor = cluster.executor_with("e-one", &[], &BARE);
    let first = run(&cluster, &[]);
    first.expect(100, &AWKWARD);
    for words in
        ["building the tests here", "Compiling tool", "documentation of lib need a compiler", "uploading"]
    {
        assert!(first.stderr.contains(words), "no {words:?} in {}", first.stderr);
    }
    assert!(!first.stderr.contains("Running"), "{}", first.stderr);
    assert!(!cluster.suite.path().join(".seagull-built").exists());
    let second = run(&cluster, &["is_ignored", "--", "--lib", "--", "--include-ignored"]);
    second.expect(0, &[("lib::lib::is_ignored", "passed")]);
    assert!(!second.stderr.contains("need a compiler"), "{}", second.stderr);
    let third = run(&cluster, &["--run-id", "third"]);
    third.expect(100, &AWKWARD);
    assert!(!third.stderr.contains("uploading"), "{}", third.stderr);

    // Again from the same files, with nothing built.
    let again = client(&cluster, &["rerun", "third", "--output", "json"]);
    let again = Running::start(again, &cluster.suite.beside("stderr-again")).finish();
    again.expect(100, &[("lib::lib::fails", "failed")]);
    assert!(!again.stderr.contains("building"), "{}", again.stderr);
    let repeated = client(&cluster, &["repro", "third", "fails"]).output().unwrap();
    assert_eq!(repeated.status.code(), Some(100), "{}", said(&repeated));
    assert!(said(&repeated).contains("cargo test -p lib"), "{}", said(&repeated));
}

#[test]
fn what_a_wrapper_around_cargo_sets_stays_here_and_is_named() {
    let cluster = Cluster::start(Suite::of(&[
        (".gitignore", "target\n"),
        ("ws/Cargo.toml", "[package]\nname = 'small'\nedition = '2024'\n"),
        (
            "ws/src/lib.rs",
            "#[test]\nfn has_no_token() {\n    assert!(std::env::var(\"REGISTRY_TOKEN\").is_err());\n}\n",
        ),
    ]));
    let _executor = cluster.executor_with("e-one", &[], &BARE);
    let bin = cluster.suite.beside("bin");
    let path = std::env::var("PATH").unwrap();
    fs::create_dir(&bin).unwrap();
    let wrapper = format!("#!/bin/sh\nPATH='{path}' REGISTRY_TOKEN=hunter2 exec cargo \"$@\"\n");
    fs::write(bin.join("cargo"), wrapper).unwrap();
    fs::set_permissions(bin.join("cargo"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = client(&cluster, &["run", "--output", "json"]);
    command.env("PATH", format!("{}:{path}", bin.display()));
    let sent = Running::start(command, &cluster.suite.beside("stderr-client")).finish();
    sent.expect(0, &[("small::lib::has_no_token", "passed")]);
    assert!(sent.stderr.contains("not sent with the tests: REGISTRY_TOKEN\n"), "{}", sent.stderr);
}

#[test]
fn a_revision_is_built_from_its_own_files_and_away_from_the_users() {
    let cluster = Cluster::start(Suite::of(&[
        (".gitignore", "target\n"),
        ("ws/Cargo.toml", "[package]\nname = 'small'\nedition = '2024'\n"),
        ("ws/src/lib.rs", "#[test]\nfn was_committed() {}\n"),
    ]));
    let _executor = cluster.executor_with("e-one", &[], &BARE);
    cluster.suite.write("ws/src/lib.rs", "#[test]\nfn is_new() {}\n");
    for uploads in [true, false] {
        let sent = run(&cluster, &["--rev", "HEAD"]);
        sent.expect(0, &[("small::lib::was_committed", "passed")]);
        assert_eq!(sent.stderr.contains("uploading"), uploads, "{}", sent.stderr);
    }
    assert!(!cluster.suite.path().join("ws/target").exists());
    run(&cluster, &[]).expect(0, &[("small::lib::is_new", "passed")]);
}

#[test]
fn executors_build_where_the_settings_say_so_and_run_doctests() {
    let cluster = Cluster::start(Suite::of(&[
        ("seagull.toml", "[cargo]\nbuild = 'executors'\n"),
        ("ws/Cargo.toml", "[package]\nname = 'small'\nedition = '2024'\n"),
        ("ws/src/lib.rs", "//! ```\n//! assert!(true);\n//! ```\n#[test]\nfn passes() {}\n"),
    ]));
    let _executor = cluster.executor("e-one");
    let built = run(&cluster, &[]);
    built.expect(0, &[("small::doc", "passed"), ("small::lib::passes", "passed")]);
    assert!(!built.stderr.contains("building"), "{}", built.stderr);
}

#[test]
fn a_build_that_fails_or_is_interrupted_is_no_run() {
    let cluster = Cluster::start(Suite::of(&[
        ("ws/Cargo.toml", "[package]\nname = 'small'\nedition = '2024'\n"),
        ("ws/src/lib.rs", "pub const NAME: &str = 3;\n"),
    ]));
    let broken = client(&cluster, &["run"]).output().unwrap();
    assert_eq!(broken.status.code(), Some(1), "{}", said(&broken));
    for words in
        ["mismatched types", "error: cargo test does not build", "hint: [cargo] build = \"executors\""]
    {
        assert!(said(&broken).contains(words), "no {words:?} in {}", said(&broken));
    }

    cluster.suite.write(
        "ws/build.rs",
        "fn main() {\n    std::process::Command::new(\"sleep\").arg(\"600\").status().unwrap();\n}\n",
    );
    let run = Running::start(client(&cluster, &["run"]), &cluster.suite.beside("stderr-client"));
    let building = || {
        let alive = cluster.suite.marked().alive();
        alive
            .into_iter()
            .map(|(_, line)| line)
            .filter(|line| line.contains("sleep 600") || line.contains("cargo"))
    };
    until(|| building().any(|line| line.contains("sleep 600")));
    run.signal(Signal::SIGINT);
    let (_, code, stderr) = run.end();
    assert_eq!(code, 130, "{stderr}");
    until(|| building().next().is_none());
}

/// What cargo says that it builds of a workspace's tests, a line each.
fn built(directory: &Path) -> Vec<Value> {
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--no-run", "--message-format=json", "--quiet"]).current_dir(directory);
    let output = cargo.env_remove("CARGO_TARGET_DIR").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What a command says.
fn answer(program: &str, arguments: &[&str], directory: &Path) -> String {
    let output = Command::new(program).args(arguments).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// An archive as cargo-nextest 0.9.151 makes it, of a workspace of these tests.
struct Nextest {
    target: PathBuf,
    /// Where each file is in it, and where it is.
    files: Vec<(String, PathBuf)>,
    programs: BTreeMap<String, Vec<Value>>,
    scripts: BTreeMap<String, Value>,
    out_directories: BTreeMap<String, Value>,
    binaries: BTreeMap<String, Value>,
}

impl Nextest {
    fn of(workspace: &Path) -> Nextest {
        let target = workspace.canonicalize().unwrap().join("target");
        let (files, programs, scripts, out_directories, binaries) = Default::default();
        let mut archive = Nextest { target, files, programs, scripts, out_directories, binaries };
        for line in built(workspace) {
            archive.add(&line);
        }
        archive
    }

    fn inside(&self, path: &str) -> String {
        Path::new(path).strip_prefix(&self.target).unwrap().to_str().unwrap().to_owned()
    }

    fn take(&mut self, path: &str) -> String {
        let inside = self.inside(path);
        self.files.push((format!("target/{inside}"), path.into()));
        inside
    }

    fn add(&mut self, line: &Value) {
        let package = line["package_id"].as_str().unwrap_or_default().to_owned();
        if line["reason"] == "build-script-executed" {
            let out = line["out_dir"].as_str().unwrap();
            self.take(&format!("{out}/d/made"));
            let set = line["env"].as_array().unwrap().iter();
            let set: BTreeMap<_, _> = set.map(|pair| (pair[0].as_str().unwrap(), pair[1].clone())).collect();
            self.scripts.insert(package.clone(), json!({ "envs": set }));
            self.out_directories.insert(package, self.inside(out).into());
        } else if let (Some(path), name) = (line["executable"].as_str(), &line["target"]["name"]) {
            let kind = line["target"]["kind"][0].as_str().unwrap();
            match line["profile"]["test"].as_bool().unwrap() {
                true => {
                    self.take(path);
                    let binary = json!({
                        "binary-id": path, "binary-name": name, "package-id": package, "kind": kind,
                        "binary-path": path, "build-platform": "target",
                    });
                    self.binaries.insert(path.to_owned(), binary);
                }
                false if kind == "bin" => {
                    let path = self.take(path);
                    let program =
                        json!({ "name": name, "kind": "bin-exe", "path": path, "build-platform": "target" });
                    self.programs.entry(package).or_default().push(program);
                }
                false => {}
            }
        }
    }

    fn write(&self, workspace: &Path, file: &Path) {
        let metadata = answer("cargo", &["metadata", "--no-deps", "--format-version", "1"], workspace);
        let binaries = json!({
            "rust-build-meta": {
                "target-directory": self.target, "base-output-directories": ["debug"],
                "non-test-binaries": self.programs, "build-script-out-dirs": self.out_directories,
                "build-script-info": self.scripts, "linked-paths": [], "target-platform": null,
            },
            "rust-binaries": self.binaries,
        });
        let libraries = answer("rustc", &["--print", "target-libdir"], workspace);
        let libraries = Path::new(&libraries).read_dir().unwrap().map(|entry| entry.unwrap().path());
        let libraries =
            libraries.filter(|path| path.extension().is_some_and(|kind| kind == "so" || kind == "dylib"));
        let mut archive = Packed::begin(file);
        archive.add("target/nextest/binaries-metadata.json", binaries.to_string().as_bytes());
        archive.add("target/nextest/cargo-metadata.json", metadata.as_bytes());
        for (name, path) in &self.files {
            archive.add(name, &fs::read(path).unwrap());
        }
        for path in libraries.filter(|path| path.to_string_lossy().contains("libstd-")) {
            let name = path.file_name().unwrap().to_str().unwrap();
            archive.add(&format!("target/nextest/libdirs/host/{name}"), &fs::read(&path).unwrap());
        }
        archive.end();
    }
}

/// A `.tar.zst` in the making.
struct Packed(tar::Builder<zstd::Encoder<'static, fs::File>>);

impl Packed {
    fn begin(file: &Path) -> Packed {
        Packed(tar::Builder::new(zstd::Encoder::new(fs::File::create(file).unwrap(), 0).unwrap()))
    }

    fn add(&mut self, name: &str, bytes: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        // As an attacker writes it: the library would refuse a way out.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        self.0.append(&header, bytes).unwrap();
    }

    fn end(self) {
        self.0.into_inner().unwrap().finish().unwrap();
    }
}

/// The awkward workspace, archived, and not built any more.
fn archived(cluster: &Cluster) -> PathBuf {
    let (workspace, file) = (cluster.suite.path().join("ws"), cluster.suite.beside("tests.tar.zst"));
    Nextest::of(&workspace).write(&workspace, &file);
    fs::remove_dir_all(workspace.join("target")).unwrap();
    file
}

#[test]
fn an_archive_runs_where_it_was_not_built_and_on_executors() {
    let cluster = Cluster::start(awkward());
    let archive = archived(&cluster);
    let archive = archive.to_str().unwrap();
    // Configuration of cargo's is not in it.
    let mut expected = AWKWARD;
    for (test, verdict) in &mut expected {
        if test.contains("configured") {
            *verdict = "failed";
        }
    }

    let clone = cluster.suite.beside("clone");
    answer("git", &["clone", "--quiet", ".", clone.to_str().unwrap()], &cluster.suite.path());
    let here = |arguments: &[&str]| {
        let state = cluster.suite.beside("state-here").into_os_string().into_string().unwrap();
        let mut command =
            cluster.suite.seagull(&[arguments, &["--output", "json", "--state", &state]].concat());
        command.envs(BARE).current_dir(clone.join("ws/tool"));
        Running::start(command, &cluster.suite.beside("stderr-here")).finish()
    };
    here(&["run", "--archive", archive]).expect(100, &expected);
    // What has no harness has no filter.
    let own = ("tool::test/own", "passed");
    here(&["run", "--archive", archive, "made"]).expect(0, &[("lib::lib::has_what_was_made", "passed"), own]);
    let failed = expected.into_iter().filter(|(_, verdict)| *verdict == "failed").collect::<Vec<_>>();
    let whole = here(&["run", "--archive", archive, "--run-id", "whole"]);
    whole.expect(100, &expected);
    here(&["rerun", "whole"]).expect(100, &failed);
    assert!(!clone.join("ws/target").exists());
    fs::remove_dir_all(cluster.suite.beside("state-here/artifacts")).unwrap();
    let state = cluster.suite.beside("state-here").into_os_string().into_string().unwrap();
    let gone = cluster.suite.seagull(&["rerun", "whole", "--state", &state]).output().unwrap();
    assert_eq!(gone.status.code(), Some(2), "{}", said(&gone));
    assert!(
        said(&gone).contains("hint: seagull run --archive FILE --select not-passed@whole"),
        "{}",
        said(&gone)
    );

    let _executor = cluster.executor_with("e-one", &[], &BARE);
    let sent = run(&cluster, &["--archive", archive]);
    sent.expect(100, &expected);
    assert!(!sent.stderr.contains("building"), "{}", sent.stderr);
    let ignored = run(&cluster, &["--archive", archive, "is_ignored", "--", "--", "--include-ignored"]);
    ignored.expect(0, &[("lib::lib::is_ignored", "passed"), own]);
    let committed = run(&cluster, &["--archive", archive, "--rev", "HEAD", "--select", "tool::test/own"]);
    committed.expect(0, &[own]);
}

#[test]
fn what_is_no_archive_of_the_workspace_is_wrong_usage() {
    let cluster = Cluster::start(awkward());
    let archive = archived(&cluster);
    let beside = |name: &str| cluster.suite.beside(name).into_os_string().into_string().unwrap();
    fs::write(beside("text"), "no archive").unwrap();
    for (name, member) in [("empty", "other"), ("hostile", "../target/nextest/binaries-metadata.json")] {
        let mut packed = Packed::begin(Path::new(&beside(name)));
        packed.add(member, b"{}");
        packed.end();
    }
    let (archive, top) = (archive.to_str().unwrap(), cluster.suite.path());
    let workspace = top.join("ws");
    let table: [(&[&str], &Path, &str); 8] = [
        (&["--archive", &beside("none")], &workspace, "No such file"),
        (&["--archive", &beside("text")], &workspace, "is no archive of cargo nextest"),
        (&["--archive", &beside("text")], &workspace, "hint: cargo nextest archive --archive-file"),
        (&["--archive", &beside("empty")], &workspace, "binaries-metadata.json"),
        (&["--archive", &beside("hostile")], &workspace, "unsafe path"),
        (&["--archive", archive, "--", "-p", "lib"], &workspace, "-p is for cargo"),
        (&["--archive", archive], &top, "is of a workspace that is not here"),
        (&["--archive", archive, "--framework", "pytest"], &workspace, "hint: leave --framework away"),
    ];
    for (arguments, directory, words) in table {
        let state = beside("state-here");
        let mut command = cluster.suite.seagull(&[&["run", "--state", &state], arguments].concat());
        let output = command.current_dir(directory).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(words), "{arguments:?}: {}", said(&output));
    }
    assert!(!Path::new(&beside("target")).exists());
}
