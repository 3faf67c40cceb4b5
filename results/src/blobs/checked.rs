//! What is about to be stored, checked while it is read: that it has its length and, for a blob, its digest.

use std::io::{ErrorKind, Read};

use seagull_domain::Digest;

use super::key::Key;
use crate::Error;

pub(super) struct Checked<'a> {
    source: &'a mut dyn Read,
    /// What is still to come.
    left: u64,
    expected: Option<Digest>,
    hasher: Box<blake3::Hasher>,
}

impl<'a> Checked<'a> {
    pub fn new(key: &Key, source: &'a mut dyn Read, bytes: u64) -> Checked<'a> {
        let expected = if let Key::Blob(digest) = key { Some(*digest) } else { None };
        Checked { source, left: bytes, expected, hasher: Box::default() }
    }

    /// Some of what is left; nothing at the end.
    pub fn read(&mut self, piece: &mut [u8]) -> Result<usize, Error> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(piece.len());
        let length = loop {
            match self.source.read(&mut piece[..most]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.map_err(Error::Source)?,
            }
        };
        if self.expected.is_some() {
            self.hasher.update(&piece[..length]);
        }
        self.left -= length as u64;
        Ok(length)
    }

    /// The next part, full but for the last.
    pub fn part(&mut self, size: usize) -> Result<Vec<u8>, Error> {
        let size = usize::try_from(self.left).unwrap_or(usize::MAX).min(size);
        let (mut part, mut filled) = (vec![0; size], 0);
        while filled < size {
            match self.read(&mut part[filled..])? {
                0 => break,
                length => filled += length,
            }
        }
        part.truncate(filled);
        Ok(part)
    }

    pub fn is_at_end(&self) -> bool {
        self.left == 0
    }

    /// Whether it was all that was said, and nothing else.
    pub fn finish(self) -> Result<(), Error> {
        if self.left > 0 || self.source.read(&mut [0]).map_err(Error::Source)? > 0 {
            return Err(Error::Source(ErrorKind::UnexpectedEof.into()));
        }
        let found = Digest(*self.hasher.finalize().as_bytes());
        match self.expected {
            Some(expected) if expected != found => Err(Error::Digest { expected, found }),
            _ => Ok(()),
        }
    }
}
