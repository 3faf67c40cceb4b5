//! What every store of objects can do. Everything blocks, may be called from any number of threads, and holds no more
//! in memory than a few parts of an object.

use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::file::FileStore;
use super::key::Key;
use super::s3::S3;
use super::url::StoreUrl;
use crate::Error;

/// A store of whole objects, each written once.
///
/// What is stored is whole and durable, or not there at all, whenever a call breaks off.
pub trait Store: fmt::Debug + Send + Sync {
    /// Stores what `source` has, which must be so many bytes and, for a blob, have its digest.
    fn put(&self, key: &Key, source: &mut dyn Read, bytes: u64, when: When) -> Result<Put, Error>;

    /// The bytes in a range; fewer where the object ends before. None where there is no such object. A connection that
    /// breaks is made anew where it was; whether the bytes are right is for the reader to verify, by digest or checksum.
    fn get(&self, key: &Key, range: Range<u64>) -> Result<Option<Body>, Error>;

    fn head(&self, key: &Key) -> Result<Option<Head>, Error>;

    /// That it was not there is as good.
    fn delete(&self, key: &Key) -> Result<(), Error>;

    /// Tells of each object of ours, in no order. What else is there is passed over.
    fn list(&self, tell: &mut dyn FnMut(Key, Head)) -> Result<(), Error>;

    /// A request that anybody may make for so long without credentials of their own; None where a store has no such thing.
    fn presign(&self, key: &Key, method: Method, lives: Duration) -> Result<Option<Presigned>, Error>;
}

/// The bytes of an object as they come.
pub type Body = Box<dyn Read + Send>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Always,
    /// Of several at a time, one writes.
    Absent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    Stored,
    /// There was one, which stays as it is.
    Existed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub bytes: u64,
    /// When it was written last, by the store's clock.
    pub modified: SystemTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Put,
}

/// A request that carries its permission. The URL is a secret as long as it lives.
#[derive(Clone, PartialEq, Eq)]
pub struct Presigned {
    pub url: String,
    /// What must be sent with it.
    pub headers: Vec<(String, String)>,
}

impl fmt::Debug for Presigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Presigned(..)")
    }
}

/// Opens a store. Does not ask it anything yet.
pub fn open(url: &StoreUrl) -> Result<Arc<dyn Store>, Error> {
    Ok(match url {
        StoreUrl::File(directory) => Arc::new(FileStore::open(directory)?),
        StoreUrl::S3(bucket) => Arc::new(S3::open(bucket)?),
    })
}
