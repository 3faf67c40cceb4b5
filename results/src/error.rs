//! The one error of what is kept: which path, and why.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use seagull_domain::Digest;

use crate::blobs::{Trouble, Why};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: {source}")]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    #[error(
        "{path} is damaged: {source}\n\
         hint: it has only what earlier runs taught; once it is moved away the next run begins another"
    )]
    History { path: PathBuf, source: rusqlite::Error },
    #[error("{path} has format {found}, this release reads up to {known}\nhint: use a newer seagull")]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("a blob has the digest {found}, not {expected}")]
    Digest { expected: Digest, found: Digest },
    #[error("no blob {0}")]
    NoBlob(Digest),
    #[error("{store}: {doing}: {trouble}")]
    Store { store: String, doing: &'static str, trouble: Trouble },
    #[error(
        "{waiting} bytes wait for {store} already, which is more than may\nhint: seagull doctor --stores URL says what is wrong there"
    )]
    Full { store: String, waiting: u64 },
    /// What was to be stored cannot be read, or is not what was said.
    #[error("what was to be stored cannot be read: {0}")]
    Source(std::io::Error),
    #[error("{path}, line {line} is damaged")]
    Damaged { path: PathBuf, line: usize },
    #[error("{path} does not begin and end with a fact")]
    Torn { path: PathBuf },
    #[error("{path}: a fact is not on one line, or its number does not rise")]
    NotAStream { path: PathBuf },
}

impl Error {
    /// Whether there is no room where it was to be kept.
    pub fn is_full(&self) -> bool {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let Error::Io { source, .. } = self else { return false };
        matches!(source.kind(), FileTooLarge | QuotaExceeded | StorageFull)
    }

    /// Whether a store takes others, but not this one.
    pub(crate) fn is_of_one_object(&self) -> bool {
        !matches!(self, Error::Store { trouble, .. } if !matches!(trouble.why, Why::Taken | Why::Refused))
    }

    /// As the history's file is opened.
    pub(crate) fn history(path: &Path) -> impl Fn(rusqlite::Error) -> Error + Copy + '_ {
        |source| match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Error::History { path: path.to_owned(), source }
            }
            _ => Error::Sqlite { path: path.to_owned(), source },
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::Io { path: path.to_owned(), source }
    }
}
