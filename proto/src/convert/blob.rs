//! Blobs in pieces.

use bytes::Bytes;
use seagull_domain::{Digest, RunId};

use super::Invalid;
use super::scalar::{self, Checked};
use crate::v1::put_request;
use crate::{limits, v1};

/// A message of `Put`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobPart {
    /// The first one.
    Header {
        digest: Digest,
        size: u64,
        /// The run that it belongs to alone.
        run: Option<RunId>,
    },
    Data(Bytes),
}

/// A call of `Get`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobAsked {
    pub digest: Digest,
    pub offset: u64,
    /// The run that it belongs to, where that was said.
    pub run: Option<RunId>,
}

/// A message that `Get` answers with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobPiece {
    /// Of the whole blob; in the first piece.
    pub size: Option<u64>,
    pub data: Bytes,
}

fn bounded(size: u64, field: &'static str) -> Checked<u64> {
    scalar::at_most(size, limits::BLOB_BYTES, field)
}

impl From<BlobPart> for v1::PutRequest {
    fn from(part: BlobPart) -> Self {
        let part = match part {
            BlobPart::Header { digest, size, run } => put_request::Part::Header(v1::BlobHeader {
                digest: scalar::digest_bytes(digest),
                size,
                run: run.map(|run| run.to_string()),
            }),
            BlobPart::Data(data) => put_request::Part::Data(data),
        };
        Self { part: Some(part) }
    }
}

impl TryFrom<v1::PutRequest> for BlobPart {
    type Error = Invalid;

    fn try_from(message: v1::PutRequest) -> Checked<Self> {
        Ok(match scalar::required(message.part, "PutRequest.part")? {
            put_request::Part::Header(header) => Self::Header {
                digest: scalar::digest(&header.digest, "BlobHeader.digest")?,
                size: bounded(header.size, "BlobHeader.size")?,
                run: header.run.map(|run| scalar::id(run, "BlobHeader.run")).transpose()?,
            },
            put_request::Part::Data(data) => {
                Self::Data(scalar::data(data, limits::CHUNK_BYTES, "PutRequest.data")?)
            }
        })
    }
}

impl From<BlobAsked> for v1::GetRequest {
    fn from(asked: BlobAsked) -> Self {
        Self {
            digest: scalar::digest_bytes(asked.digest),
            offset: asked.offset,
            run: asked.run.map(|run| run.to_string()),
        }
    }
}

impl TryFrom<v1::GetRequest> for BlobAsked {
    type Error = Invalid;

    fn try_from(message: v1::GetRequest) -> Checked<Self> {
        Ok(Self {
            digest: scalar::digest(&message.digest, "GetRequest.digest")?,
            offset: bounded(message.offset, "GetRequest.offset")?,
            run: message.run.map(|run| scalar::id(run, "GetRequest.run")).transpose()?,
        })
    }
}

impl From<BlobPiece> for v1::GetResponse {
    fn from(piece: BlobPiece) -> Self {
        Self { size: piece.size, data: piece.data }
    }
}

impl TryFrom<v1::GetResponse> for BlobPiece {
    type Error = Invalid;

    fn try_from(message: v1::GetResponse) -> Checked<Self> {
        Ok(Self {
            size: message.size.map(|size| bounded(size, "GetResponse.size")).transpose()?,
            data: scalar::data(message.data, limits::CHUNK_BYTES, "GetResponse.data")?,
        })
    }
}

macro_rules! digests {
    ($($message:ident),+) => {$(
        impl From<Vec<Digest>> for v1::$message {
            fn from(digests: Vec<Digest>) -> Self {
                Self { digests: digests.into_iter().map(scalar::digest_bytes).collect() }
            }
        }

        impl TryFrom<v1::$message> for Vec<Digest> {
            type Error = Invalid;

            fn try_from(message: v1::$message) -> Checked<Self> {
                const FIELD: &str = concat!(stringify!($message), ".digests");
                scalar::list(message.digests, limits::DIGESTS, FIELD, |bytes| scalar::digest(&bytes, FIELD))
            }
        }
    )+};
}

digests!(MissingRequest, MissingResponse);
