//! Clients and servers with the protocol's message limit and token, so that nobody can forget either.

use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use crate::limits::MESSAGE_BYTES;
use crate::token::{AddToken, RequireToken, Token};
use crate::v1::blobs_client::BlobsClient;
use crate::v1::blobs_server::{Blobs, BlobsServer};
use crate::v1::executors_client::ExecutorsClient;
use crate::v1::executors_server::{Executors, ExecutorsServer};
use crate::v1::runs_client::RunsClient;
use crate::v1::runs_server::{Runs, RunsServer};

/// A connection whose calls carry the token. Cheap to clone.
pub type Authorized = InterceptedService<Channel, AddToken>;
/// A service that answers only calls with the token.
pub type Guarded<S> = InterceptedService<S, RequireToken>;

macro_rules! ends {
    ($client:ident, $server:ident, $Service:ident, $Client:ident, $Server:ident) => {
        pub fn $client(channel: Channel, token: &Token) -> $Client<Authorized> {
            $Client::with_interceptor(channel, AddToken::new(token.clone()))
                .max_decoding_message_size(MESSAGE_BYTES)
                .max_encoding_message_size(MESSAGE_BYTES)
        }

        pub fn $server<S: $Service>(service: S, token: &Token) -> Guarded<$Server<S>> {
            let server = $Server::new(service)
                .max_decoding_message_size(MESSAGE_BYTES)
                .max_encoding_message_size(MESSAGE_BYTES);
            InterceptedService::new(server, RequireToken::new(token.clone()))
        }
    };
}

ends!(executors_client, executors_server, Executors, ExecutorsClient, ExecutorsServer);
ends!(runs_client, runs_server, Runs, RunsClient, RunsServer);
ends!(blobs_client, blobs_server, Blobs, BlobsClient, BlobsServer);
