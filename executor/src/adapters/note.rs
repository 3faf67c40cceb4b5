//! Notes how cargo would start a test binary, or rustdoc: cargo starts `seagull adapt note DIR KIND WORDS...` instead. No
//! shell does that, because shells drop variables whose names they do not like.

use std::env;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// What follows `adapt` in place of a directory, which begins with a slash.
pub(super) const NOTE: &str = "note";

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub directory: PathBuf,
    /// What the note taker was told it stands for, and what follows.
    pub words: Vec<OsString>,
    pub environment: Vec<(OsString, OsString)>,
}

/// Leaves a note of this process in the directory that is the first argument.
pub(super) fn take(mut arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    let notes = arguments.next().ok_or_else(|| io::Error::other("no directory for notes"))?;
    let note = Note {
        directory: env::current_dir()?,
        words: arguments.collect(),
        environment: env::vars_os().collect(),
    };
    let path = PathBuf::from(notes).join(std::process::id().to_string());
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(&note.to_bytes())
}

impl Note {
    /// The directory, the number of words, the words, and the environment, each ended by a NUL.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut end = |parts: &[&[u8]]| {
            parts.iter().for_each(|part| bytes.extend(*part));
            bytes.push(0);
        };
        end(&[self.directory.as_os_str().as_bytes()]);
        end(&[self.words.len().to_string().as_bytes()]);
        self.words.iter().for_each(|word| end(&[word.as_bytes()]));
        self.environment.iter().for_each(|(name, value)| end(&[name.as_bytes(), b"=", value.as_bytes()]));
        bytes
    }

    /// None if that is no note.
    pub fn read(bytes: &[u8]) -> Option<Note> {
        let bytes = bytes.strip_suffix(&[0])?;
        let mut parts = bytes.split(|byte| *byte == 0).map(|part| OsString::from_vec(part.to_vec()));
        let directory = parts.next()?.into();
        let count: usize = parts.next()?.to_str()?.parse().ok()?;
        let words: Vec<_> = parts.by_ref().take(count).collect();
        let environment = parts.filter_map(|variable| {
            let bytes = variable.as_bytes();
            let at = bytes.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
            Some((OsString::from_vec(bytes[..at].to_vec()), OsString::from_vec(bytes[at + 1..].to_vec())))
        });
        let environment = environment.collect();
        (words.len() == count).then_some(Note { directory, words, environment })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let note = Note {
            directory: "/p".into(),
            words: vec!["test".into(), "/t/ui-1".into(), "".into(), OsString::from_vec(b"\xff".to_vec())],
            environment: vec![
                ("CARGO_BIN_EXE_my-tool".into(), "/t/my-tool".into()),
                ("EMPTY".into(), "".into()),
                ("LINES".into(), "1\n2=3".into()),
            ],
        };
        assert_eq!(Note::read(&note.to_bytes()), Some(note));
    }

    #[test]
    fn what_is_no_note_or_ends_early_is_none() {
        for nonsense in [&b""[..], b"/p", b"/p\0", b"/p\0x\0", b"/p\x009\0test\0", b"/p\x001\0test"] {
            assert_eq!(Note::read(nonsense), None);
        }
    }
}
