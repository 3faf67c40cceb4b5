//! Blobs in and out, piece by piece.
#![expect(clippy::disallowed_methods, reason = "a shell: blobs are read and written by blocking I/O")]

use std::io::{Read, Seek, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;

use seagull_proto::convert::{BlobAsked, BlobPart, BlobPiece};
use seagull_proto::limits::CHUNK_BYTES;
use seagull_proto::v1::blobs_server::Blobs;
use seagull_proto::{status, v1};
use seagull_results::{Error, SMALL_BYTES, Why};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::blocking;
use crate::service::Service;

pub(crate) struct Face(pub Arc<Service>);

type Pieces = Pin<Box<dyn Stream<Item = Result<v1::GetResponse, Status>> + Send>>;

/// What a store does not do at the moment it does later, so that whoever wants a blob waits for it.
fn refused(error: &Error) -> Status {
    let said = error.to_string();
    match error {
        Error::NoBlob(_) => Status::not_found(said),
        Error::Full { .. } => Status::resource_exhausted(said),
        Error::Store { trouble, .. } if trouble.why == Why::Corrupt => Status::data_loss(said),
        Error::Store { trouble, .. } if trouble.why.passes() => status::out_of_reach(said),
        Error::Digest { .. } | Error::Source(_) => Status::data_loss(said),
        _ if error.is_full() => Status::unavailable(said),
        _ => Status::internal(said),
    }
}

#[tonic::async_trait]
impl Blobs for Face {
    type GetStream = Pieces;

    async fn missing(
        &self,
        request: Request<v1::MissingRequest>,
    ) -> Result<Response<v1::MissingResponse>, Status> {
        let digests: Vec<seagull_domain::Digest> = request.into_inner().try_into()?;
        let blobs = self.0.blobs.clone();
        let look = move || digests.into_iter().filter(|digest| !blobs.contains(digest)).collect::<Vec<_>>();
        let missing = blocking(move || Ok::<_, String>(look())).await?;
        Ok(Response::new(missing.into()))
    }

    async fn put(
        &self,
        request: Request<Streaming<v1::PutRequest>>,
    ) -> Result<Response<v1::PutResponse>, Status> {
        self.0.may_change()?;
        let mut parts = request.into_inner();
        let first = parts.next().await.ok_or_else(|| Status::invalid_argument("an empty stream"))??;
        let BlobPart::Header { digest, size, run } = first.try_into()? else {
            return Err(Status::invalid_argument("the first message is not the header"));
        };
        let of = match run.filter(|_| size <= SMALL_BYTES) {
            Some(run) => self.0.is_under_way(&run).await.then(|| self.0.attached(&run)),
            None => None,
        };
        let blobs = self.0.blobs.clone();
        let open = move || of.map_or_else(|| blobs.writer(size), |attached| attached.writer());
        let writer = blocking(move || Ok::<_, String>(open())).await?;
        let mut writer = writer.map_err(|error| refused(&error))?;
        let mut received = 0;
        while let Some(part) = parts.next().await {
            let BlobPart::Data(data) = part?.try_into()? else {
                return Err(Status::invalid_argument("a second header"));
            };
            received += data.len() as u64;
            if received > size {
                return Err(Status::invalid_argument("more data than the header says"));
            }
            let written = blocking(move || Ok::<_, String>(writer.write(&data).map(|()| writer))).await?;
            writer = written.map_err(|error| refused(&error))?;
        }
        let finished = blocking(move || Ok::<_, String>(writer.finish(Some(digest)))).await?;
        finished.map_err(|error| refused(&error))?;
        Ok(Response::new(v1::PutResponse {}))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<Pieces>, Status> {
        let BlobAsked { digest, offset, run } = request.into_inner().try_into()?;
        let service = self.0.clone();
        let read = move || match run {
            Some(run) => service.attachment(&run, &digest),
            None => service.blobs.read(&digest),
        };
        let found = blocking(move || Ok::<_, String>(read())).await?;
        let mut file = found.map_err(|error| refused(&error))?;
        let (sender, pieces) = tokio::sync::mpsc::channel(4);
        tokio::task::spawn_blocking(move || {
            let mut read = || -> std::io::Result<()> {
                let mut size = Some(file.metadata()?.len());
                file.seek(SeekFrom::Start(offset))?;
                loop {
                    let mut data = Vec::with_capacity(CHUNK_BYTES);
                    file.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut data)?;
                    let last = data.len() < CHUNK_BYTES;
                    let piece = BlobPiece { size: size.take(), data: data.into() };
                    if sender.blocking_send(Ok(piece.into())).is_err() || last {
                        return Ok(());
                    }
                }
            };
            if let Err(error) = read() {
                let _ = sender.blocking_send(Err(Status::internal(error.to_string())));
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(pieces))))
    }
}
