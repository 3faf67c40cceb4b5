//! The body of an object as it comes: a connection that breaks is made anew where it was.
#![expect(clippy::disallowed_methods, reason = "a shell: between two tries there is a pause")]

use std::io::{Error, ErrorKind, Read};
use std::ops::Range;
use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::{Buf, Bytes};

use super::{Key, S3};

/// How often in a row a connection may break without that anything has come.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Reader {
    store: S3,
    key: Key,
    /// What is still to come, as it was asked for.
    left: Range<u64>,
    /// Which version of the object it is.
    tag: Option<String>,
    stream: ByteStream,
    /// What has come and was not read.
    piece: Bytes,
    failures: u32,
}

impl Reader {
    pub fn new(store: S3, key: Key, range: Range<u64>, output: GetObjectOutput) -> Reader {
        let tag = output.e_tag;
        Reader { store, key, left: range, tag, stream: output.body, piece: Bytes::new(), failures: 0 }
    }

    fn next(&mut self) -> Result<Bytes, Error> {
        loop {
            match self.store.wait(self.stream.next()) {
                None => return Ok(Bytes::new()),
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => return Ok(piece),
                Some(Err(error)) => self.resume(&error)?,
            }
        }
    }

    fn resume(&mut self, error: &dyn std::error::Error) -> Result<(), Error> {
        self.failures += 1;
        if self.failures >= TRIES {
            let doing = format!("{}: {} breaks off: {error}", self.store.0.bucket, self.key);
            return Err(Error::other(doing));
        }
        std::thread::sleep(PAUSE * self.failures);
        let output = self.store.part(&self.key, &self.left, self.tag.as_deref()).map_err(Error::other)?;
        let gone = || Error::new(ErrorKind::NotFound, format!("{} was removed meanwhile", self.key));
        self.stream = output.ok_or_else(gone)?.body;
        Ok(())
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if self.piece.is_empty() && !self.left.is_empty() {
            self.piece = self.next()?;
            self.failures = 0;
            // A server that sends more than was asked for is not believed.
            let most = usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX);
            self.piece.truncate(most);
            self.left.start += self.piece.len() as u64;
        }
        let length = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
