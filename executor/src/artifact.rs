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
