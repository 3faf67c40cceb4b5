//! A run that ended: what it said, checked for what holds in every run, and asked for what a case expects.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{is, schema, text};

const COUNTED: [&str; 6] = ["passed", "failed", "skipped", "flaky", "quarantined", "not_executed"];

#[derive(Debug)]
pub struct Finished {
    pub events: Vec<Value>,
    pub code: i32,
    pub stderr: String,
}

impl Finished {
    pub fn new(events: Vec<Value>, code: i32, stderr: String) -> Finished {
        let finished = Finished { events, code, stderr };
        finished.check();
        finished
    }

    pub fn all(&self, name: &'static str) -> Vec<&Value> {
        self.events.iter().filter(|event| is(name)(event)).collect()
    }

    #[track_caller]
    pub fn one(&self, name: &'static str) -> &Value {
        let all = self.all(name);
        assert_eq!(all.len(), 1, "{name}\n{}", self.stderr);
        all[0]
    }

    /// Each test's verdict, with the cause of one that was not executed.
    pub fn verdicts(&self) -> BTreeMap<String, String> {
        let word = |event: &Value| match event["cause"].as_str() {
            Some(cause) => format!("{}: {cause}", text(event, "verdict")),
            None => text(event, "verdict").to_owned(),
        };
        let verdicts = self.all("verdict");
        verdicts.iter().map(|event| (text(event, "test").to_owned(), word(event))).collect()
    }

    /// How many tests have which verdict; nothing where none has.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for verdict in self.verdicts().into_values() {
            *counts.entry(verdict).or_default() += 1;
        }
        counts
    }

    /// The row of the table that a case is: every test with its verdict, and the exit code.
    #[track_caller]
    pub fn expect(&self, code: i32, verdicts: &[(&str, &str)]) -> &Finished {
        let expected = verdicts.iter().map(|(id, verdict)| ((*id).to_owned(), (*verdict).to_owned()));
        assert_eq!(self.verdicts(), expected.collect(), "{}{}", self.stderr, self.failures());
        self.expect_code(code)
    }

    /// As [`Finished::expect`], where there are too many tests to name.
    #[track_caller]
    pub fn expect_counts(&self, code: i32, counts: &[(&str, usize)]) -> &Finished {
        let expected = counts.iter().map(|(verdict, count)| ((*verdict).to_owned(), *count));
        assert_eq!(self.counts(), expected.collect(), "{}{}", self.stderr, self.failures());
        self.expect_code(code)
    }

    /// What tests failed with: what a case that expected otherwise is looked into by.
    fn failures(&self) -> String {
        let failed = self.all("test_finished").into_iter().filter(|event| event["outcome"] == "failed");
        failed.map(|event| format!("{}\n{}\n", event["test"], text(event, "message"))).collect()
    }

    #[track_caller]
    pub fn expect_code(&self, code: i32) -> &Finished {
        assert_eq!(self.code, code, "{}", self.stderr);
        self
    }

    /// The last result of a test.
    #[track_caller]
    pub fn result(&self, test: &str) -> &Value {
        let results = self.all("test_finished");
        results
            .into_iter()
            .rfind(|event| event["test"] == test)
            .unwrap_or_else(|| panic!("no result of {test}"))
    }

    /// What every run promises: its events are as published, it starts and ends once, each test of the confirmed
    /// manifest has one verdict, the counts are those of the verdicts, and the exit code is the one that it announced.
    #[track_caller]
    fn check(&self) {
        let published = schema::published();
        for event in &self.events {
            schema::check_event(&published, event).unwrap_or_else(|error| panic!("{error}"));
        }
        let names: Vec<_> = self.events.iter().map(|event| text(event, "event")).collect();
        assert_eq!(names.first(), Some(&"run_started"), "{}", self.stderr);
        assert_eq!(names.last(), Some(&"run_finished"), "{names:?}\n{}", self.stderr);
        self.one("run_started");
        let finished = self.one("run_finished");
        assert_eq!(finished["exit_code"], self.code, "{}", self.stderr);
        let seqs: Vec<_> = self.events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
        assert!(seqs.is_sorted(), "{seqs:?}");

        let (verdicts, by_test) = (self.all("verdict"), self.verdicts());
        assert_eq!(verdicts.len(), by_test.len(), "a test has two verdicts\n{verdicts:#?}");
        let total = match names.iter().position(|name| *name == "manifest_confirmed") {
            Some(place) => {
                assert!(!names[..place].contains(&"verdict"), "a verdict before the manifest");
                self.one("manifest_confirmed")["tests"].as_u64().unwrap()
            }
            None => 0,
        };
        assert_eq!(u64::try_from(by_test.len()).unwrap(), total, "{by_test:#?}\n{}", self.stderr);
        let mut counts = json!({ "total": total });
        for word in COUNTED {
            counts[word] = json!(verdicts.iter().filter(|event| event["verdict"] == word).count());
        }
        assert_eq!(finished["counts"], counts);
        self.check_results(&by_test);
    }

    /// No verdict comes from nothing, and none ignores a failure.
    #[track_caller]
    fn check_results(&self, verdicts: &BTreeMap<String, String>) {
        let mut outcomes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for event in self.all("test_finished").into_iter().filter(|event| event["evidence"].is_null()) {
            outcomes.entry(text(event, "test")).or_default().push(text(event, "outcome"));
        }
        for (test, verdict) in verdicts {
            let outcomes = outcomes.get(test.as_str()).map(Vec::as_slice).unwrap_or_default();
            let right = match verdict.as_str() {
                "passed" => outcomes.contains(&"passed") && !outcomes.contains(&"failed"),
                "flaky" => outcomes.contains(&"passed") && outcomes.contains(&"failed"),
                "failed" => outcomes.contains(&"failed") && !outcomes.contains(&"passed"),
                "skipped" => !outcomes.is_empty() && outcomes.iter().all(|outcome| *outcome == "skipped"),
                _ => outcomes.is_empty(),
            };
            assert!(right, "{test} is {verdict} after {outcomes:?}");
        }
    }
}
