//! How the texts of a selection are read for a manifest.
//!
//! A text is read as the first of these that selects something: an id; a path, a directory or the beginning of an id
//! (up to `/`, `::` or `[`); a glob over paths and ids whose brackets are brackets, because ids are full of them; a
//! glob whose brackets are sets. In a glob `*` crosses `/`.

use std::collections::{HashMap, HashSet};

use globset::{Glob, GlobBuilder, GlobMatcher};
use seagull_domain::Manifest;

use crate::InvalidSelection;

/// Longer texts are no globs; ids may be longer.
const GLOB_BYTES: usize = 4096;

#[derive(Debug, Clone)]
pub(crate) struct Text {
    /// Without what paths may begin and end with and mean nothing by.
    literal: String,
    /// How else it may be read, in order.
    globs: Vec<GlobMatcher>,
}

impl Text {
    pub fn parse(text: &str) -> Result<Text, InvalidSelection> {
        let invalid = |reason: &str, hint: &str| InvalidSelection::of(text, reason, hint.to_owned());
        let known =
            "give a path, a test id, a glob over ids, last-failed, not-passed, failed@RUN or not-passed@RUN";
        match text {
            "" => return Err(invalid("it is empty", known)),
            "last_failed" | "lastfailed" | "--last-failed" => {
                return Err(invalid("no such word", "did you mean last-failed?"));
            }
            "not_passed" | "notpassed" | "--not-passed" => {
                return Err(invalid("no such word", "did you mean not-passed?"));
            }
            _ if text.starts_with('/') => {
                return Err(invalid("it is an absolute path", "give it as test ids have it, relative"));
            }
            _ => {}
        }
        let literal = text.trim_start_matches("./").trim_end_matches('/');
        let literal = if matches!(literal, "." | "") { "*" } else { literal };
        Ok(Text { literal: literal.to_owned(), globs: globs(literal) })
    }
}

fn globs(text: &str) -> Vec<GlobMatcher> {
    if text.len() > GLOB_BYTES || !text.contains(['*', '?', '[', '{']) {
        return Vec::new();
    }
    let compile =
        |text: &str| -> Option<Glob> { GlobBuilder::new(text).literal_separator(false).build().ok() };
    let brackets_are_brackets = text.replace('[', "[[]");
    // A text that is no glob may still be an id.
    [brackets_are_brackets.as_str(), text]
        .into_iter()
        .filter_map(compile)
        .map(|g| g.compile_matcher())
        .collect()
}

/// How the texts are to be read for one manifest.
pub(crate) struct Readings<'s> {
    ids: HashSet<&'s str>,
    beginnings: HashSet<&'s str>,
    globs: Vec<&'s GlobMatcher>,
    found: HashSet<&'s str>,
}

impl<'s> Readings<'s> {
    pub fn of(texts: &'s [Text], manifest: &Manifest) -> Self {
        let literals: HashMap<&str, &Text> = texts.iter().map(|text| (text.literal.as_str(), text)).collect();
        let mut ids = HashSet::new();
        let mut beginnings = HashSet::new();
        let known = |part: &str| literals.get_key_value(part).map(|(literal, _)| *literal);
        if !literals.is_empty() {
            for id in manifest.ids() {
                ids.extend(known(&id));
                beginnings.extend(parts(&id).filter_map(known));
            }
        }
        beginnings.retain(|literal| !ids.contains(literal));
        let mut readings =
            Self { found: ids.union(&beginnings).copied().collect(), ids, beginnings, globs: Vec::new() };
        readings.add_globs(texts, manifest);
        readings
    }

    /// For each text that is not found as it stands, the first of its globs that matches something.
    fn add_globs(&mut self, texts: &'s [Text], manifest: &Manifest) {
        for text in texts.iter().filter(|text| !text.globs.is_empty()) {
            if self.found.contains(text.literal.as_str()) {
                continue;
            }
            let matches = |glob: &&GlobMatcher| {
                manifest.tests().any(|(path, suffix)| glob_matches(glob, path, &format!("{path}{suffix}")))
            };
            if let Some(glob) = text.globs.iter().find(matches) {
                self.globs.push(glob);
                self.found.insert(&text.literal);
            }
        }
    }

    pub fn select(&self, path: &str, id: &str) -> bool {
        self.ids.contains(id)
            || (!self.beginnings.is_empty() && parts(id).any(|part| self.beginnings.contains(part)))
            || self.globs.iter().any(|glob| glob_matches(glob, path, id))
    }

    pub fn unmatched(&self, texts: &[Text]) -> Vec<String> {
        let literals = texts.iter().map(|text| &text.literal);
        literals.filter(|literal| !self.found.contains(literal.as_str())).cloned().collect()
    }
}

fn glob_matches(glob: &GlobMatcher, path: &str, id: &str) -> bool {
    glob.is_match(id) || glob.is_match(path)
}

/// What stands before each `/`, `::` and `[` of an id.
pub(crate) fn parts(id: &str) -> impl Iterator<Item = &str> {
    let ends = |(at, byte): (usize, u8)| match byte {
        b'/' | b'[' => true,
        b':' => id.as_bytes().get(at + 1) == Some(&b':'),
        _ => false,
    };
    id.bytes().enumerate().filter(move |at| ends(*at)).map(|(at, _)| &id[..at])
}
