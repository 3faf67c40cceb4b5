//! Files that tests leave: whose each is, and that they are had back, here and through a store.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::around::Ran;
use crate::environments::{KEEPER, run};
use crate::harness::{Cluster, Docker, IMAGE, Minio, Suite, WITH_PYTEST, text, until};
use crate::stores::{listens, scheduler_again, waiting};

const SOURCE: &str = r#"
import os, pathlib
LEFT = pathlib.Path(os.environ["SEAGULL_ATTACHMENTS"])

def test_leaves():
    (LEFT / "trace").mkdir()
    (LEFT / "trace/net.json").write_text("{}")
    (LEFT / "page.png").write_text("shot of one")

def test_none():
    assert not list(LEFT.iterdir())

def test_fails():
    (LEFT / "page.png").write_text("shot of another")
    pathlib.Path("shots").mkdir()
    pathlib.Path("shots/late.png").write_text("by a tool")
    assert 0

def test_dies():
    (LEFT / "state").write_text("last words")
    os.kill(os.getpid(), 11)
"#;
/// In a container, with a service that each bundle has anew.
const BOXED: &str = r#"
[services.keeper]
image = "IMAGE"
command = ["python3", "/keeper.py"]
files = { "/keeper.py" = "keeper.py" }
ports = [7000]
scope = "bundle"
[environment.box]
image = "PYTEST"
services = ["keeper"]
tests = ["test_a.py"]
"#;
const SETTINGS: &str = "[attachments]\npatterns = ['shots/**/*.png']\n";

/// What the tests left, and each of it.
fn expected() -> BTreeMap<(&'static str, &'static str), &'static str> {
    BTreeMap::from([
        (("test_a.py::test_leaves", "page.png"), "shot of one"),
        (("test_a.py::test_leaves", "trace/net.json"), "{}"),
        (("test_a.py::test_fails", "page.png"), "shot of another"),
        (("test_a.py::test_fails", "shots/late.png"), "by a tool"),
        (("test_a.py::test_dies", "state"), "last words"),
    ])
}

#[track_caller]
fn are_had_back(objects: &[Value]) {
    let read = |object: &Value| fs::read_to_string(text(object, "path")).unwrap();
    let found = objects.iter().map(|object| ((text(object, "test"), text(object, "name")), read(object)));
    let found: BTreeMap<_, _> = found.collect();
    let found: BTreeMap<_, _> = found.iter().map(|(of, text)| (*of, text.as_str())).collect();
    assert_eq!(found, expected());
}

#[test]
fn what_tests_leave_is_theirs_and_is_had_back() {
    let ran = Ran::of(&[("test_a.py", SOURCE), ("seagull.toml", SETTINGS)]);
    let page = ran.suite.beside("out/report.html").into_os_string().into_string().unwrap();
    let finished = ran.suite.run(&["--run-id", "one", "--slots", "1", "--html", &page]);
    finished.expect_code(100);
    assert_eq!(finished.all("attached").len(), expected().len());

    let to = ran.suite.beside("to").into_os_string().into_string().unwrap();
    are_had_back(&ran.objects(&["attachments", "one", "--to", &to]));
    let one = ran.objects(&["attachments", "last", "test_fails"]);
    assert_eq!((one.len(), &one[0]["path"], &one[0]["kept"]), (2, &Value::Null, &true.into()));
    assert!(ran.text(&["attachments"]).contains("test_a.py::test_dies: state, 1 KiB"));
    let results = ran.objects(&["results", "--failed"]);
    assert_eq!(text(&results[1]["attachments"][0], "name"), "state");
    assert!(ran.text(&["explain", "test_dies"]).contains("state, 1 KiB"));

    // The page links to what is beside it.
    let html = fs::read_to_string(&page).unwrap();
    let links: Vec<_> = html.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(links.len(), expected().len(), "{html}");
    for link in links {
        assert!(Path::new(&page).with_file_name(link).is_file(), "{link}");
    }

    let exported = ran.suite.beside("results.zst").into_os_string().into_string().unwrap();
    ran.text(&["export", "-o", &exported]);
    let lines = zstd::decode_all(fs::File::open(&exported).unwrap()).unwrap();
    assert!(String::from_utf8(lines).unwrap().contains(r#""attachments":["page.png","shots/late.png"]"#));
}

#[test]
fn what_tests_in_a_container_leave_is_theirs_though_it_ends_with_its_bundle() {
    let Some(docker) = Docker::get() else { return };
    let boxed = SETTINGS.to_owned() + &BOXED.replace("IMAGE", IMAGE).replace("PYTEST", WITH_PYTEST);
    let suite = Suite::of(&[("test_a.py", SOURCE), ("seagull.toml", &boxed), ("keeper.py", KEEPER)]);
    run(&docker, &suite, &["test_a.py"]).expect_code(100);
    let to = suite.beside("to").into_os_string().into_string().unwrap();
    let output = suite.seagull(&["attachments", "--to", &to, "--output", "json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let objects: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    are_had_back(&objects);
}

/// What is too large to be kept with others.
const LARGE: &str = r#"
def test_large():
    import random
    (LEFT / "large").write_text(random.Random(1).randbytes(300_000).hex())
"#;

/// Through a scheduler that keeps them in a store, and is gone when they are asked for.
fn outlive_their_scheduler(url: &str) {
    let source = SOURCE.to_owned() + LARGE;
    let suite = Suite::of(&[("test_a.py", &source), ("seagull.toml", SETTINGS)]);
    let mut cluster = Cluster::start_with(suite, &["--blobs", url]);
    let _executor = cluster.executor("e-one");
    cluster.start_run(&["--run-id", "one"]).finish().expect_code(100);
    let spool = cluster.suite.beside("scheduler/spool");
    let [blobs, attached] =
        ["scheduler/blobs", "scheduler/runs/one/attached"].map(|path| cluster.suite.beside(path));
    until(|| !attached.exists() && waiting(&spool) == 0);
    cluster.scheduler.kill();
    // What is here is only a copy.
    fs::remove_dir_all(&blobs).unwrap();
    fs::create_dir(&blobs).unwrap();
    let mut again = scheduler_again(&cluster, &["--blobs", url], "again");
    listens(&mut again);
    let token = cluster.token().into_os_string().into_string().unwrap();
    let to: PathBuf = cluster.suite.beside("to");
    let from = ["--scheduler", &cluster.url, "--token-file", &token, "--output", "json"];
    let asked =
        cluster.suite.seagull(&[&["attachments", "one", "--to", to.to_str().unwrap()][..], &from].concat());
    let output = { asked }.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let objects = lines.lines().map(|line| serde_json::from_str(line).unwrap());
    let (large, objects): (Vec<Value>, Vec<_>) =
        objects.partition(|object: &Value| text(object, "name") == "large");
    assert_eq!(fs::metadata(text(&large[0], "path")).unwrap().len(), 600_000);
    are_had_back(&objects);
}

#[test]
fn they_outlive_their_scheduler_in_a_directory_and_small_ones_are_one_object() {
    let store = tempfile::tempdir().unwrap();
    outlive_their_scheduler(&format!("file:{}/kept", store.path().display()));
    assert!(store.path().join("kept/attached/one.zst").is_file());
    let folders = fs::read_dir(store.path().join("kept/blobs")).unwrap();
    let blobs = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    let alone = blobs.filter(|blob| {
        let bytes = fs::read(blob.as_ref().unwrap().path()).unwrap();
        bytes.starts_with(&seagull_results::ATTACHMENT)
    });
    assert_eq!(alone.count(), 1, "the large one");
}

#[test]
fn they_outlive_their_scheduler_in_a_bucket() {
    let Some(minio) = Minio::get() else { return };
    outlive_their_scheduler(&minio.url(&minio.bucket(), "root", None));
}
