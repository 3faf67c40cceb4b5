//! The selection language of `--select`: a path, an id, a glob over ids, `last-failed`, `not-passed`; several are a
//! union.

use std::collections::{HashMap, HashSet};

use globset::{GlobBuilder, GlobMatcher};
use seagull_domain::Manifest;

use crate::{Error, History};

#[derive(Debug, Clone)]
pub struct Selection {
    terms: Vec<Term>,
}

#[derive(Debug, Clone)]
enum Term {
    LastFailed,
    NotPassed,
    /// A literal reading wins over the glob: ids contain brackets.
    Text {
        text: String,
        glob: Option<GlobMatcher>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid selection {text:?}: {reason}\nhint: give a path, a test id, a glob over ids, last-failed or not-passed"
)]
pub struct InvalidSelection {
    pub text: String,
    pub reason: String,
}

/// What a selection comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    pub manifest: Manifest,
    /// Nothing is selected because nothing failed (or all passed) last time.
    pub empty_by_definition: bool,
}

impl Selection {
    pub fn parse(texts: &[String]) -> Result<Selection, InvalidSelection> {
        Ok(Selection { terms: texts.iter().map(|text| parse_term(text)).collect::<Result<_, _>>()? })
    }

    /// The selected part of a manifest; all of it if nothing is selected by.
    pub fn apply(&self, manifest: &Manifest, history: &History, project: &str) -> Result<Selected, Error> {
        if self.terms.is_empty() {
            return Ok(Selected { manifest: manifest.clone(), empty_by_definition: false });
        }
        let by_history = self.terms.iter().any(|term| !matches!(term, Term::Text { .. }));
        let last = if by_history { history.last_verdicts(project)? } else { None };
        let ids: HashSet<String> = manifest.ids().collect();
        let selected = manifest.select(|path, suffix| {
            let id = format!("{path}{suffix}");
            self.terms.iter().any(|term| term.matches(path, &id, &ids, last.as_ref()))
        });
        let only_history = self.terms.iter().all(|term| !matches!(term, Term::Text { .. }));
        let empty_by_definition = selected.is_empty() && only_history && last.is_some();
        Ok(Selected { manifest: selected, empty_by_definition })
    }
}

fn parse_term(text: &str) -> Result<Term, InvalidSelection> {
    let invalid = |reason: String| InvalidSelection { text: text.to_owned(), reason };
    Ok(match text {
        "last-failed" => Term::LastFailed,
        "not-passed" => Term::NotPassed,
        "" => return Err(invalid("it is empty".to_owned())),
        _ => {
            let glob =
                GlobBuilder::new(text).literal_separator(false).build().map(|glob| glob.compile_matcher());
            // A text that is no glob may still be an id, brackets and all.
            Term::Text { text: text.trim_end_matches('/').to_owned(), glob: glob.ok() }
        }
    })
}

impl Term {
    fn matches(
        &self,
        path: &str,
        id: &str,
        ids: &HashSet<String>,
        last: Option<&HashMap<String, String>>,
    ) -> bool {
        let verdict = last.and_then(|last| last.get(id)).map(String::as_str);
        match self {
            Term::LastFailed => matches!(verdict, Some("failed" | "flaky")),
            Term::NotPassed => !matches!(verdict, Some("passed" | "skipped" | "flaky")),
            Term::Text { text, .. } if ids.contains(text) => id == text,
            Term::Text { text, glob } => {
                let under = |whole: &str, mark: &str| {
                    whole.strip_prefix(text.as_str()).is_some_and(|rest| rest.starts_with(mark))
                };
                let literal = path == text || under(path, "/") || under(id, "::") || under(id, "[");
                literal || glob.as_ref().is_some_and(|glob| glob.is_match(id))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use seagull_domain::{FileTests, RunId, Verdict};

    use super::*;

    fn select(history: &History, terms: &[&str]) -> (Vec<String>, bool) {
        let file = |path: &str, suffixes: &[&str]| FileTests {
            path: path.into(),
            suffixes: suffixes.iter().map(|s| (*s).to_owned()).collect(),
        };
        let files = vec![
            file("t/a.py", &["::x[1]", "::x[2]", "::C::y"]),
            file("t/ab.py", &["::z"]),
            file("u.py", &["::x"]),
        ];
        let manifest = Manifest { files, ..Manifest::default() };
        let terms: Vec<_> = terms.iter().map(|term| (*term).to_owned()).collect();
        let selected = Selection::parse(&terms).unwrap().apply(&manifest, history, "p").unwrap();
        (selected.manifest.ids().collect(), selected.empty_by_definition)
    }

    fn history() -> (tempfile::TempDir, History) {
        let directory = tempfile::tempdir().unwrap();
        let history = History::open(&directory.path().join("history.sqlite")).unwrap();
        (directory, history)
    }

    #[test]
    fn paths_ids_and_globs() {
        let (_directory, history) = history();
        let ids = |terms: &[&str]| select(&history, terms).0;
        assert_eq!(ids(&["t/a.py"]), ["t/a.py::x[1]", "t/a.py::x[2]", "t/a.py::C::y"]);
        assert_eq!(ids(&["t/"]).len(), 4);
        assert_eq!(ids(&["t/a.py::x[2]"]), ["t/a.py::x[2]"]);
        assert_eq!(ids(&["t/a.py::x"]), ["t/a.py::x[1]", "t/a.py::x[2]"]);
        assert_eq!(ids(&["t/a.py::C"]), ["t/a.py::C::y"]);
        assert_eq!(ids(&["*::x*", "t/ab.py"]), ["t/a.py::x[1]", "t/a.py::x[2]", "t/ab.py::z", "u.py::x"]);
        assert_eq!(ids(&["nowhere"]), [""; 0]);
        assert!(Selection::parse(&[String::new()]).is_err());
    }

    #[test]
    fn what_failed_last_time() {
        let (_directory, history) = history();
        assert_eq!(select(&history, &["last-failed"]), (vec![], false));
        let run: RunId = "r".parse().unwrap();
        let row = |id: &str, verdict| (id.to_owned(), None, verdict);
        history
            .record(
                "p",
                &run,
                [row("u.py::x", Verdict::Failed), row("t/ab.py::z", Verdict::Passed)].into_iter(),
            )
            .unwrap();
        assert_eq!(select(&history, &["last-failed"]).0, ["u.py::x"]);
        assert_eq!(select(&history, &["not-passed"]).0.len(), 4);
        let run: RunId = "s".parse().unwrap();
        history.record("p", &run, [row("u.py::x", Verdict::Passed)].into_iter()).unwrap();
        assert_eq!(select(&history, &["last-failed"]), (vec![], true));
    }
}
