//! What is run while things break: a suite, and what each of its tests comes to undisturbed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::harness::{Finished, Packages, Suite};

pub struct Subject {
    pub suite: Suite,
    /// What the framework is told.
    pub arguments: Vec<String>,
    verdicts: BTreeMap<String, String>,
    code: i32,
}

const FILES: usize = 10;
const CASES: usize = 30;
/// Each case does what its id says; some take their time.
const SOURCE: &str = "\
import time
import pytest

@pytest.mark.parametrize('case', CASES)
def test_case(case):
    word, number = case.split('-')
    time.sleep({5: 0.2, 15: 0.4, 25: 0.8, 29: 2}.get(int(number), 0.005))
    if word == 'skips':
        pytest.skip('as it says')
    assert word == 'passes'
";

fn case(file: usize, number: usize) -> String {
    let word = match (file % 3, number) {
        (0, 7) => "fails",
        (_, 11) => "skips",
        _ => "passes",
    };
    // One that takes long is enough.
    let number = if file > 0 && number == 29 { 30 } else { number };
    format!("{word}-{number}")
}

impl Subject {
    /// The public suite that SEAGULL_SUBJECT names, or the suite that is made for this.
    pub fn chosen() -> Subject {
        match std::env::var("SEAGULL_SUBJECT") {
            Err(_) => Subject::made(),
            Ok(name) if name == "networkx" => Subject::networkx(),
            Ok(name) => panic!("SEAGULL_SUBJECT names no suite: {name}"),
        }
    }

    /// Hundreds of tests.
    pub fn made() -> Subject {
        let suite = Suite::of(&[("seagull.toml", "[artifact]\nroot = '.'\n")]);
        let mut verdicts = BTreeMap::new();
        for file in 0..FILES {
            let cases: Vec<_> = (0..CASES).map(|number| case(file, number)).collect();
            suite.write(&format!("test_{file}.py"), &format!("CASES = {cases:?}\n{SOURCE}"));
            let verdict = |case: &String| match &case[..5] {
                "fails" => "failed",
                "skips" => "skipped",
                _ => "passed",
            };
            let ids = cases
                .iter()
                .map(|case| (format!("test_{file}.py::test_case[{case}]"), verdict(case).to_owned()));
            verdicts.extend(ids);
        }
        Subject { suite, arguments: Vec::new(), verdicts, code: 100 }
    }

    fn networkx() -> Subject {
        let files = [("seagull.toml", "[artifact]\nroot = '.'\n"), ("pytest.ini", "[pytest]\n")];
        let suite = Suite::of(&files).with(Packages::Networkx);
        let arguments = ["--pyargs", "networkx"].map(str::to_owned).to_vec();
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("networkx-verdicts.json");
        let verdicts = fs::read(&kept).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let verdicts = verdicts.unwrap_or_else(|| {
            let verdicts = suite.plain(&["--pyargs", "networkx"]);
            fs::write(&kept, serde_json::to_vec(&verdicts).unwrap()).unwrap();
            verdicts
        });
        Subject { suite, arguments, verdicts, code: 0 }
    }

    pub fn tests(&self) -> usize {
        self.verdicts.len()
    }

    /// A test more, that comes to this.
    pub fn add(&mut self, file: &str, source: &str, verdicts: &[(&str, &str)]) {
        self.suite.write(file, source);
        let verdicts =
            verdicts.iter().map(|(test, verdict)| (format!("{file}::{test}"), (*verdict).to_owned()));
        self.verdicts.extend(verdicts);
    }

    /// Each test has the verdict that it has undisturbed, and so has the run.
    #[track_caller]
    pub fn holds(&self, run: &Finished) {
        self.holds_but(run, self.code);
    }

    /// As [`Subject::holds`], with another exit code.
    #[track_caller]
    pub fn holds_but(&self, run: &Finished, code: i32) {
        let found = run.verdicts();
        let differ = self.verdicts.iter().filter(|(test, verdict)| found.get(*test) != Some(verdict));
        let differ: Vec<_> = differ.map(|(test, verdict)| (test, verdict, found.get(test))).collect();
        assert!(differ.is_empty(), "test, verdict undisturbed, verdict: {differ:#?}\n{}", run.stderr);
        assert_eq!(found.len(), self.verdicts.len(), "{}", run.stderr);
        run.expect_code(code);
    }
}
