//! Where in `seagull.toml` each key stands, and what is written there.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::report::one_line;

/// So much of a value is shown.
const SHOWN: usize = 60;

pub struct Places {
    file: String,
    /// Line and value of each key, as it is written from the top. Tables have no value.
    keys: BTreeMap<String, (usize, Option<String>)>,
}

impl Places {
    pub fn new(file: &Path, text: &str) -> Places {
        let mut places = Places { file: file.display().to_string(), keys: BTreeMap::new() };
        if let Ok(table) = DeTable::parse(text) {
            places.add(table.get_ref(), "", text);
        }
        places
    }

    fn add(&mut self, table: &DeTable, prefix: &str, text: &str) {
        for (key, value) in table {
            let name = format!("{prefix}{}", key.get_ref());
            let line = text[..key.span().start].matches('\n').count() + 1;
            let written = match value.get_ref() {
                DeValue::Table(_) => None,
                _ => text.get(value.span()).map(|value| one_line(value, SHOWN)),
            };
            if let DeValue::Table(inner) = value.get_ref() {
                self.add(inner, &format!("{name}."), text);
            }
            self.keys.insert(name, (line, written));
        }
    }

    /// The line of a key; 0, where it is not in the file.
    pub fn line(&self, key: &str) -> usize {
        self.keys.get(key).map_or(0, |(line, _)| *line)
    }

    /// `FILE:LINE` of a key; the file alone, where it is not in it.
    pub fn at(&self, key: &str) -> String {
        match self.keys.get(key) {
            Some((line, _)) => format!("{}:{line}", self.file),
            None => self.file.clone(),
        }
    }

    /// `KEY = VALUE`; the key alone, where it is a table.
    pub fn written(&self, key: &str) -> String {
        match self.keys.get(key) {
            Some((_, Some(value))) => format!("{key} = {value}"),
            _ => key.to_owned(),
        }
    }
}
