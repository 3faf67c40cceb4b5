//! Rust tests on executors that build nothing: what cargo built here is sent.
#![expect(clippy::disallowed_methods, reason = "a case looks again after a while")]

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Finished, Running, Suite};
use crate::processes::Cluster;

/// How long what a case waits for may take.
const PATIENCE: Duration = Duration::from_secs(120);

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

fn until(mut there: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !there() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
