//! What is told around a run, as approved texts.

use std::io;
use std::sync::Arc;

use seagull_domain::{Framework, Instant, NotExecuted, Seq, StreamItem, SuiteCommands, Verdict};

use super::golden;
use super::script::{self, Script, Step};
use crate::report::around::{Form, Part, Story, Teller, ended, explain_run, explain_test, log, results};
use crate::report::tally::Tally;

fn items(script: &Script) -> impl Iterator<Item = (&Step, Option<StreamItem>)> {
    (1..).zip(script).map(|(seq, (_, step))| match step {
        Step::Event(event) => (step, Some(StreamItem { seq: Seq(seq), event: (**event).clone() })),
        _ => (step, None),
    })
}

pub fn tally(script: &Script) -> Tally {
    let mut tally = Tally::new("r-7".parse().unwrap(), Instant(0), false);
    for (step, item) in items(script) {
        match (step, item) {
            (Step::Manifest(manifest), _) => tally.manifest(Arc::new(manifest.clone())),
            (_, Some(item)) => tally.apply(&item),
            _ => {}
        }
    }
    tally
}

pub fn story(script: &Script, test: &str) -> Story {
    let mut teller = Teller::new("r-7".parse().unwrap(), test);
    for (step, item) in items(script) {
        match (step, item) {
            (Step::Manifest(manifest), _) => teller.manifest(&Arc::new(manifest.clone())),
            (_, Some(item)) => teller.item(item),
            _ => {}
        }
    }
    teller.close().unwrap()
}

pub fn explained(story: &Story) -> String {
    written(|out| explain_test(out, Form::HUMAN, story, &[]))
}

pub fn explained_run(script: &Script) -> String {
    explained_tally(&tally(script))
}

pub fn explained_tally(tally: &Tally) -> String {
    written(|out| explain_run(out, Form::HUMAN, tally))
}

fn written(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_results_of_a_run() {
    let whole = tally(&script::whole());
    let all = |form, part, slowest| written(|out| results(out, form, &whole, part, slowest));
    golden::check("results.txt", &all(Form::HUMAN, Part::All, None));
    golden::check("results-not-passed.txt", &all(Form::HUMAN, Part::NotPassed, None));
    golden::check("results-failed.jsonl", &all(Form::JSON, Part::Failed, None));
    assert_eq!(all(Form::PLAIN, Part::All, Some(2)).lines().filter(|line| !line.starts_with(' ')).count(), 2);
    let half = tally(&script::first_half());
    assert!(ended(&half).contains("not over") && ended(&whole).contains("failed"), "{}", ended(&half));
    assert!(ended(&whole).ends_with(", 1 suite error"), "{}", ended(&whole));
}

#[test]
fn why_a_run_has_its_verdict() {
    let explain = |form, script: &Script| written(|out| explain_run(out, form, &tally(script)));
    golden::check("explain-run.txt", &explain(Form::HUMAN, &script::whole()));
    golden::check("explain-run.jsonl", &explain(Form::JSON, &script::whole()));
    for (script, because) in [
        (script::first_half(), "because it has not ended"),
        (script::cancelled(), "because it was cancelled\n"),
        (
            script::orphaned(),
            "because it was cancelled as an orphan: nobody had watched it for 1h (--orphan)",
        ),
        (script::undiscovered(), "because its tests could not be discovered\n"),
        (script::nothing(), "because there were no tests to run\n"),
        (script::green(), "because every test has a verdict"),
    ] {
        let text = explain(Form::HUMAN, &script);
        assert!(text.contains(because), "{because}: {text}");
        assert!(!tally(&script).tests.is_empty() || !text.contains("--retries"), "{text}");
    }
}

#[test]
fn why_a_test_has_its_verdict() {
    let script = script::whole();
    let ids: Vec<String> = script::manifest().ids().collect();
    let all = ids.iter().map(|id| written(|out| explain_test(out, Form::HUMAN, &story(&script, id), &[])));
    golden::check("explain-tests.txt", &all.collect::<Vec<_>>().join("\n"));
    let commands = SuiteCommands { discover: vec![], run: vec![], id: String::new(), batch_ms: 0 };
    for (framework, because) in [
        (Framework::Pytest, "its id changes"),
        (Framework::Command(Box::new(commands)), "the report did not name it"),
    ] {
        let mut unnamed = story(&script, "test_div[0]");
        unnamed.verdict = Some(Verdict::NotExecuted(NotExecuted::UnstableId));
        unnamed.spec.suite.framework = framework;
        let text = written(|out| explain_test(out, Form::HUMAN, &unnamed, &[]));
        assert!(text.contains(because), "{text}");
    }
    let waits =
        |test| written(|out| explain_test(out, Form::HUMAN, &story(&script::first_half(), test), &[]));
    golden::check(
        "explain-waiting.txt",
        &[&ids[6], &ids[8], &ids[2], &ids[4]].map(|id| waits(id)).join("\n"),
    );
    let orphaned = script::orphaned();
    let text = written(|out| explain_test(out, Form::HUMAN, &story(&orphaned, &ids[9]), &[]));
    assert!(text.contains("for nobody watched it any more (--orphan)"), "{text}");
    let div = story(&script, "test_div[0]");
    golden::check("explain-test.jsonl", &written(|out| explain_test(out, Form::JSON, &div, &[])));
    let access = ["--token-file", "a b"].map(str::to_owned);
    let hints = written(|out| explain_test(out, Form::HUMAN, &div, &access));
    assert!(hints.contains(" logs r-7 'tests/test_math.py::test_div[0]' --token-file 'a b'\n"), "{hints}");
    assert!(hints.contains(" repro r-7 'tests/test_math.py::test_div[0]' --token-file 'a b'\n"), "{hints}");
    let printed = |form| {
        let execution = div.telling().unwrap();
        written(|out| log(out, form, (&div.run, &div.id), execution, Some("words\n")))
    };
    assert!(printed(Form::HUMAN).ends_with("words\n") && printed(Form::JSON).contains(r#""text":"words\n""#));
}
