//! What was found at each step: a line on standard output as soon as it is known, and the exit code in the end.

use std::io::Write;

use serde::Serialize;

use crate::commands::print;
use crate::errors;
use crate::progress::Progress;
use crate::report::{Output, count};

const CHECK_WIDTH: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Ok,
    Warning,
    Problem,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    check: &'static str,
    pub state: State,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    fn new(check: &'static str, state: State, message: impl Into<String>) -> Finding {
        Finding { check, state, message: message.into(), hint: None }
    }

    pub fn ok(check: &'static str, message: impl Into<String>) -> Finding {
        Finding::new(check, State::Ok, message)
    }

    pub fn warning(check: &'static str, message: impl Into<String>) -> Finding {
        Finding::new(check, State::Warning, message)
    }

    pub fn problem(check: &'static str, message: impl Into<String>) -> Finding {
        Finding::new(check, State::Problem, message)
    }

    /// A problem that an error tells of, with the first hint in it.
    pub fn error(check: &'static str, error: &anyhow::Error) -> Finding {
        let (said, hints) = errors::parts(error);
        Finding::problem(check, said.join(": ")).hints(hints.into_iter().next())
    }

    /// What to do about it.
    pub fn hint(self, hint: impl Into<String>) -> Finding {
        Finding { hint: Some(hint.into()), ..self }
    }

    pub fn hints(self, hint: Option<String>) -> Finding {
        Finding { hint, ..self }
    }

    /// What it is of.
    pub fn of(self, name: &str) -> Finding {
        Finding { message: format!("{name}: {}", self.message), ..self }
    }

    pub fn at_most_a_warning(self) -> Finding {
        let state = if self.state == State::Problem { State::Warning } else { self.state };
        Finding { state, ..self }
    }

    pub fn text(&self) -> String {
        let word = match self.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Problem => "problem",
        };
        let margin = " ".repeat(CHECK_WIDTH + 10);
        let message = self.message.trim_end().replace('\n', &format!("\n{margin}"));
        let mut text = format!("{word:<8}  {:<CHECK_WIDTH$}{message}\n", self.check);
        if let Some(hint) = &self.hint {
            text += &format!("{margin}hint: {hint}\n");
        }
        text
    }
}

pub struct Findings {
    json: bool,
    progress: Progress,
    warnings: u32,
    problems: u32,
}

impl Findings {
    pub fn new(output: Output) -> Findings {
        let progress = Progress::new(output == Output::Human);
        Findings { json: output == Output::Json, progress, warnings: 0, problems: 0 }
    }

    pub fn tell(&mut self, finding: Finding) -> anyhow::Result<()> {
        self.warnings += u32::from(finding.state == State::Warning);
        self.problems += u32::from(finding.state == State::Problem);
        let text = if self.json { serde_json::to_string(&finding)? + "\n" } else { finding.text() };
        print(|out| out.write_all(text.as_bytes()))
    }

    /// The last line, with the command that is `next`, and the exit code.
    pub fn close(self, next: &str) -> anyhow::Result<u8> {
        let said = match (self.problems, self.warnings) {
            (0, 0) => format!("all is in place; next: {next}"),
            (0, warnings) => format!("no problem, {}; next: {next}", count(warnings, "warning")),
            (problems, 0) => count(problems, "problem"),
            (problems, warnings) => format!("{}, {}", count(problems, "problem"), count(warnings, "warning")),
        };
        if !self.json {
            print(|out| writeln!(out, "\n{said}"))?;
        }
        Ok(u8::from(self.problems > 0))
    }

    /// Waits for what may take long, and says meanwhile that it goes on.
    pub async fn during<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        self.progress.during(|| what.to_owned(), work).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_with_what_to_do_below() {
        assert_eq!(Finding::ok("state", "here").text(), "ok        state       here\n");
        let error = anyhow::anyhow!("no such file\nhint: make one").context("cannot read");
        let text = Finding::error("settings", &error).text();
        let margin = " ".repeat(22);
        assert_eq!(
            text,
            format!("problem   settings    cannot read: no such file\n{margin}hint: make one\n")
        );
        let error = anyhow::anyhow!("disk full").context("cannot keep it\nhint: make room");
        let text = Finding::error("state", &error).text();
        assert_eq!(
            text,
            format!("problem   state       cannot keep it: disk full\n{margin}hint: make room\n")
        );
        let long = Finding::warning("artifact", "two\nlines").text();
        assert_eq!(long, format!("warning   artifact    two\n{margin}lines\n"));
    }

    #[test]
    fn problems_are_the_exit_code() {
        let mut findings = Findings { json: true, progress: Progress::new(false), warnings: 0, problems: 0 };
        findings.tell(Finding::warning("a", "b")).unwrap();
        assert_eq!((findings.warnings, findings.problems), (1, 0));
        findings.tell(Finding::problem("a", "b").hint("c")).unwrap();
        assert_eq!(findings.close("").unwrap(), 1);
        assert_eq!(
            Findings { json: true, progress: Progress::new(false), warnings: 3, problems: 0 }
                .close("")
                .unwrap(),
            0
        );
    }
}
