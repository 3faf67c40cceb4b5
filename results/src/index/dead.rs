//! Dead letters: documents that an index will never take, each with its reason, in a file that somebody can look at.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::document::Document;
use crate::Error;

/// The most that is kept: then nothing is set aside, and what would be waits.
const BYTES: u64 = 256 << 20;

#[derive(Debug)]
pub struct DeadLetters {
    path: PathBuf,
    bound: u64,
}

impl DeadLetters {
    /// The file is made with the first of them.
    pub fn new(path: &Path) -> DeadLetters {
        DeadLetters { path: path.to_owned(), bound: BYTES }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets documents aside, durably. Where the file is as large as it may be, it is an error: nothing is dropped.
    pub fn add(&self, rejected: &[(Document, String)]) -> Result<(), Error> {
        if rejected.is_empty() {
            return Ok(());
        }
        let io = || Error::io(&self.path);
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path).map_err(io())?;
        let mut lines = Vec::new();
        for (document, reason) in rejected {
            let source: Value = serde_json::from_slice(&document.source()).expect("documents are JSON");
            let kind = document.kind().word();
            let letter = json!({"reason": reason, "kind": kind, "id": document.id(), "document": source});
            writeln!(lines, "{letter}").expect("memory takes it");
        }
        if length(&file, &self.path)?.saturating_add(lines.len() as u64) > self.bound {
            let full =
                std::io::Error::new(std::io::ErrorKind::StorageFull, "there are too many dead letters");
            return Err(io()(full));
        }
        file.write_all(&lines).and_then(|()| file.sync_data()).map_err(io())
    }

    /// How many there are.
    pub fn count(&self) -> Result<u64, Error> {
        match std::fs::read(&self.path) {
            Ok(bytes) => Ok(bytes.iter().filter(|byte| **byte == b'\n').count() as u64),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(Error::io(&self.path)(error)),
        }
    }
}

fn length(file: &File, path: &Path) -> Result<u64, Error> {
    file.metadata().map(|metadata| metadata.len()).map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::document::tests::one_of_each;

    #[test]
    fn dead_letters_are_kept_with_their_reasons_up_to_a_bound() {
        let directory = tempfile::tempdir().unwrap();
        let letters = DeadLetters::new(&directory.path().join("dead.jsonl"));
        assert_eq!(letters.count().unwrap(), 0);
        letters.add(&[]).unwrap();
        assert!(!letters.path().exists());
        let document = one_of_each().remove(3);
        letters.add(&[(document.clone(), "why \"not\"\n".to_owned())]).unwrap();
        letters.add(&[(document.clone(), "again".to_owned())]).unwrap();
        assert_eq!(letters.count().unwrap(), 2);
        let text = std::fs::read_to_string(letters.path()).unwrap();
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!((&first["reason"], &first["kind"]), (&json!("why \"not\"\n"), &json!("results")));
        assert_eq!(first["document"]["test"], json!("a.py::x"));
        let small = DeadLetters { bound: text.len() as u64, ..letters };
        assert!(small.add(&[(document, "once more".to_owned())]).unwrap_err().is_full());
        assert_eq!(small.count().unwrap(), 2);
    }
}
