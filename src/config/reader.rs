//! Takes known keys out of a table; what is left over is unknown.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::rc::Rc;

use toml::{Table, Value};

use super::command::Words;
use super::places::Places;
use super::services::are_absolute;
use super::setup::is_variable;
use crate::cli;
use crate::errors::{self, usage};
use crate::nearest::nearest;

const HINT: &str = "hint: seagull docs run and seagull docs sandboxes show every setting";

/// The key of a line that sets one: what stands behind it may be a secret.
fn key_of(line: &str) -> Option<&str> {
    let key = line.split_once('=')?.0.trim();
    let is_key = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (!key.is_empty() && key.chars().all(is_key)).then_some(key)
}

/// Whether a line sets a key to what may be meant for a text.
fn has_bare_value(line: &str) -> bool {
    let value = line.split_once('=').and_then(|(_, value)| value.trim_start().chars().next());
    value.is_some_and(|first| !"\"'[{=#".contains(first))
}

pub struct Reader {
    places: Rc<Places>,
    /// What stands before a key: `run.`.
    prefix: String,
    is_there: bool,
    table: Table,
    known: Vec<&'static str>,
}

/// The name of a table of one's own: it becomes a host's name, and a part of variables' names.
fn is_name(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.len() <= 40
        && text.chars().all(is_inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.is_empty()
}

impl Reader {
    pub fn new(file: &Path, text: &str) -> anyhow::Result<Self> {
        let table = text.parse::<Table>().map_err(|error| {
            // The line may have a secret.
            let upto = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..upto].iter().filter(|byte| **byte == b'\n').count() + 1;
            let key =
                text.lines().nth(line - 1).and_then(key_of).map_or(String::new(), |key| format!("{key}: "));
            let is_bare = text.lines().nth(line - 1).is_some_and(has_bare_value);
            let quotes = if is_bare { "; a text stands in quotes" } else { "" };
            usage(format!("{}:{line}: {key}{}\n{HINT}{quotes}", file.display(), error.message()))
        })?;
        let places = Rc::new(Places::new(file, text));
        Ok(Self { places, prefix: String::new(), is_there: true, table, known: Vec::new() })
    }

    /// A table within this one; empty if it is not there.
    pub fn table(&mut self, key: &'static str) -> anyhow::Result<Reader> {
        let table = match self.take(key) {
            None => None,
            Some(Value::Table(table)) => Some(table),
            // What it is instead may be a secret.
            Some(_) => return Err(self.unlike(key, "expected a table")),
        };
        let (places, prefix) = (self.places.clone(), format!("{}{key}.", self.prefix));
        let is_there = table.is_some();
        Ok(Reader { places, prefix, is_there, table: table.unwrap_or_default(), known: Vec::new() })
    }

    /// The tables in this one, whatever their names. `instead`: what to do where there is something else.
    pub fn tables(self, instead: &str) -> anyhow::Result<Vec<(String, Reader)>> {
        let Self { places, prefix, table, .. } = self;
        let read = |(name, value): (String, Value)| {
            let key = format!("{prefix}{name}");
            let bad =
                |expected: &str| usage(format!("{}: {key}: {expected}\nhint: {instead}", places.at(&key)));
            let Value::Table(table) = value else { return Err(bad("expected a table")) };
            if name == "localhost" {
                return Err(bad("this name is everywhere that of the machine itself"));
            }
            if !is_name(&name) {
                return Err(bad("expected a name of small letters, digits and hyphens, at most 40"));
            }
            let (places, prefix) = (places.clone(), format!("{key}."));
            Ok((name, Reader { places, prefix, is_there: true, table, known: Vec::new() }))
        };
        table.into_iter().map(read).collect()
    }

    /// A key that nothing has asked for so far.
    pub fn stranger(&self) -> Option<&str> {
        self.table.keys().next().map(String::as_str)
    }

    /// Whether the table is there, be it empty.
    pub fn is_there(&self) -> bool {
        self.is_there
    }

    /// The table is there, and means nothing without this key. To be called when all others are read.
    pub fn lacks(&self, key: &str, hint: &str) -> anyhow::Error {
        let table = self.prefix.trim_end_matches('.');
        let unknown = self.table.keys().map(|key| format!("; unknown key {key}")).collect::<String>();
        usage(format!("{}: [{table}] needs {key}{unknown}\nhint: {hint}", self.places.at(table)))
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

    /// A list of numbers of ports.
    pub fn ports(&mut self, key: &'static str) -> anyhow::Result<Option<Vec<u16>>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let port = |value: &Value| value.as_integer()?.try_into().ok().filter(|port| *port > 0);
        let ports = value.as_array().and_then(|values| values.iter().map(port).collect());
        ports.map(Some).ok_or_else(|| self.bad(key, "expected a list of numbers from 1 to 65535"))
    }

    /// Says what is wrong with the table as a whole.
    pub fn refuse_all(&self, expected: &str) -> anyhow::Error {
        let table = self.prefix.trim_end_matches('.');
        usage(format!("{}: {table}: {expected}\n{HINT}", self.places.at(table)))
    }

    /// Says what is wrong with the value of a key.
    pub fn refuse(&self, key: &str, expected: &str) -> anyhow::Error {
        self.bad(key, expected)
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
        let Some(value) = self.take(key) else { return Ok(None) };
        let parsed = match &value {
            Value::String(text) => parse(text),
            // What its text would have to be.
            other => Err(parse(&other.to_string()).err().unwrap_or_else(|| "expected a text".to_owned())),
        };
        parsed.map(Some).map_err(|expected| self.bad(key, &expected))
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
        let is_name = |key: &str| match is_variable(key) {
            true => Ok(()),
            false => Err("expected the name of a variable".to_owned()),
        };
        self.each(is_name, parse)
    }

    /// All keys of the table, which are paths in a container, with texts.
    pub fn paths(self) -> anyhow::Result<BTreeMap<String, String>> {
        self.each(|key| are_absolute(&[key.to_owned()]), |text| Ok(text.to_owned()))
    }

    fn each<T>(
        self,
        check: impl Fn(&str) -> Result<(), String>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> anyhow::Result<BTreeMap<String, T>> {
        let Self { places, prefix, table, .. } = self;
        let parsed = |(key, value): (String, Value)| {
            let text = check(&key).and_then(|()| value.as_str().ok_or_else(|| "expected a text".to_owned()));
            let bad = |expected| {
                // The value may be secret.
                let key = format!("{prefix}{key}");
                usage(format!("{}: {key}: {expected}\n{HINT}", places.at(&key)))
            };
            let parsed = text.and_then(&parse).map_err(bad)?;
            Ok((key, parsed))
        };
        table.into_iter().map(parsed).collect()
    }

    /// The keys that were asked for, as they are written from the top.
    pub fn known(&self) -> impl Iterator<Item = String> {
        self.known.iter().map(|key| format!("{}{key}", self.prefix))
    }

    /// A warning for each key that nothing asked for, by its line, with the nearest that is known here, or the value of
    /// the same name in another table.
    pub fn unknown(&self, everywhere: &[String]) -> Vec<(usize, String)> {
        let Self { places, prefix, table, known, .. } = self;
        let is_table = |known: &str| everywhere.iter().any(|other| other.starts_with(&format!("{known}.")));
        let elsewhere = |key: &str| {
            let same = |known: &&String| known.rsplit('.').next() == Some(key) && !is_table(known);
            everywhere.iter().find(same).cloned()
        };
        let meant = |key: &str| match nearest(key, known.iter().copied()) {
            Some(near) => Some(format!("did you mean {prefix}{near}?")),
            None => elsewhere(key).map(|name| format!("did you mean {name}?")),
        };
        let warn = |key: &String| {
            let option = matches!(prefix.as_str(), "" | "run.") && cli::is_option_of_run(key);
            let meant = match option && elsewhere(key).is_none() {
                true => Some(format!("--{key} is for the command line only")),
                false => meant(key),
            };
            let name = format!("{prefix}{key}");
            let meant = meant.map(|meant| format!("; {meant}")).unwrap_or_default();
            (places.line(&name), format!("{}: unknown key {name}{meant}", places.at(&name)))
        };
        table.keys().map(warn).collect()
    }

    /// What is wrong may be that something stands under an unknown key, once all others are read.
    pub fn with_unknown(&self, error: &anyhow::Error) -> anyhow::Error {
        let unknown =
            self.unknown(&[]).into_iter().map(|(_, warning)| format!("\n{}{warning}", errors::HINT));
        usage(unknown.fold(error.to_string(), |text, hint| text + &hint))
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    /// As [`Reader::bad`], without the value.
    fn unlike(&self, key: &str, expected: &str) -> anyhow::Error {
        let key = format!("{}{key}", self.prefix);
        usage(format!("{}: {key}: {expected}\n{HINT}", self.places.at(&key)))
    }

    fn bad(&self, key: &str, expected: &str) -> anyhow::Error {
        let key = format!("{}{key}", self.prefix);
        usage(format!("{}: {}: {expected}\n{HINT}", self.places.at(&key), self.places.written(&key)))
    }
}
