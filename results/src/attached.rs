//! Small files that the tests of a run have left: a file each until the run has ended, then, where there is a store, one
//! object, of which each is one ranged read.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use seagull_domain::{Digest, RunId};

use crate::Error;
use crate::blobs::{Blobs, Remote, Writer, gone};

/// The longest that is kept so, packed. Longer ones are blobs.
pub const SMALL_BYTES: u64 = 256 << 10;

#[derive(Debug, Clone)]
pub struct Attached {
    /// Has them as a directory of blobs does.
    directory: PathBuf,
    /// Where they go when their run has ended, and the run.
    packed: Option<(Arc<Remote>, RunId)>,
}

impl Attached {
    /// The directory is made with the first file.
    pub fn new(directory: &Path) -> Attached {
        Attached { directory: directory.to_owned(), packed: None }
    }

    /// Those of this run, which are packed into a store when it has ended.
    #[must_use]
    pub fn packed_into(self, remote: Option<Arc<Remote>>, run: &RunId) -> Attached {
        Attached { packed: remote.map(|remote| (remote, run.clone())), ..self }
    }

    /// None where there are none: they are not made by looking.
    fn here(&self) -> Result<Option<Blobs>, Error> {
        self.directory.is_dir().then(|| Blobs::open(&self.directory)).transpose()
    }

    pub fn writer(&self) -> Result<Writer, Error> {
        Blobs::open(&self.directory)?.writer(0)
    }

    /// One that is here.
    pub fn read(&self, digest: &Digest) -> Result<File, Error> {
        self.here()?.ok_or(Error::NoBlob(*digest))?.read(digest)
    }

    /// Those that are here, and their lengths.
    pub fn list(&self) -> Result<Vec<(Digest, u64)>, Error> {
        self.here()?.map_or(Ok(Vec::new()), |here| here.list())
    }

    /// Packs what is here and does not wait for the store yet. It stays until [`Self::forget`].
    pub fn pack(&self) -> Result<(), Error> {
        match (&self.packed, self.here()?) {
            (Some((remote, run)), Some(here)) if !self.is_packed()? => remote.pile(run, &here),
            _ => Ok(()),
        }
    }

    /// Whether all is on its way to the store, if there is one, or there.
    pub fn is_packed(&self) -> Result<bool, Error> {
        let Some((remote, run)) = &self.packed else { return Ok(true) };
        Ok(remote.has_pile(run) || self.list()?.is_empty())
    }

    /// Removes what is kept elsewhere, or not any more.
    pub fn forget(&self) -> Result<(), Error> {
        gone(std::fs::remove_dir_all(&self.directory)).map_err(Error::io(&self.directory))
    }
}
