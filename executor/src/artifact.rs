//! The files of a suite on their way from the client to the executors: packed, verified, unpacked, cached.

mod cache;
mod files;
mod link;
mod pack;
mod patterns;
mod restore;
mod unpack;

pub use crate::kept::Pinned;
pub use cache::{Cache, CacheError};
pub use files::{BUILT, LeftOut, Reason, git};
pub use pack::{MAX_BYTES, Measured, PackError, PackOptions, Packed, measure, pack, size};
pub use patterns::{Named, Patterns};
pub use unpack::{Limits, UnpackError, Unpacked, unpack};

/// What the tests of a suite may read that is run in place: all of its repository.
pub fn in_place(directory: &std::path::Path) -> &std::path::Path {
    directory.ancestors().find(|at| at.join(".git").exists()).unwrap_or(directory)
}
