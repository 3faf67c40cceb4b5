//! A real server and a real client, over memory: the token and the message limit hold.
#![expect(clippy::disallowed_methods, reason = "a test server is a task")]

use hyper_util::rt::TokioIo;
use seagull_domain::Digest;
use seagull_proto::convert::{BlobAsked, BlobPart, BlobPiece};
use seagull_proto::endpoint::{self, Authorized};
use seagull_proto::v1::blobs_client::BlobsClient;
use seagull_proto::v1::blobs_server::Blobs;
use seagull_proto::{AddToken, Token, limits, v1};
use tokio_stream::{Iter, StreamExt};
use tonic::transport::{Channel, Endpoint, Server, Uri};
use tonic::{Code, Request, Response, Status, Streaming};

/// Stores nothing: says that all is missing, takes all, and answers with two pieces.
struct Shelf;

#[tonic::async_trait]
impl Blobs for Shelf {
    async fn missing(
        &self,
        request: Request<v1::MissingRequest>,
    ) -> Result<Response<v1::MissingResponse>, Status> {
        let digests: Vec<Digest> = request.into_inner().try_into()?;
        Ok(Response::new(digests.into()))
    }

    async fn put(
        &self,
        request: Request<Streaming<v1::PutRequest>>,
    ) -> Result<Response<v1::PutResponse>, Status> {
        let mut parts = request.into_inner();
        while let Some(part) = parts.message().await? {
            BlobPart::try_from(part)?;
        }
        Ok(Response::new(v1::PutResponse {}))
    }

    type GetStream = Iter<std::vec::IntoIter<Result<v1::GetResponse, Status>>>;

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<Self::GetStream>, Status> {
        let BlobAsked { offset, .. } = request.into_inner().try_into()?;
        let piece = |size, length: usize| Ok(BlobPiece { size, data: vec![7; length].into() }.into());
        let length = usize::try_from(offset).map_err(|_| Status::out_of_range("offset"))?;
        Ok(Response::new(tokio_stream::iter(vec![piece(Some(offset), 1), piece(None, length)])))
    }
}

fn token(text: &str) -> Token {
    text.parse().unwrap()
}

/// A channel to a server of its own, which ends with the test.
async fn channel() -> Channel {
    let (client, server) = tokio::io::duplex(64 << 10);
    let shelf = endpoint::blobs_server(Shelf, &token("right"));
    let connections = tokio_stream::once(Ok::<_, std::io::Error>(server)).chain(tokio_stream::pending());
    tokio::spawn(Server::builder().add_service(shelf).serve_with_incoming(connections));
    let mut client = Some(client);
    let connect = tower::service_fn(move |_: Uri| {
        let client = client.take().ok_or_else(|| std::io::Error::other("connected twice"));
        std::future::ready(client.map(TokioIo::new))
    });
    Endpoint::from_static("http://memory").connect_with_connector(connect).await.unwrap()
}

fn digests(count: usize) -> v1::MissingRequest {
    v1::MissingRequest { digests: vec![vec![7; 32].into(); count] }
}

/// The sizes of the pieces that the shelf answers with, the last one of so many bytes.
async fn sizes(client: &mut BlobsClient<Authorized>, last: usize) -> Result<Vec<usize>, Status> {
    let asked = BlobAsked { digest: Digest([7; 32]), offset: last as u64, run: None };
    let mut pieces = client.get(v1::GetRequest::from(asked)).await?.into_inner();
    let mut sizes = Vec::new();
    while let Some(piece) = pieces.message().await? {
        sizes.push(piece.data.len());
    }
    Ok(sizes)
}

#[tokio::test]
async fn only_calls_with_the_token_are_answered() {
    let channel = channel().await;
    let mut friend = endpoint::blobs_client(channel.clone(), &token("right"));
    assert_eq!(friend.missing(digests(3)).await.unwrap().into_inner().digests.len(), 3);
    let mut stranger = endpoint::blobs_client(channel.clone(), &token("wrong"));
    assert_eq!(stranger.missing(digests(3)).await.unwrap_err().code(), Code::Unauthenticated);
    let mut nobody = BlobsClient::new(channel);
    assert_eq!(nobody.missing(digests(3)).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn what_breaks_the_specification_is_an_invalid_argument() {
    let mut client = endpoint::blobs_client(channel().await, &token("right"));
    let refusal = client.missing(digests(limits::DIGESTS + 1)).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert!(refusal.message().contains("MissingRequest.digests"), "{refusal}");
    let empty = tokio_stream::iter([v1::PutRequest { part: None }]);
    assert_eq!(client.put(empty).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn no_message_is_over_the_limit() {
    let channel = channel().await;
    let mut client = endpoint::blobs_client(channel.clone(), &token("right"));
    let over = digests(limits::MESSAGE_BYTES / 32);
    // Our own client does not send it: the server, which would say `OutOfRange`, never sees it.
    assert_eq!(client.missing(over.clone()).await.unwrap_err().code(), Code::Internal);
    // The server does not read it from another one.
    let add = AddToken::new(token("right"));
    let mut careless = BlobsClient::with_interceptor(channel, add);
    assert_eq!(careless.missing(over).await.unwrap_err().code(), Code::OutOfRange);
    // The server does not send it.
    assert_eq!(sizes(&mut client, limits::MESSAGE_BYTES).await.unwrap_err().code(), Code::OutOfRange);
    assert_eq!(sizes(&mut client, limits::CHUNK_BYTES).await.unwrap(), [1, limits::CHUNK_BYTES]);
    // What is within the limit still passes on the same connection.
    assert!(client.missing(digests(limits::DIGESTS)).await.is_ok());
}
