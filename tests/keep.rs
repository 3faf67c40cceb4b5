//! What is kept: it goes by its age, leaves, and comes from elsewhere.
#![expect(clippy::disallowed_methods, reason = "runs are made older than they are")]

use std::fs::{self, File};
use std::process::Output;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::harness::{Suite, text};

const DAY: Duration = Duration::from_secs(86_400);

struct Kept {
    suite: Suite,
    state: String,
}

impl Kept {
    fn new() -> Kept {
        let suite = Suite::of(&[(
            "test_a.py",
            "def test_good(): print('fine')\ndef test_bad(): raise ValueError('broken pump')\n",
        )]);
        let state = suite.beside("state").into_os_string().into_string().unwrap();
        Kept { suite, state }
    }

    /// A run that ended so many days ago.
    fn ran(&self, run: &str, days: u32) {
        self.suite.run(&["--run-id", run]).expect_code(100);
        let stream = self.suite.beside("state/runs").join(run).join("stream.jsonl");
        let file = File::options().write(true).open(stream).unwrap();
        file.set_modified(SystemTime::now() - days * DAY).unwrap();
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        self.suite.seagull(&[arguments, &["--state", &self.state]].concat()).output().unwrap()
    }

    #[track_caller]
    fn text(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn objects(&self, arguments: &[&str]) -> Vec<Value> {
        let lines = self.text(&[arguments, &["--output", "json"]].concat());
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Those of which there is a stream.
    fn runs(&self) -> Vec<String> {
        let runs = std::fs::read_dir(self.suite.beside("state/runs")).unwrap().map(Result::unwrap);
        let runs = runs.filter(|run| run.path().join("stream.jsonl").exists());
        let mut runs: Vec<_> = runs.map(|run| run.file_name().into_string().unwrap()).collect();
        runs.sort();
        runs
    }
}

#[test]
fn what_is_old_goes_unless_somebody_keeps_it() {
    let kept = Kept::new();
    for (run, days) in [("new", 0), ("logless", 40), ("old", 100), ("pinned", 100)] {
        kept.ran(run, days);
    }
    kept.text(&["gc", "--pin", "last"]);
    assert_eq!(kept.text(&["gc", "--pins"]), "new\n");
    kept.text(&["gc", "--unpin", "last"]);
    kept.text(&["gc", "--pin", "pinned"]);
    assert_eq!(kept.text(&["gc", "--pins"]), "pinned\n");
    let nowhere = kept.ask(&["gc", "--pin", "nowhere"]);
    let said = String::from_utf8_lossy(&nowhere.stderr).into_owned();
    assert!(nowhere.status.code() == Some(2) && said.contains("no run nowhere has ended here"), "{said}");
    let would = kept.objects(&["gc", "--dry-run"]);
    let classes: Vec<_> = would.iter().filter_map(|gone| gone["class"].as_str()).collect();
    assert_eq!(classes, ["failed-logs", "results"], "{would:?}");
    assert!(would.iter().all(|gone| gone["dry_run"] == true), "{would:?}");
    assert_eq!(kept.runs().len(), 4);
    let half = kept.ask(&["gc", "--dry-run", "--index", "es+http://127.0.0.1:9/nowhere"]);
    let (shown, said) = (String::from_utf8_lossy(&half.stdout), String::from_utf8_lossy(&half.stderr));
    assert!(!half.status.success() && shown.contains("failed-logs"), "{shown}{said}");
    assert!(said.contains("is not available"), "{said}");
    let gone = kept.objects(&["gc"]);
    assert_eq!(gone.len(), would.len(), "{gone:?}");
    assert_eq!(kept.runs(), ["logless", "new", "pinned"]);
    assert!(kept.text(&["logs", "pinned", "test_bad"]).contains("broken pump"));
    let without = kept.ask(&["logs", "logless", "test_bad"]);
    assert!(!String::from_utf8_lossy(&without.stdout).contains("broken pump"));
    let said = String::from_utf8_lossy(&without.stderr);
    assert!(said.contains("what test_a.py::test_bad printed in run logless is not kept any more"), "{said}");
    let said = String::from_utf8_lossy(&kept.ask(&["logs", "logless"]).stderr).into_owned();
    assert!(said.contains("what 2 executions printed is not kept any more"), "{said}");
    // What a run came to is told longer than what it printed.
    assert_eq!(kept.objects(&["results", "logless", "--failed"]).len(), 1);
    assert!(kept.objects(&["gc"]).is_empty());
    // Settings count, and options more.
    kept.suite.write("seagull.toml", "[retention]\nresults = '30d'\n");
    let would = kept.objects(&["gc", "--dry-run"]);
    assert!(would.iter().any(|gone| gone["class"] == "results"), "{would:?}");
    assert!(kept.objects(&["gc", "--dry-run", "--results", "50d"]).is_empty());
    kept.text(&["gc", "--unpin", "pinned"]);
    kept.text(&["gc"]);
    assert_eq!(kept.runs(), ["new"]);
}

fn lines(zstd: &std::path::Path) -> Vec<Value> {
    let text = zstd::stream::decode_all(File::open(zstd).unwrap()).unwrap();
    String::from_utf8(text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_runs_came_to_is_exported_by_when_they_ended() {
    let kept = Kept::new();
    kept.ran("old", 50);
    kept.ran("new", 0);
    let file = kept.suite.beside("all.jsonl.zst");
    let to = file.to_str().unwrap();
    kept.text(&["export", "-o", to]);
    let all = lines(&file);
    let tests: Vec<_> =
        all.iter().map(|line| (text(line, "run"), text(line, "test"), text(line, "verdict"))).collect();
    let expected = ["old", "new"]
        .into_iter()
        .flat_map(|run| [(run, "test_a.py::test_good", "passed"), (run, "test_a.py::test_bad", "failed")]);
    let (mut tests, mut expected) = (tests, expected.collect::<Vec<_>>());
    tests.sort();
    expected.sort();
    assert_eq!(tests, expected);
    let bad = all.iter().find(|line| line["verdict"] == "failed").unwrap();
    assert!(
        text(bad, "message").contains("broken pump") && text(bad, "stack").contains("test_a.py"),
        "{bad}"
    );
    assert!(
        bad["seconds"].is_f64() && bad["ended_at"].is_u64() && text(bad, "run_verdict") == "failed",
        "{bad}"
    );
    kept.text(&["export", "--since", "30d", "-o", to]);
    assert!(lines(&file).iter().all(|line| text(line, "run") == "new"));
    kept.text(&["export", "--until", "30d", "-o", to]);
    assert!(lines(&file).iter().all(|line| text(line, "run") == "old"));
    kept.text(&["export", "--project", "other", "-o", to]);
    assert!(lines(&file).is_empty());
}

#[test]
fn what_a_failure_said_is_exported_or_it_is_said_that_it_is_not_there() {
    let kept = Kept::new();
    kept.ran("r", 0);
    let file = kept.suite.beside("all.jsonl.zst");
    let export = |options: &[&str]| {
        let command = [&["export", "--state", &kept.state, "-o", file.to_str().unwrap()], options].concat();
        let keys = [("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x")];
        let output = kept.suite.seagull(&command).envs(keys).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (is_done, said) = export(&[]);
    assert!(is_done && !said.contains("warning"), "{said}");
    // As where a store has it.
    std::fs::remove_dir_all(kept.suite.beside("state/runs/r/logs")).unwrap();
    let (is_done, said) = export(&[]);
    assert!(is_done && said.contains("of 1 failure the text") && said.contains("hint: --blobs"), "{said}");
    let all = lines(&file);
    let bad = all.iter().find(|line| line["verdict"] == "failed").unwrap();
    assert!(text(bad, "message").contains("broken pump"), "{bad}");
    assert_eq!((text(bad, "stack"), text(bad, "fingerprint")), ("", ""));
    let (is_done, said) = export(&["--blobs", "s3://none?endpoint=http://127.0.0.1:9&path-style=true"]);
    assert!(!is_done && said.contains("s3://none"), "{said}");
    assert_eq!(lines(&file), all, "one that fails leaves what was there");
    let left = fs::read_dir(file.parent().unwrap()).unwrap().flatten();
    assert!(left.into_iter().all(|entry| !entry.file_name().to_string_lossy().starts_with(".tmp")));
}

#[test]
fn a_run_whose_manifest_is_elsewhere_is_left_out_and_it_is_said_how_it_is_had() {
    let kept = Kept::new();
    kept.ran("r", 0);
    let blobs = kept.suite.beside("state/blobs");
    std::fs::remove_dir_all(&blobs).unwrap();
    std::fs::create_dir(&blobs).unwrap();
    let file = kept.suite.beside("all.jsonl.zst");
    let output = kept.ask(&["export", "-o", file.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("run r is left out: "), "{said}");
    assert!(said.contains("hint: --blobs") && said.contains("0 results of 0 runs"), "{said}");
    assert!(lines(&file).is_empty());
}

#[test]
fn a_run_that_is_damaged_is_left_out_and_others_are_exported() {
    let kept = Kept::new();
    kept.ran("torn", 0);
    kept.ran("whole", 0);
    let stream = kept.suite.beside("state/runs/torn/stream.jsonl");
    let told = std::fs::read_to_string(&stream).unwrap();
    let mut told: Vec<_> = told.lines().collect();
    let middle = told.len() / 2;
    told[middle] = "{";
    std::fs::write(&stream, told.join("\n") + "\n").unwrap();
    let file = kept.suite.beside("all.jsonl.zst");
    let output = kept.ask(&["export", "-o", file.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("run torn is left out: it is damaged: "), "{said}");
    assert!(
        lines(&file).iter().all(|line| text(line, "run") == "whole") && said.contains("2 results of 1 run"),
        "{said}"
    );
}

const JUNIT: &str = r#"<testsuites><testsuite name="pytest">
    <testcase classname="test_a" name="test_good" time="7.5"/>
    <testcase classname="test_a" name="test_bad" time="0.5"><failure message="broken"/></testcase>
    <testcase classname="gone.test_b.TestX" name="test_x" time="1"><skipped/></testcase>
</testsuite></testsuites>"#;

#[test]
fn history_comes_from_reports_and_from_other_state_directories() {
    let kept = Kept::new();
    let reports = kept.suite.beside("reports/42");
    std::fs::create_dir_all(&reports).unwrap();
    std::fs::write(reports.join("junit.xml"), JUNIT).unwrap();
    let directory = kept.suite.beside("reports").into_os_string().into_string().unwrap();
    for _ in 0..2 {
        kept.text(&["import", &directory]);
        let known = &kept.objects(&["history", "test_good"]);
        assert!(known.is_empty(), "of runs elsewhere only what they taught is known: {known:?}");
        let said = kept.text(&["history", "test_good", "--output", "plain"]);
        assert!(said.contains("7.5"), "{said}");
    }
    // The first run here begins with what failed there.
    let run = kept.suite.run(&["--select", "last-failed"]);
    run.expect(100, &[("test_a.py::test_bad", "failed")]);
    kept.suite.run(&[]).expect_code(100);

    let other = Kept::new();
    let from = &kept.state;
    let refused = kept.ask(&["import", from]);
    assert!(refused.status.code() == Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
    let project = text(&kept.objects(&["runs"])[0], "project").to_owned();
    other.text(&["import", from]);
    let said = other.text(&["history", "test_good", "--project", &project, "--output", "plain"]);
    assert!(said.contains("as 1 run taught"), "{said}");
    let packed = kept.suite.beside("report.xml.gz");
    std::fs::write(&packed, [0x1f, 0x8b, 8, 0]).unwrap();
    let refused = other.ask(&["import", packed.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is compressed\nhint: "));
    for name in ["1.xml.gz", "2.xml.zst"] {
        std::fs::write(reports.join(name), "").unwrap();
    }
    let some = other.ask(&["import", &directory]);
    let said = String::from_utf8_lossy(&some.stderr);
    assert!(
        some.status.success()
            && said.contains(" and 1 other report are compressed, and are left out\nhint: "),
        "{said}"
    );
    let page = kept.suite.beside("page.xml");
    fs::write(&page, "<html></html>").unwrap();
    let none = other.ask(&["import", page.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(!none.status.success() && said.contains("page.xml has no test, and is left out"), "{said}");
    let nothing = other.ask(&["import", kept.suite.path().to_str().unwrap()]);
    assert_eq!(nothing.status.code(), Some(2), "{}", String::from_utf8_lossy(&nothing.stderr));
}
