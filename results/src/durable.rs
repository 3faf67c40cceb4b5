//! Files that appear whole and stay: synced, renamed into place, and their directory synced.

use std::fs::File;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::Error;

/// Moves a finished file to `path`, in place of what is there, and returns when it would survive a power cut.
pub(crate) fn persist(file: NamedTempFile, path: &Path) -> Result<(), Error> {
    file.as_file().sync_all().map_err(Error::io(file.path()))?;
    file.persist(path).map_err(|error| Error::Io { path: path.to_owned(), source: error.error })?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), Error> {
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(Error::io(directory))
}

/// Creates a directory and makes its name durable.
pub(crate) fn create_directory(directory: &Path) -> Result<(), Error> {
    if directory.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(directory).map_err(Error::io(directory))?;
    directory.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_directory)
}
