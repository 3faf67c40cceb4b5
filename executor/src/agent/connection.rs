//! Calls to the scheduler: domain types in and out.
#![expect(clippy::disallowed_methods, reason = "a shell: calls that failed are tried again after a while")]

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use seagull_domain::{BundleContents, Digest, Report, RunId};
use seagull_proto::convert::{
    Answer, BlobAsked, BlobPart, BlobPiece, BundleAsked, LogChunk, OutputTold, RunDescription,
};
use seagull_proto::endpoint::{Authorized, blobs_client, executors_client};
use seagull_proto::limits::CHUNK_BYTES;
use seagull_proto::upload::put_file;
use seagull_proto::v1::blobs_client::BlobsClient;
use seagull_proto::v1::executors_client::ExecutorsClient;
use seagull_proto::{Token, v1};
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// Cheap to clone; reconnects by itself.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    executors: ExecutorsClient<Authorized>,
    blobs: BlobsClient<Authorized>,
}

/// Whether no retry will change the answer.
fn is_final(status: &Status) -> bool {
    refuses_executor(status) || status.code() == Code::NotFound
}

/// Whether the scheduler will have nothing to do with this executor.
pub(crate) fn refuses_executor(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unauthenticated | Code::PermissionDenied | Code::FailedPrecondition | Code::InvalidArgument
    )
}

/// Whether the scheduler will never take a chunk of a log. Who may not speak to it at all hears so when it reports.
pub(crate) fn refuses_log(status: &Status) -> bool {
    matches!(status.code(), Code::NotFound | Code::FailedPrecondition | Code::InvalidArgument)
}

fn invalid(error: impl std::fmt::Display) -> Status {
    Status::internal(format!("the scheduler's answer is invalid: {error}"))
}

impl Connection {
    pub fn new(channel: Channel, token: &Token) -> Connection {
        Connection {
            executors: executors_client(channel.clone(), token),
            blobs: blobs_client(channel, token),
        }
    }

    pub async fn synchronize(&self, report: Report) -> Result<Answer, Status> {
        let answer = self.executors.clone().synchronize(v1::ReportMessage::from(report)).await?;
        answer.into_inner().try_into().map_err(invalid)
    }

    pub async fn run(&self, run: RunId) -> Result<RunDescription, Status> {
        let ask = || async { self.executors.clone().get_run(v1::GetRunRequest::from(run.clone())).await };
        insist(ask).await?.into_inner().try_into().map_err(invalid)
    }

    pub async fn bundle(&self, asked: BundleAsked) -> Result<BundleContents, Status> {
        let ask =
            || async { self.executors.clone().get_bundle(v1::GetBundleRequest::from(asked.clone())).await };
        insist(ask).await?.into_inner().try_into().map_err(invalid)
    }

    /// Says how long the log is now.
    pub async fn put_log(&self, chunk: LogChunk) -> Result<u64, Status> {
        let answer = self.executors.clone().put_log(v1::PutLogRequest::from(chunk)).await?;
        Ok(answer.into_inner().durable)
    }

    /// Once: it is as well lost.
    pub async fn tell_output(&self, told: OutputTold) -> Result<(), Status> {
        self.executors.clone().tell_output(v1::OutputTold::from(told)).await.map(drop)
    }

    /// Stores a blob; one that is there already is the same.
    pub async fn put_blob(&self, digest: Digest, bytes: Vec<u8>) -> Result<(), Status> {
        let put = || async {
            let header = BlobPart::Header { digest, size: bytes.len() as u64, run: None };
            let chunks: Vec<_> =
                bytes.chunks(CHUNK_BYTES).map(|chunk| BlobPart::Data(chunk.to_vec().into())).collect();
            let parts = std::iter::once(header).chain(chunks).map(v1::PutRequest::from);
            self.blobs.clone().put(tokio_stream::iter(parts)).await
        };
        insist(put).await.map(|_| ())
    }

    /// Stores a file of a run as a blob, once.
    pub async fn put_file(&self, run: RunId, digest: Digest, file: std::fs::File) -> Result<(), Status> {
        let file = tokio::fs::File::from_std(file);
        let put = put_file(self.blobs.clone(), (digest, Some(run)), file).await;
        put.unwrap_or_else(|error| Err(Status::internal(error.to_string())))
    }

    /// Fetches a blob, handing on its pieces. An attempt that breaks off goes on where it was.
    pub async fn get_blob(
        &self,
        digest: Digest,
        mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<(), Status> {
        let mut offset = 0;
        let mut patience = Patience::default();
        loop {
            let fetched = self.get_from(digest, &mut offset, &mut take).await;
            match fetched {
                Err(status) if patience.bears(&status) => patience.rest().await,
                outcome => return outcome,
            }
        }
    }

    async fn get_from(
        &self,
        digest: Digest,
        offset: &mut u64,
        take: &mut impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<(), Status> {
        let asked = v1::GetRequest::from(BlobAsked { digest, offset: *offset, run: None });
        let mut pieces = self.blobs.clone().get(asked).await?.into_inner();
        while let Some(piece) = pieces.next().await {
            let piece = BlobPiece::try_from(piece?).map_err(invalid)?;
            take(&piece.data).map_err(|error| Status::failed_precondition(error.to_string()))?;
            *offset += piece.data.len() as u64;
        }
        Ok(())
    }
}

/// How often the scheduler may say that it is in trouble.
const RETRIES: u32 = 30;

/// How a call is tried again: as long as the scheduler is away, for only it can say whether the answer is still wanted,
/// and for a while if it answers that it is in trouble.
#[derive(Debug, Default)]
struct Patience {
    failures: u32,
    troubles: u32,
}

impl Patience {
    /// Whether there may be another try.
    fn bears(&mut self, status: &Status) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.troubles += u32::from(status.code() != Code::Unavailable);
        !is_final(status) && self.troubles <= RETRIES
    }

    async fn rest(&self) {
        tokio::time::sleep(backoff(self.failures)).await;
    }
}

/// Longer and longer, to two seconds.
pub(crate) fn backoff(failures: u32) -> Duration {
    jittered(Duration::from_millis(50 << failures.min(5)).min(Duration::from_secs(2)))
}

/// Between half of it and all, by chance: what has lost the same scheduler does not come back at the same moment.
pub fn jittered(wait: Duration) -> Duration {
    let chance = RandomState::new().hash_one(()) % 512;
    wait.mul_f64((512 + chance) as f64 / 1024.0)
}

/// Calls again until there is an answer that a retry will not change.
async fn insist<T, F: Future<Output = Result<T, Status>>>(mut call: impl FnMut() -> F) -> Result<T, Status> {
    let mut patience = Patience::default();
    loop {
        match call().await {
            Err(status) if patience.bears(&status) => patience.rest().await,
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_waited_out_and_a_lasting_trouble_is_not() {
        let mut patience = Patience::default();
        let mut tries = |status: Status| (0..1000).take_while(|_| patience.bears(&status)).count();
        assert_eq!(tries(Status::unavailable("away")), 1000);
        assert_eq!(tries(Status::internal("disk")), RETRIES as usize);
        assert_eq!(tries(Status::not_found("gone")), 0);
    }
}
