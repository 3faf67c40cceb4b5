//! Blobs in a directory, each a file that is named by its digest. Any number of processes may write at a time: a blob appears whole
//! or not at all. A blob's modification time says when it was last wanted.
#![expect(clippy::disallowed_methods, reason = "a shell: blobs keep when they were last wanted")]

use std::collections::HashSet;
use std::fs::{DirEntry, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use seagull_domain::Digest;
use tempfile::{Builder, NamedTempFile};

use crate::Error;
use crate::durable;

pub(super) const UNFINISHED: &str = ".unfinished-";
/// An unfinished blob that was not written to for so long has lost its writer.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// The digest of bytes.
pub fn digest(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}

#[derive(Debug, Clone)]
pub(super) struct Directory {
    directory: PathBuf,
}

/// What an eviction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evicted {
    pub blobs: u64,
    pub bytes: u64,
    /// Bytes of the blobs that are left.
    pub kept_bytes: u64,
}

impl Directory {
    pub fn open(directory: &Path) -> Result<Directory, Error> {
        durable::create_directory(directory)?;
        Ok(Directory { directory: directory.to_owned() })
    }

    /// `ab/cdef...`, so that no directory grows without bound.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.directory.join(&name[..2]).join(&name[2..])
    }

    /// The blob; its length is the file's. It stays readable through this even if it is evicted meanwhile.
    pub fn read(&self, digest: &Digest) -> Result<File, Error> {
        let path = self.path(digest);
        let file = open(digest, &path)?;
        // A store that can only be read knows no order of use.
        let _ = file.set_modified(SystemTime::now());
        Ok(file)
    }

    pub fn writer(&self) -> Result<Writer, Error> {
        Ok(Writer { blobs: self.clone(), file: unfinished(&self.directory)?, hasher: Box::default() })
    }

    /// Removes the blobs that were wanted longest ago until at most `bound` bytes are left, never a pinned one; and
    /// what writers that died have left.
    pub fn evict(&self, bound: u64, pinned: &HashSet<Digest>) -> Result<Evicted, Error> {
        let mut kept = self.kept()?;
        kept.sort_by_key(|blob| (blob.wanted, blob.digest));
        let mut done = Evicted { kept_bytes: kept.iter().map(|blob| blob.bytes).sum(), ..Evicted::default() };
        for blob in kept.iter().filter(|blob| !pinned.contains(&blob.digest)) {
            if done.kept_bytes <= bound {
                break;
            }
            let path = self.path(&blob.digest);
            let metadata = path.metadata();
            if metadata.as_ref().is_ok_and(|now| now.modified().ok() != Some(blob.wanted)) {
                // Another process has wanted it since it was listed.
                continue;
            }
            if metadata.is_ok() {
                gone(std::fs::remove_file(&path)).map_err(Error::io(&path))?;
                done.blobs += 1;
                done.bytes += blob.bytes;
            }
            done.kept_bytes -= blob.bytes;
        }
        Ok(done)
    }

    /// The blobs that were not wanted since then.
    pub fn older(&self, than: SystemTime) -> Result<Vec<(Digest, u64, SystemTime)>, Error> {
        let kept = self.kept()?.into_iter().filter(|blob| blob.wanted < than);
        Ok(kept.map(|blob| (blob.digest, blob.bytes, blob.wanted)).collect())
    }

    /// All of them, and their lengths.
    pub fn list(&self) -> Result<Vec<(Digest, u64)>, Error> {
        Ok(self.kept()?.into_iter().map(|blob| (blob.digest, blob.bytes)).collect())
    }

    /// The first bytes of a blob, which does not count as wanting it.
    pub fn begins(&self, digest: &Digest) -> Result<[u8; 4], Error> {
        let path = self.path(digest);
        let mut bytes = [0; 4];
        let mut file = open(digest, &path)?;
        // One that is shorter has nothing more.
        let _ = std::io::Read::read(&mut file, &mut bytes).map_err(Error::io(&path))?;
        Ok(bytes)
    }

    /// Removes a blob, unless it was wanted since then.
    pub fn remove(&self, digest: &Digest, than: SystemTime) -> Result<(), Error> {
        let path = self.path(digest);
        let wanted = path.metadata().and_then(|file| file.modified());
        if wanted.is_ok_and(|wanted| wanted < than) {
            gone(std::fs::remove_file(&path)).map_err(Error::io(&path))?;
        }
        Ok(())
    }

    fn kept(&self) -> Result<Vec<Kept>, Error> {
        let mut kept = Vec::new();
        for entry in entries(&self.directory)? {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(UNFINISHED) {
                remove_if_abandoned(&entry)?;
            } else if name.len() == 2 {
                for blob in entries(&entry.path())? {
                    kept.extend(Kept::of(&name, &blob));
                }
            }
        }
        Ok(kept)
    }
}

/// That there is no such blob is told apart from what goes wrong.
fn open(digest: &Digest, path: &Path) -> Result<File, Error> {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::NoBlob(*digest)),
        file => file.map_err(Error::io(path)),
    }
}

/// A file that appears when it is finished.
pub(super) fn unfinished(directory: &Path) -> Result<NamedTempFile, Error> {
    Builder::new().prefix(UNFINISHED).tempfile_in(directory).map_err(Error::io(directory))
}

pub(super) fn remove_if_abandoned(entry: &DirEntry) -> Result<(), Error> {
    let age = entry.metadata().ok().and_then(|metadata| metadata.modified().ok()?.elapsed().ok());
    let is_unfinished = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
    if is_unfinished && age.is_some_and(|age| age > ABANDONED) {
        gone(std::fs::remove_file(entry.path())).map_err(Error::io(&entry.path()))?;
    }
    Ok(())
}

/// A blob as an eviction sees it.
struct Kept {
    digest: Digest,
    bytes: u64,
    wanted: SystemTime,
}

impl Kept {
    /// None for what is no blob, or gone already.
    fn of(directory: &str, entry: &DirEntry) -> Option<Kept> {
        let digest = format!("{directory}{}", entry.file_name().to_string_lossy()).parse().ok()?;
        let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some(Kept { digest, bytes: metadata.len(), wanted: metadata.modified().ok()? })
    }
}

pub(crate) fn entries(directory: &Path) -> Result<Vec<DirEntry>, Error> {
    let entries = std::fs::read_dir(directory).and_then(Iterator::collect);
    entries.map_err(Error::io(directory))
}

/// That a file is gone already is as good as removing it.
pub(crate) fn gone(removed: std::io::Result<()>) -> std::io::Result<()> {
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A blob under way; dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub(super) struct Writer {
    blobs: Directory,
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
        self.check(expected)?.keep()
    }

    /// Makes the blob durable, if it is the expected one.
    pub fn check(self, expected: Option<Digest>) -> Result<Whole, Error> {
        let found = Digest(*self.hasher.finalize().as_bytes());
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(Error::Digest { expected, found });
        }
        self.file.as_file().sync_all().map_err(Error::io(self.file.path()))?;
        Ok(Whole { blobs: self.blobs, file: self.file, digest: found })
    }
}

/// A blob that is durable and not visible yet.
pub(super) struct Whole {
    blobs: Directory,
    file: NamedTempFile,
    digest: Digest,
}

impl Whole {
    pub fn digest(&self) -> Digest {
        self.digest
    }

    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Makes it visible.
    pub fn keep(self) -> Result<Digest, Error> {
        let path = self.blobs.path(&self.digest);
        durable::create_directory(path.parent().unwrap_or(&self.blobs.directory))?;
        durable::persist(self.file, &path)?;
        Ok(self.digest)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn store() -> (tempfile::TempDir, Directory) {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Directory::open(&directory.path().join("blobs")).unwrap();
        (directory, blobs)
    }

    fn put(blobs: &Directory, bytes: &[u8]) -> Digest {
        let mut writer = blobs.writer().unwrap();
        writer.write(bytes).unwrap();
        writer.finish(None).unwrap()
    }

    fn unfinished(blobs: &Directory) -> usize {
        entries(&blobs.directory).unwrap().iter().filter(|entry| entry.path().is_file()).count()
    }

    #[test]
    fn a_blob_is_read_back_by_its_digest_and_a_wrong_one_is_not_kept() {
        let (_directory, blobs) = store();
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
        assert!(blobs.read(&digest(b"other")).is_err());
        assert_eq!(unfinished(&blobs), 0, "an unfinished blob was left");
    }

    #[test]
    fn what_was_wanted_longest_ago_is_evicted_first() {
        let (_directory, blobs) = store();
        let stored: Vec<Digest> = (0..4u8).map(|i| put(&blobs, &[i; 100])).collect();
        for (i, blob) in stored.iter().enumerate() {
            let old = SystemTime::UNIX_EPOCH + Duration::from_secs(i as u64);
            File::open(blobs.path(blob)).unwrap().set_modified(old).unwrap();
        }
        // The first is pinned and the second wanted again, so the third and the fourth go.
        blobs.read(&stored[1]).unwrap();
        let pinned = HashSet::from([stored[0]]);
        let evicted = blobs.evict(250, &pinned).unwrap();
        assert_eq!(evicted, Evicted { blobs: 2, bytes: 200, kept_bytes: 200 });
        let left: Vec<bool> = stored.iter().map(|blob| blobs.path(blob).exists()).collect();
        assert_eq!(left, [true, true, false, false]);
        assert_eq!(blobs.evict(0, &pinned).unwrap().kept_bytes, 100);
        assert!(blobs.read(&stored[0]).is_ok());
    }

    #[test]
    fn only_abandoned_writers_are_cleaned_up_after() {
        let (_directory, blobs) = store();
        let alive = blobs.writer().unwrap();
        let (file, _path) = blobs.writer().unwrap().file.keep().unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(unfinished(&blobs), 2);
        blobs.evict(0, &HashSet::new()).unwrap();
        assert_eq!(unfinished(&blobs), 1);
        assert_eq!(alive.finish(None).unwrap(), digest(b""));
    }

    #[test]
    fn many_writers_of_one_blob_and_an_eviction_at_a_time_agree() {
        let (_directory, blobs) = store();
        let bytes = vec![7; 300_000];
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..20).for_each(|_| assert_eq!(put(&blobs, &bytes), digest(&bytes))));
            }
            scope.spawn(|| {
                for _ in 0..50 {
                    blobs.evict(0, &HashSet::new()).unwrap();
                }
            });
            for _ in 0..50 {
                // Whole or not there at all.
                if let Ok(mut file) = blobs.read(&digest(&bytes)) {
                    let mut read = Vec::new();
                    file.read_to_end(&mut read).unwrap();
                    assert_eq!(read.len(), bytes.len());
                }
            }
        });
        assert_eq!(unfinished(&blobs), 0);
    }
}
