//! The HTML report: one page by itself, without scripts or anything to fetch, for whoever a run is shown to. What did not
//! pass is on top, with what it said; below it every test, by file.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use seagull_domain::{TestIndex, Verdict};

use super::Texts;
use super::around::{Left, named};
use super::measured::partial;
use super::page::{self, escaped};
use super::record::TestRecord;
use super::tally::Tally;
use super::text::{count, duration, micros, parts};

const STYLE: &str = "\
td:first-child{white-space:nowrap}td:last-child{text-align:right;white-space:nowrap}
.passed{color:#1a7f37}.failed,.not_executed{color:#b42318}.flaky{color:#9a6700}.skipped{color:#59636e}
@media(prefers-color-scheme:dark){
.passed{color:#3fb950}.failed,.not_executed{color:#ff7b72}.flaky{color:#d29922}.skipped{color:#9198a1}}
";

/// The directory beside a page that has what it links to.
pub fn beside(page: &Path) -> PathBuf {
    let mut name = page.file_stem().unwrap_or_default().to_owned();
    name.push("-attachments");
    page.with_file_name(name)
}

/// The page as text.
pub fn render(tally: &Tally, texts: Texts, path: &Path) -> anyhow::Result<String> {
    let beside = beside(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut page = Page { out: String::new(), tally, texts, beside };
    page.head();
    page.errors();
    page.not_passed();
    page.others_left();
    page.files();
    page.out.push_str("</body>\n</html>\n");
    Ok(page.out)
}

struct Page<'a> {
    out: String,
    tally: &'a Tally,
    texts: Texts<'a>,
    beside: String,
}

impl Page<'_> {
    fn line(&mut self, line: std::fmt::Arguments) {
        // A text takes all that is written.
        let _ = self.out.write_fmt(line);
        self.out.push('\n');
    }

    fn head(&mut self) {
        let tally = self.tally;
        let project = tally.spec.as_ref().map_or("seagull", |spec| spec.project.as_str());
        let verdict = tally.end.map_or("unfinished", |end| end.word());
        let title = format!("{}: {verdict}", escaped(project));
        self.out = page::head(&title, STYLE);
        let rev = tally.spec.as_ref().map_or("", |spec| spec.rev.as_str());
        let rev =
            if rev.is_empty() { String::new() } else { format!(", revision <code>{}</code>", escaped(rev)) };
        let took = tally.elapsed().map_or(String::new(), |took| format!(" in {}", duration(took)));
        let (total, parts) = (count(tally.counts.total, "test"), parts(&tally.counts, "without a verdict"));
        self.line(format_args!("<p>{total}{took} ({parts}); run <code>{}</code>{rev}</p>", tally.run));
        if let Some(partial) = tally.coverage().and_then(|covered| partial(&covered.lost)) {
            self.line(format_args!("<p>{}</p>", escaped(&partial)));
        }
    }

    fn errors(&mut self) {
        let tally = self.tally;
        let discovery = tally.discovery_failures.iter().map(|message| ("discovery", message, None));
        let errors =
            tally.suite_errors.iter().map(|error| (error.title.as_str(), &error.message, error.text));
        let errors: Vec<_> = discovery.chain(errors).collect();
        if errors.is_empty() {
            return;
        }
        self.line(format_args!("<h2>errors of the suite itself</h2>"));
        for (title, message, text) in errors {
            let text = text.and_then(self.texts).unwrap_or_else(|| message.clone());
            self.line(format_args!("<p><code>{}</code></p>\n<pre>{}</pre>", escaped(title), escaped(&text)));
        }
    }

    fn not_passed(&mut self) {
        let tally = self.tally;
        let found: Vec<_> = tally.records().filter(|(_, record)| is_told(record)).collect();
        if found.is_empty() {
            return;
        }
        self.line(format_args!("<h2>what did not pass</h2>"));
        for (test, record) in found {
            self.told(test, record);
        }
    }

    /// A test with what its failures said.
    fn told(&mut self, test: TestIndex, record: &TestRecord) {
        let word = word(record);
        let id = escaped(&self.tally.names.id(test));
        self.line(format_args!(
            "<details open><summary><b class=\"{word}\">{}</b> <code>{id}</code></summary>",
            shown(word)
        ));
        if let Some(why) = self.tally.why_none(test) {
            self.line(format_args!("<p>{}</p>", escaped(&why)));
        }
        for run in record.failures() {
            let Some(note) = run.note.as_deref() else { continue };
            let text = note.text.and_then(self.texts).unwrap_or_else(|| note.message.clone());
            let mut facts = vec![micros(run.micros()), format!("on {}", note.executor)];
            facts.extend((!note.location.is_empty()).then(|| note.location.clone()));
            let facts = escaped(&facts.join(", "));
            self.line(format_args!("<p>{facts}</p>\n<pre>{}</pre>", escaped(&text)));
        }
        for attached in &record.attached {
            self.left(&Left { test: Some(self.tally.names.id(test)), attached });
        }
        self.line(format_args!("</details>"));
    }

    /// A link to what was left, if it is kept.
    fn left(&mut self, left: &Left) {
        let named = escaped(&named(left.attached));
        let place = left.place();
        let parts = place.components().map(|part| linked(&part.as_os_str().to_string_lossy()));
        let place: Vec<_> = [linked(&self.beside)].into_iter().chain(parts).collect();
        match left.attached.file.blob {
            Some(_) => {
                self.line(format_args!("<p>attached: <a href=\"{}\">{named}</a></p>", place.join("/")))
            }
            None => self.line(format_args!("<p>attached: {named}</p>")),
        }
    }

    /// What was left by tests that passed, and by nobody knows which.
    fn others_left(&mut self) {
        let tally = self.tally;
        let passed = tally.records().filter(|(_, record)| !is_told(record));
        let passed = passed.flat_map(|(test, record)| {
            record.attached.iter().map(move |attached| Left { test: Some(tally.names.id(test)), attached })
        });
        let of_none = tally.attached.iter().map(|attached| Left { test: None, attached });
        let others: Vec<_> = passed.chain(of_none).collect();
        if others.is_empty() {
            return;
        }
        self.line(format_args!("<h2>what others left</h2>"));
        for left in others {
            let test = left.test.as_deref().unwrap_or("of no test that is known");
            self.line(format_args!("<p><code>{}</code></p>", escaped(test)));
            self.left(&left);
        }
    }

    fn files(&mut self) {
        let tally = self.tally;
        self.line(format_args!("<h2>all tests</h2>"));
        let mut records = tally.tests.iter();
        for file in &tally.names.manifest.files {
            let tests = count(super::number(file.suffixes.len()), "test");
            self.line(format_args!(
                "<details><summary><code>{}</code> ({tests})</summary>\n<table>",
                escaped(&file.path)
            ));
            for (suffix, record) in file.suffixes.iter().zip(&mut records) {
                let name = if suffix.is_empty() { &file.path } else { suffix };
                let name = name.strip_prefix("::").unwrap_or(name);
                let took: u64 = record.runs.iter().map(super::record::Execution::micros).sum();
                let word = word(record);
                self.line(format_args!(
                    "<tr><td class=\"{word}\">{}</td><td><code>{}</code></td><td>{}</td></tr>",
                    shown(word),
                    escaped(name),
                    if record.runs.is_empty() { String::new() } else { micros(took) }
                ));
            }
            self.line(format_args!("</table></details>"));
        }
    }
}

/// Whether it is told with what it said.
fn is_told(record: &TestRecord) -> bool {
    !matches!(record.verdict, Some(Verdict::Passed | Verdict::Skipped | Verdict::Quarantined))
}

/// A part of a path as one of a link.
fn linked(part: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    part.bytes().map(byte).collect()
}

fn word(record: &TestRecord) -> &'static str {
    record.verdict.map_or("not_executed", Verdict::word)
}

fn shown(word: &str) -> &str {
    if word == "not_executed" { "not executed" } else { word }
}
