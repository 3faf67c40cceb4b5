//! A file's way to a scheduler's blobs.

use std::io;

use seagull_domain::{Digest, RunId};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::convert::BlobPart;
use crate::endpoint::Authorized;
use crate::limits::CHUNK_BYTES;
use crate::v1::PutRequest;
use crate::v1::blobs_client::BlobsClient;

/// Pieces that are read before the connection has taken them.
const AHEAD: usize = 4;

/// Stores a file as a blob, of a run if it belongs to one alone, in one attempt. The error is the file's; what the scheduler says is apart.
pub async fn put_file(
    mut blobs: BlobsClient<Authorized>,
    (digest, run): (Digest, Option<RunId>),
    mut file: File,
) -> io::Result<Result<(), Status>> {
    let size = file.metadata().await?.len();
    let (parts, receiver) = mpsc::channel::<PutRequest>(AHEAD);
    let read = async move {
        if parts.send(BlobPart::Header { digest, size, run }.into()).await.is_err() {
            return Ok(());
        }
        loop {
            let mut data = vec![0; CHUNK_BYTES];
            let length = file.read(&mut data).await?;
            data.truncate(length);
            // The scheduler may answer before it has all, if it has the blob already.
            if length == 0 || parts.send(BlobPart::Data(data.into()).into()).await.is_err() {
                return Ok(());
            }
        }
    };
    let (read, put) = tokio::join!(read, blobs.put(ReceiverStream::new(receiver)));
    read.map(|()| put.map(drop))
}
