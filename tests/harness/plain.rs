//! Plain pytest on a suite, and the verdicts that it comes to.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;

use super::Suite;

/// Writes each test's verdict, as the design defines it, to the file that RECORD names.
const RECORDER: &str = r#"
import json, os

outcomes, worst = {}, ("passed", "skipped", "rerun", "failed")

def pytest_runtest_logreport(report):
    if report.when == "teardown" and report.outcome == "skipped":
        return
    runs = outcomes.setdefault(report.nodeid, [])
    if report.when == "setup" or not runs:
        runs.append("passed")
    runs[-1] = max(runs[-1], report.outcome, key=worst.index)

def verdict(runs):
    return "flaky" if "rerun" in runs and runs[-1] == "passed" else runs[-1]

def pytest_sessionfinish():
    with open(os.environ["RECORD"], "w") as file:
        json.dump({test: verdict(runs) for test, runs in outcomes.items()}, file)
"#;

impl Suite {
    /// What plain pytest makes of the suite, in one process and in order.
    pub fn plain(&self, arguments: &[&str]) -> BTreeMap<String, String> {
        let folder = self.beside("recorder");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("recorder_of_verdicts.py"), RECORDER).unwrap();
        let record = folder.join("verdicts.json");
        let mut pytest = self.command(self.python());
        pytest
            .args(["-m", "pytest", "-q", "-p", "recorder_of_verdicts", "-p", "no:cacheprovider"])
            .args(arguments);
        pytest.env("PYTHONPATH", &folder).env("PYTHONDONTWRITEBYTECODE", "1").env("RECORD", &record);
        let output = pytest.stdin(Stdio::null()).output().unwrap();
        let verdicts = fs::read(&record).ok().and_then(|text| serde_json::from_slice(&text).ok());
        verdicts.unwrap_or_else(|| panic!("plain pytest: {}", String::from_utf8_lossy(&output.stdout)))
    }
}
