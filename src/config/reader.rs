//! Takes known keys out of a table; what is left over is unknown.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use toml::{Table, Value};

use super::command::Words;
use crate::errors::usage;

/// A suggestion may differ by so many letters.
const NEAR: usize = 2;

pub struct Reader {
    file: String,
    /// What stands before a key: `run.`.
    prefix: String,
    table: Table,
    known: Vec<&'static str>,
}

impl Reader {
    pub fn new(file: &Path, table: Table) -> Self {
        Self { file: file.display().to_string(), prefix: String::new(), table, known: Vec::new() }
    }

    /// A table within this one; empty if it is not there.
    pub fn table(&mut self, key: &'static str) -> anyhow::Result<Reader> {
        let table = match self.take(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(_) => return Err(self.bad(key, "expected a table")),
        };
        let prefix = format!("{}{key}.", self.prefix);
        Ok(Reader { file: self.file.clone(), prefix, table, known: Vec::new() })
    }

    pub fn text(&mut self, key: &'static str) -> anyhow::Result<Option<String>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.bad(key, "expected a text")),
        }
    }

    pub fn truth(&mut self, key: &'static str) -> anyhow::Result<Option<bool>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Boolean(truth)) => Ok(Some(truth)),
            Some(_) => Err(self.bad(key, "expected true or false")),
        }
    }

    /// A list of texts that is good.
    pub fn texts_of(
        &mut self,
        key: &'static str,
        check: impl Fn(&[String]) -> Result<(), String>,
    ) -> anyhow::Result<Option<Vec<String>>> {
        let text = |value: Value| if let Value::String(text) = value { Some(text) } else { None };
        let texts = match self.take(key) {
            None => return Ok(None),
            Some(Value::Array(values)) => values.into_iter().map(text).collect::<Option<Vec<_>>>(),
            Some(_) => None,
        };
        let texts = texts.ok_or_else(|| self.bad(key, "expected a list of texts"))?;
        check(&texts).map_err(|expected| self.bad(key, &expected))?;
        Ok(Some(texts))
    }

    /// A program and its arguments, or a line for the shell.
    pub fn words(&mut self, key: &'static str) -> anyhow::Result<Option<Words>> {
        let text = |value: Value| if let Value::String(text) = value { Some(text) } else { None };
        let words = match self.take(key) {
            None => return Ok(None),
            Some(Value::String(text)) => Some(Words::Shell(text)),
            Some(Value::Array(words)) => {
                words.into_iter().map(text).collect::<Option<_>>().map(Words::Program)
            }
            Some(_) => None,
        };
        let empty = |words: &Words| match words {
            Words::Shell(text) => text.trim().is_empty(),
            Words::Program(words) => words.first().is_none_or(String::is_empty),
        };
        match words.filter(|words| !empty(words)) {
            Some(words) => Ok(Some(words)),
            None => Err(self.bad(key, "expected a text or a list of texts")),
        }
    }

    pub fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> anyhow::Result<Option<T>> {
        let text = self.text(key)?;
        text.map(|text| parse(&text).map_err(|expected| self.bad(key, &expected))).transpose()
    }

    pub fn number<N>(&mut self, key: &'static str, range: RangeInclusive<N>) -> anyhow::Result<Option<N>>
    where
        N: TryFrom<i64> + PartialOrd + std::fmt::Display,
    {
        let Some(value) = self.take(key) else { return Ok(None) };
        let number = value.as_integer().and_then(|number| N::try_from(number).ok());
        match number.filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let expected = format!("expected a number from {} to {}", range.start(), range.end());
                Err(self.bad(key, &expected))
            }
        }
    }

    /// All keys of the table, whatever their names.
    pub fn texts(self) -> anyhow::Result<BTreeMap<String, String>> {
        self.all(|text| Ok(text.to_owned()))
    }

    /// As [`Reader::texts`], each parsed.
    pub fn all<T>(self, parse: impl Fn(&str) -> Result<T, String>) -> anyhow::Result<BTreeMap<String, T>> {
        let Self { file, prefix, table, .. } = self;
        let parsed = |(key, value): (String, Value)| {
            let parsed = value.as_str().ok_or_else(|| "expected a text".to_owned()).and_then(&parse);
            let parsed = parsed.map_err(|expected| usage(format!("{file}: {prefix}{key}: {expected}")))?;
            Ok((key, parsed))
        };
        table.into_iter().map(parsed).collect()
    }

    /// The keys that were asked for, as they are written from the top.
    pub fn known(&self) -> impl Iterator<Item = String> {
        self.known.iter().map(|key| format!("{}{key}", self.prefix))
    }

    /// A warning for each key that nothing asked for, with the nearest that is known here, or of the same name in
    /// another table.
    pub fn unknown(self, everywhere: &[String]) -> Vec<String> {
        let Self { file, prefix, table, known } = self;
        let warn = |key: &String| {
            let nearest = known.iter().map(|known| (distance(key, known), *known)).min();
            let near = nearest.filter(|(distance, _)| *distance <= NEAR);
            let near = near.map(|(_, name)| format!("{prefix}{name}"));
            let elsewhere =
                || everywhere.iter().find(|known| known.rsplit('.').next() == Some(key.as_str())).cloned();
            let meant = near.or_else(elsewhere).map(|name| format!("; did you mean {name}?"));
            format!("{file}: unknown key {prefix}{key}{}", meant.unwrap_or_default())
        };
        table.keys().map(warn).collect()
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    fn bad(&self, key: &str, expected: &str) -> anyhow::Error {
        usage(format!("{}: {}{key}: {expected}", self.file, self.prefix))
    }
}

/// How many letters must be put in, left out or replaced to make one word of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_edits() {
        for (a, b, edits) in
            [("", "abc", 3), ("slot", "slots", 1), ("projekt", "project", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (edits, edits), "{a} {b}");
        }
    }
}
