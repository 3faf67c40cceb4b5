//! Reads what a command wrote as JUnit XML: whatever it is, the testcases that are whole count, and nothing is larger
//! than its bound.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use seagull_domain::{Outcome, TestCause};

use super::ID_BYTES;

/// Bytes of reports that are read for one command.
const REPORT_BYTES: u64 = 256 << 20;
/// Files in the directory of reports.
const FILES: usize = 10_000;

/// What a report says, by id.
#[derive(Debug, Default)]
pub struct Report {
    pub cases: HashMap<String, Case>,
    /// Why it ends before its end.
    pub broken: Option<String>,
}

/// What a report says of a test; of one that it names several times, the worst, and all that is said.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    pub outcome: Outcome,
    pub cause: Option<TestCause>,
    /// Whether it failed before it passed: the command ran it again.
    pub flaky: bool,
    /// None if the report does not say.
    pub seconds: Option<f64>,
    pub message: String,
    pub location: String,
    pub text: String,
}

impl Report {
    /// Whether a file in a directory of reports is one, by its name.
    pub fn is_called_one(path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("xml"))
    }

    /// Reads a file, or all `.xml` files of a directory; `id`: how its testcases are called. What is not there says nothing.
    pub fn read(path: &Path, id: &str, text_limit: usize) -> Report {
        let mut report = Report::default();
        let mut left = REPORT_BYTES;
        for file in files(path) {
            if !file.exists() {
                report.broken = Some("there is no report".to_owned());
                continue;
            }
            let read = File::open(&file).map(|file| file.take(left + 1)).map(BufReader::new);
            let parsed = read.map_err(|error| error.to_string()).and_then(|mut source| {
                let parsed = report.parse(&mut source, id, text_limit);
                left = source.into_inner().limit().saturating_sub(1);
                parsed
            });
            if let Err(reason) = parsed {
                let reason =
                    if left == 0 { format!("it is over {} MiB", REPORT_BYTES >> 20) } else { reason };
                report.broken = Some(format!("{}: {reason}", file.display()));
            }
        }
        report
    }

    fn parse(&mut self, source: impl BufRead, id: &str, text_limit: usize) -> Result<(), String> {
        let mut reader = Reader::from_reader(source);
        let mut parser =
            Parser { id, text_limit, suites: Vec::new(), case: None, part: Part::Other, begins: false };
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            let event = reader.read_event_into(&mut buffer).map_err(|error| error.to_string())?;
            match event {
                Event::Start(tag) => parser.open(&tag),
                Event::Empty(tag) => {
                    parser.open(&tag);
                    self.add(parser.close(tag.local_name().as_ref()), text_limit);
                }
                Event::End(tag) => self.add(parser.close(tag.local_name().as_ref()), text_limit),
                Event::Text(text) => parser.text(&String::from_utf8_lossy(&text)),
                Event::CData(text) => parser.text(&String::from_utf8_lossy(&text)),
                Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                    Ok(Some(character)) => parser.text(character.encode_utf8(&mut [0; 4])),
                    _ => {
                        let name = String::from_utf8_lossy(&reference);
                        parser.text(resolve_predefined_entity(&name).unwrap_or("?"));
                    }
                },
                Event::Eof if parser.case.is_some() || !parser.suites.is_empty() => {
                    return Err("it ends within a testcase or testsuite".to_owned());
                }
                Event::Eof => return Ok(()),
                Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Comment(_) => {}
            }
        }
    }

    fn add(&mut self, named: Option<(String, Case)>, text_limit: usize) {
        let Some((id, case)) = named else { return };
        match self.cases.get_mut(&id) {
            Some(known) => known.join(case, text_limit),
            None => drop(self.cases.insert(id, case)),
        }
    }

    pub fn has_failures(&self) -> bool {
        self.cases.values().any(|case| case.outcome == Outcome::Failed)
    }
}

fn files(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = path.read_dir() else { return vec![path.to_owned()] };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut files: Vec<_> = paths.filter(|path| Report::is_called_one(path)).take(FILES).collect();
    files.sort();
    files
}

impl Case {
    fn of(tag: &BytesStart) -> Case {
        let (outcome, cause) = judged(tag);
        let file = attribute(tag, "file").unwrap_or_default();
        let location = match attribute(tag, "line") {
            Some(line) if !file.is_empty() => first_line(&format!("{file}:{line}")),
            _ => String::new(),
        };
        let seconds = attribute(tag, "time").and_then(|time| time.replace(',', "").parse::<f64>().ok());
        Case {
            outcome,
            cause,
            flaky: false,
            seconds: seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0),
            message: String::new(),
            location,
            text: String::new(),
        }
    }

    /// Takes what is said of the same test a second time.
    fn join(&mut self, other: Case, text_limit: usize) {
        let rank = |case: &Case| match case.outcome {
            Outcome::Failed => 2,
            Outcome::Passed => 1,
            Outcome::Skipped => 0,
        };
        if rank(&other) > rank(self) {
            (self.outcome, self.cause) = (other.outcome, other.cause);
            (self.message, self.location) = (other.message, other.location);
        }
        self.flaky |= other.flaky;
        self.seconds = self.seconds.zip(other.seconds).map(|(a, b)| a + b).or(self.seconds).or(other.seconds);
        if !other.text.is_empty() {
            end_line(&mut self.text, text_limit);
        }
        append(&mut self.text, &other.text, text_limit);
    }
}

/// What a testcase's attributes alone say, where there is no element to say it.
fn judged(tag: &BytesStart) -> (Outcome, Option<TestCause>) {
    let said = ["status", "result"].map(|name| attribute(tag, name).unwrap_or_default().to_ascii_lowercase());
    let says = |words: &[&str]| said.iter().any(|word| words.contains(&word.as_str()));
    if says(&["fail", "failed", "failure"]) {
        (Outcome::Failed, Some(TestCause::Assertion))
    } else if says(&["error", "errored", "timeout"]) {
        (Outcome::Failed, Some(TestCause::Error))
    } else if says(&["notrun", "disabled", "skipped", "suppressed"]) {
        (Outcome::Skipped, None)
    } else {
        (Outcome::Passed, None)
    }
}

/// What follows begins on a line of its own.
fn end_line(text: &mut String, limit: usize) {
    if !text.is_empty() && !text.ends_with('\n') {
        append(text, "\n", limit);
    }
}

/// As much of a text as there is room for.
fn append(to: &mut String, text: &str, limit: usize) {
    let room = limit.saturating_sub(to.len());
    to.push_str(&text[..text.floor_char_boundary(room)]);
}

/// Where a text belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// What went wrong, or why it was skipped.
    Reason,
    Output,
    Other,
}

struct Parser<'a> {
    id: &'a str,
    text_limit: usize,
    /// The names of those around, the innermost last.
    suites: Vec<String>,
    case: Option<(String, Case)>,
    part: Part,
    /// Nothing of the part is read yet.
    begins: bool,
}

impl Parser<'_> {
    fn open(&mut self, tag: &BytesStart) {
        let name = tag.local_name();
        (self.part, self.begins) = (Part::Other, true);
        match name.as_ref() {
            b"testsuite" => self.suites.push(attribute(tag, "name").unwrap_or_default()),
            b"testcase" => {
                let suite = self.suites.last().map_or("", String::as_str);
                self.case = Some((expand(self.id, tag, suite), Case::of(tag)));
            }
            b"system-out" | b"system-err" => self.part = Part::Output,
            _ => {}
        }
        let Some((_, case)) = &mut self.case else { return };
        match name.as_ref() {
            b"failure" => case.fails(TestCause::Assertion),
            b"error" => case.fails(TestCause::Error),
            b"skipped" if case.outcome == Outcome::Passed => case.outcome = Outcome::Skipped,
            b"flakyFailure" | b"flakyError" => case.flaky = true,
            b"rerunFailure" | b"rerunError" => {}
            _ => return,
        }
        self.part = Part::Reason;
        if case.message.is_empty() {
            case.message = first_line(&attribute(tag, "message").unwrap_or_default());
        }
    }

    /// A testcase that is whole.
    fn close(&mut self, name: &[u8]) -> Option<(String, Case)> {
        self.part = Part::Other;
        if name == b"testsuite" {
            self.suites.pop();
        }
        if name != b"testcase" {
            return None;
        }
        let (id, mut case) = self.case.take()?;
        if case.message.is_empty() && case.outcome == Outcome::Failed {
            case.message = first_line(&case.text);
        }
        (id.len() <= ID_BYTES).then_some((id, case))
    }

    fn text(&mut self, text: &str) {
        let Some((_, case)) = &mut self.case else { return };
        if self.part != Part::Other {
            if std::mem::take(&mut self.begins) {
                end_line(&mut case.text, self.text_limit);
            }
            append(&mut case.text, text, self.text_limit);
        }
    }
}

impl Case {
    fn fails(&mut self, cause: TestCause) {
        (self.outcome, self.cause) = (Outcome::Failed, Some(cause));
    }
}

/// The testcase's id by its pattern; what the testcase lacks is empty.
fn expand(pattern: &str, tag: &BytesStart, suite: &str) -> String {
    let mut id = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        id.push_str(before);
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        match name {
            "suite" => id.push_str(suite),
            _ => id.push_str(&attribute(tag, name).unwrap_or_default()),
        }
        rest = after;
    }
    id + rest
}

fn attribute(tag: &BytesStart, name: &str) -> Option<String> {
    let attribute = tag.try_get_attribute(name).ok()??;
    let value = attribute.normalized_value(XmlVersion::Implicit1_0);
    Some(value.map_or_else(|_| String::from_utf8_lossy(&attribute.value).into_owned(), Into::into))
}

fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().take(3000).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Report {
        let mut report = Report::default();
        report.broken = report.parse(xml.as_bytes(), "{classname}::{name}", 1000).err();
        report
    }

    #[test]
    fn what_a_testcase_says_is_read() {
        let report = read(
            r#"<?xml version="1.0"?><testsuites><testsuite name="s">
            <testcase classname="a.B" name="ok" time="1,234.5"><system-out>said &lt;this&gt; &#65;</system-out></testcase>
            <testcase classname="a.B" name="bad &quot;x&quot;" time="0.5" file="b.js" line="7">
              <failure message="1 is&#10;not 2" type="AssertionError"><![CDATA[at b.js]]></failure>
              <system-out>out &amp; on</system-out><system-err>err</system-err></testcase>
            <testcase classname="a.B" name="broken"><error>
              no message
              more</error></testcase>
            <testcase classname="a.B" name="left"><skipped message="not today"/></testcase>
            <testcase classname="a.B" name="off" status="notrun"/>
            <testcase classname="a.B" name="shaky"><flakyFailure message="once"/></testcase>
            </testsuite></testsuites>"#,
        );
        assert_eq!(report.broken, None);
        let case = |name: &str| report.cases[&format!("a.B::{name}")].clone();
        let passed = case("ok");
        assert_eq!((passed.outcome, passed.seconds), (Outcome::Passed, Some(1234.5)));
        assert_eq!(passed.text, "said <this> A");
        let failed = case("bad \"x\"");
        assert_eq!((failed.outcome, failed.cause), (Outcome::Failed, Some(TestCause::Assertion)));
        assert_eq!((failed.message.as_str(), failed.location.as_str()), ("1 is", "b.js:7"));
        assert_eq!(failed.text, "at b.js\nout & on\nerr");
        let broken = case("broken");
        assert_eq!((broken.cause, broken.message.as_str()), (Some(TestCause::Error), "no message"));
        let left = case("left");
        assert_eq!((left.outcome, left.message.as_str()), (Outcome::Skipped, "not today"));
        assert_eq!(case("off").outcome, Outcome::Skipped);
        let shaky = case("shaky");
        assert_eq!((shaky.outcome, shaky.flaky), (Outcome::Passed, true));
    }

    #[test]
    fn an_attribute_alone_may_say_that_a_test_failed_or_was_skipped() {
        let case = |attributes: &str| {
            let xml = format!("<s><testcase classname='c' name='t' {attributes}/></s>");
            let case = read(&xml).cases.remove("c::t").unwrap();
            (case.outcome, case.cause)
        };
        for word in ["fail", "failed", "Failure", "FAILED"] {
            for name in ["status", "result"] {
                let expected = (Outcome::Failed, Some(TestCause::Assertion));
                assert_eq!(case(&format!("{name}='{word}'")), expected, "{name} {word}");
            }
        }
        for word in ["error", "Errored", "timeout"] {
            let expected = (Outcome::Failed, Some(TestCause::Error));
            assert_eq!(case(&format!("status='run' result='{word}'")), expected, "{word}");
        }
        for word in ["notrun", "Disabled", "SKIPPED", "suppressed"] {
            assert_eq!(case(&format!("status='{word}'")), (Outcome::Skipped, None), "{word}");
        }
        assert_eq!(case("status='run' result='completed'"), (Outcome::Passed, None));
        let report = read("<testcase classname='c' name='t' status='failed'><skipped/></testcase>");
        assert_eq!(report.cases["c::t"].outcome, Outcome::Failed);
    }

    #[test]
    fn a_test_that_is_named_twice_has_the_worst_of_both() {
        let report = read(
            r#"<s><testcase classname="c" name="t" time="1"/>
            <testcase classname="c" name="t" time="2"><failure message="the second">x</failure></testcase>
            <testcase classname="c" name="t" time="4"><skipped/></testcase></s>"#,
        );
        let case = &report.cases["c::t"];
        assert_eq!((case.outcome, case.message.as_str()), (Outcome::Failed, "the second"));
        assert_eq!(case.seconds, Some(7.0));
    }

    #[test]
    fn of_a_report_that_breaks_off_or_is_none_what_is_whole_counts() {
        let whole = r#"<s><testcase classname="c" name="a"/><testcase classname="c" name="b"><system-out>x"#;
        for at in 0..=whole.len() {
            let report = read(&whole[..at]);
            assert!(report.cases.keys().all(|id| id == "c::a"), "{:?}", report.cases);
        }
        assert_eq!(read(whole).cases.len(), 1);
        assert!(read(whole).broken.is_some());
        for nonsense in
            ["", "no xml", "\0\u{ffff}", "<s", "</s>", "<s></t>", "<testcase", "&&&", "<a b=c d='>"]
        {
            assert!(read(nonsense).cases.is_empty(), "{nonsense}");
        }
    }

    #[test]
    fn a_report_that_ends_between_two_testcases_is_broken_too() {
        let report = read(r#"<testsuites><testsuite><testcase classname="c" name="a"/>"#);
        assert_eq!(report.cases.len(), 1);
        assert_eq!(report.broken.as_deref(), Some("it ends within a testcase or testsuite"));
    }

    #[test]
    fn entities_are_not_expanded_and_texts_are_bounded() {
        let bomb = format!(
            r#"<!DOCTYPE s [<!ENTITY a "{}"><!ENTITY b "&a;&a;&a;">]>
            <s><testcase classname="c" name="&b;t"><failure>&b;{}</failure></testcase></s>"#,
            "x".repeat(1000),
            "y".repeat(10_000)
        );
        let report = read(&bomb);
        let (id, case) = report.cases.iter().next().unwrap();
        assert_eq!((id.as_str(), case.text.len()), ("c::&b;t", 1000));
    }

    #[test]
    fn what_is_said_again_and_again_is_bounded_too() {
        let (long, file) = ("ä".repeat(400), "f".repeat(5000));
        let attributes = format!("classname='c' name='t' file='{file}' line='1'");
        let case = format!("<testcase {attributes}><failure>{long}</failure></testcase>");
        let report = read(&format!("<s>{}</s>", case.repeat(5)));
        let case = &report.cases["c::t"];
        assert_eq!((case.text.len(), case.location.chars().count()), (1000, 3000));
    }

    #[test]
    fn ids_are_made_by_the_pattern() {
        let mut report = Report::default();
        let xml = r#"<testsuite name="s"><testcase name="n" file="f.go"/></testsuite>"#;
        report.parse(xml.as_bytes(), "{file}/{suite}.{name}{classname}{", 10).unwrap();
        assert!(report.cases.contains_key("f.go/s.n"), "{:?}", report.cases);
    }

    #[test]
    fn the_suite_of_a_testcase_is_the_one_around_it() {
        let mut report = Report::default();
        let xml = r#"<testsuite name="s"><testsuite name="t"><testcase name="a"/></testsuite>
            <testsuite name="u"/><testcase name="b"/></testsuite><testcase name="c"/>"#;
        report.parse(xml.as_bytes(), "{suite}.{name}", 10).unwrap();
        let mut ids: Vec<_> = report.cases.into_keys().collect();
        ids.sort();
        assert_eq!(ids, [".c", "s.b", "t.a"]);
    }

    #[test]
    fn a_directory_of_reports_is_one_report() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Report::read(&directory.path().join("none"), "{name}", 10).broken.is_some());
        for name in ["a", "b"] {
            let xml = format!("<testcase name='{name}'/>");
            std::fs::write(directory.path().join(format!("TEST-{name}.xml")), xml).unwrap();
        }
        std::fs::write(directory.path().join("other.txt"), "<testcase name='c'/>").unwrap();
        let report = Report::read(directory.path(), "{name}", 10);
        assert_eq!((report.cases.len(), report.broken), (2, None));
    }
}
