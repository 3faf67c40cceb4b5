//! What the repository promises of its own structure.

use std::path::{Path, PathBuf};
use std::process::Command;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn tree(package: &str) -> Vec<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "tree",
        "--locked",
        "--offline",
        "-e",
        "normal",
        "--prefix",
        "none",
        "-f",
        "{p}",
        "-p",
        package,
    ]);
    let output = cargo.current_dir(top()).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    names.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn cores_depend_on_nothing_that_waits_draws_or_reads() {
    let domain = ["seagull-domain", "serde", "serde_core", "serde_derive"];
    // What serde's derive needs while it compiles.
    let macros = ["proc-macro2", "quote", "syn", "unicode-ident"];
    for package in ["seagull-domain", "seagull-scheduler-core", "seagull-executor-core"] {
        for name in tree(package) {
            let known = name == package || domain.contains(&name.as_str()) || macros.contains(&name.as_str());
            assert!(known, "{package} depends on {name}");
        }
    }
    // It packs on all cores, and its solver computes: neither reads a clock but for a limit that it is given.
    let threads = ["rayon", "rayon-core", "crossbeam-deque", "crossbeam-epoch", "crossbeam-utils", "either"];
    let solver = ["good_lp", "fnv", "highs", "highs-sys", "log"];
    for name in tree("seagull-binpacker") {
        let known = threads.contains(&name.as_str()) || solver.contains(&name.as_str());
        assert!(name == "seagull-binpacker" || known, "the packer depends on {name}");
    }
}

/// Files of our own that git knows or would add.
fn files(pattern: &str) -> Vec<PathBuf> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", pattern]).current_dir(top());
    let output = git.output().expect("git runs");
    let names = String::from_utf8(output.stdout).expect("our paths are text");
    names.split_terminator('\0').map(PathBuf::from).filter(|path| top().join(path).exists()).collect()
}

#[test]
fn the_architecture_page_has_a_line_for_each_file_and_no_other() {
    let page = std::fs::read_to_string(top().join("ARCHITECTURE.md")).expect("there is one");
    let sources = ["*.rs", "*.py", "*.proto", "*.sh", "docs/*"].into_iter().flat_map(files);
    let missing: Vec<_> = sources
        .filter(|path| !path.starts_with("tests/suites"))
        .filter(|path| !page.contains(&format!("`{}`", path.display())))
        .collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md has no line for {missing:?}");
    let listed = page.lines().filter_map(|line| line.strip_prefix("- `")?.split_once("`:"));
    let gone: Vec<_> = listed
        .map(|(path, _)| path)
        .filter(|path| !path.contains('`') && !top().join(path).exists())
        .collect();
    assert!(gone.is_empty(), "ARCHITECTURE.md has lines for {gone:?}, which are not there");
}

#[test]
fn every_source_file_says_its_job() {
    for path in files("*.rs") {
        let text = std::fs::read_to_string(top().join(&path)).expect("it is there");
        assert!(text.starts_with("//! "), "{} does not open with its job", path.display());
    }
}
