//! From an artifact to a directory. The archive is hostile: whatever it holds, nothing outside the directory is
//! touched, and what it may cost is bounded.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use tar::{Entry, EntryType};

use super::link::stays_inside;
use crate::remove::remove_tree;

/// Longer names are no path anywhere.
const PATH_BYTES: u64 = 4096;
/// Each level may be a directory to make.
const DEPTH: usize = 128;
/// zstd's decoder keeps a window of at most 128 MB.
const WINDOW_LOG: u32 = 27;

/// What an archive may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of the archive when decompressed.
    pub bytes: u64,
    pub entries: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unpacked {
    pub bytes: u64,
    pub entries: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error("unsafe path {0:?} in the archive")]
    Path(PathBuf),
    #[error("the link {0:?} leads out of the archive, to {1:?}")]
    Link(PathBuf, PathBuf),
    #[error("{0:?} is neither file nor directory nor link")]
    Kind(PathBuf),
    #[error("more than {0} in the archive")]
    Limit(&'static str),
    #[error("cannot unpack: {0}")]
    Io(#[from] io::Error),
}

/// Unpacks a tar archive, compressed with zstd, into a new directory, which appears whole or not at all.
pub fn unpack(archive: impl Read, directory: &Path, limits: Limits) -> Result<Unpacked, UnpackError> {
    let parent = directory.parent().ok_or_else(|| io::Error::other("no parent directory"))?;
    let partial = tempfile::Builder::new().prefix(".partial-").tempdir_in(parent)?.keep();
    let unpacked = unpack_into(archive, &partial, limits);
    let done = unpacked.and_then(|unpacked| Ok(fs::rename(&partial, directory).map(|()| unpacked)?));
    if done.is_err() {
        let _ = remove_tree(&partial);
    }
    done
}

fn unpack_into(archive: impl Read, root: &Path, limits: Limits) -> Result<Unpacked, UnpackError> {
    let mut decoder = zstd::Decoder::new(archive)?;
    decoder.window_log_max(WINDOW_LOG)?;
    let mut limited = decoder.take(limits.bytes);
    let outcome = Unpacking::new(root, limits).entries(&mut limited);
    // At the bound the archive seems to end early; that is the better explanation for what went wrong.
    if limited.limit() == 0 {
        return Err(UnpackError::Limit("the bytes that fit"));
    }
    outcome
}

struct Unpacking<'a> {
    root: &'a Path,
    limits: Limits,
    /// Directories that were made, relative to the root. As nothing is ever replaced, they are no links.
    directories: HashSet<PathBuf>,
    long_name: Option<PathBuf>,
    long_link: Option<PathBuf>,
    unpacked: Unpacked,
}

impl<'a> Unpacking<'a> {
    fn new(root: &'a Path, limits: Limits) -> Self {
        let directories = HashSet::from([PathBuf::new()]);
        let unpacked = Unpacked::default();
        Self { root, limits, directories, long_name: None, long_link: None, unpacked }
    }

    /// Reads raw entries: the library would keep long names in memory whatever their length.
    fn entries(mut self, archive: &mut impl Read) -> Result<Unpacked, UnpackError> {
        let mut archive = tar::Archive::new(archive);
        for entry in archive.entries()?.raw(true) {
            if self.unpacked.entries >= self.limits.entries {
                return Err(UnpackError::Limit("the entries that are allowed"));
            }
            self.unpacked.entries += 1;
            let mut entry = entry?;
            match entry.header().entry_type() {
                EntryType::GNULongName => self.long_name = Some(long_path(&mut entry)?),
                EntryType::GNULongLink => self.long_link = Some(long_path(&mut entry)?),
                kind => self.entry(kind, entry)?,
            }
        }
        Ok(self.unpacked)
    }

    fn entry(&mut self, kind: EntryType, entry: Entry<'_, impl Read>) -> Result<(), UnpackError> {
        let short = || PathBuf::from(OsString::from_vec(entry.header().path_bytes().into_owned()));
        let path = self.long_name.take().unwrap_or_else(short);
        let long_link = self.long_link.take();
        let path = checked(&path).ok_or(UnpackError::Path(path))?;
        match kind {
            EntryType::Directory => self.directory(&path),
            EntryType::Regular => {
                self.directory(path.parent().unwrap_or(Path::new("")))?;
                self.file(&path, entry)
            }
            EntryType::Symlink => {
                let short = || entry.header().link_name_bytes().unwrap_or_default().into_owned();
                let target = long_link.unwrap_or_else(|| OsString::from_vec(short()).into());
                if !stays_inside(&path, &target) {
                    return Err(UnpackError::Link(path, target));
                }
                self.directory(path.parent().unwrap_or(Path::new("")))?;
                Ok(symlink(target, self.root.join(&path))?)
            }
            _ => Err(UnpackError::Kind(path)),
        }
    }

    /// Makes a directory and those above it. One that is a file or a link already is an error.
    fn directory(&mut self, path: &Path) -> Result<(), UnpackError> {
        if self.directories.contains(path) {
            return Ok(());
        }
        self.directory(path.parent().unwrap_or(Path::new("")))?;
        fs::create_dir(self.root.join(path))?;
        self.directories.insert(path.to_owned());
        Ok(())
    }

    fn file(&mut self, path: &Path, mut entry: Entry<'_, impl Read>) -> Result<(), UnpackError> {
        let executable = entry.header().mode()? & 0o100 != 0;
        let mode = if executable { 0o755 } else { 0o644 };
        let modified = entry.header().mtime()?.min(u64::from(u32::MAX));
        let size = entry.size();
        // Fails for what is there, a link too, so that nothing is written through one.
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(self.root.join(path))?;
        if io::copy(&mut entry, &mut file)? != size {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        set_modified(&file, modified)?;
        self.unpacked.bytes += size;
        Ok(())
    }
}

fn set_modified(file: &File, seconds: u64) -> io::Result<()> {
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn long_path(entry: &mut Entry<'_, impl Read>) -> Result<PathBuf, UnpackError> {
    let mut name = Vec::new();
    entry.take(PATH_BYTES + 1).read_to_end(&mut name)?;
    if name.len() as u64 > PATH_BYTES {
        return Err(UnpackError::Limit("4096 bytes of one name"));
    }
    while name.last() == Some(&0) {
        name.pop();
    }
    Ok(OsString::from_vec(name).into())
}

/// A path of plain names only, as it is below the root.
fn checked(path: &Path) -> Option<PathBuf> {
    let plain = path.components().all(|component| matches!(component, Component::Normal(_)));
    let bytes = path.as_os_str().as_encoded_bytes();
    let depth = path.components().count();
    (plain && depth > 0 && depth <= DEPTH && !bytes.contains(&0)).then(|| path.components().collect())
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
