//! Blobs in a directory, known by their digest only. Any number of processes may write at a time: a blob appears whole
//! or not at all.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use seagull_domain::Digest;
use tempfile::NamedTempFile;

use crate::Error;

/// The digest of bytes.
pub fn digest(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}

#[derive(Debug, Clone)]
pub struct Blobs {
    directory: PathBuf,
}

impl Blobs {
    pub fn open(directory: &Path) -> Result<Blobs, Error> {
        std::fs::create_dir_all(directory).map_err(Error::io(directory))?;
        Ok(Blobs { directory: directory.to_owned() })
    }

    /// `ab/cdef...`, so that no directory grows without bound.
    fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.directory.join(&name[..2]).join(&name[2..])
    }

    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    pub fn read(&self, digest: &Digest) -> Result<File, Error> {
        let path = self.path(digest);
        File::open(&path).map_err(Error::io(&path))
    }

    pub fn writer(&self) -> Result<Writer, Error> {
        let file = NamedTempFile::new_in(&self.directory).map_err(Error::io(&self.directory))?;
        Ok(Writer { blobs: self.clone(), file, hasher: Box::default() })
    }
}

/// A blob under way; dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub struct Writer {
    blobs: Blobs,
    file: NamedTempFile,
    hasher: Box<blake3::Hasher>,
}

impl Writer {
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(Error::io(self.file.path()))
    }

    /// Makes the blob durable and visible, if it is the expected one.
    pub fn finish(self, expected: Option<Digest>) -> Result<Digest, Error> {
        let found = Digest(*self.hasher.finalize().as_bytes());
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(Error::Digest { expected, found });
        }
        let path = self.blobs.path(&found);
        let parent = path.parent().unwrap_or(&self.blobs.directory);
        self.file.as_file().sync_all().map_err(Error::io(self.file.path()))?;
        std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
        self.file.persist(&path).map_err(|error| Error::Io { path: path.clone(), source: error.error })?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_blob_is_read_back_by_its_digest_and_a_wrong_one_is_not_kept() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(directory.path()).unwrap();
        let mut writer = blobs.writer().unwrap();
        writer.write(b"sea").unwrap();
        writer.write(b"gull").unwrap();
        let stored = writer.finish(Some(digest(b"seagull"))).unwrap();
        let mut text = String::new();
        blobs.read(&stored).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "seagull");

        let mut writer = blobs.writer().unwrap();
        writer.write(b"other").unwrap();
        assert!(matches!(writer.finish(Some(stored)), Err(Error::Digest { .. })));
        assert!(!blobs.contains(&digest(b"other")));
        let loose =
            std::fs::read_dir(directory.path()).unwrap().filter(|e| e.as_ref().unwrap().path().is_file());
        assert_eq!(loose.count(), 0, "an unfinished blob was left");
    }
}
