//! The protocol between clients, schedulers and executors. The comments in `proto/seagull/v1/*.proto` are its
//! specification; [`v1`] is generated from them, [`convert`] leads between messages and the types of
//! `seagull_domain` and refuses whatever breaks the specification.

pub mod convert;
pub mod endpoint;
pub mod limits;
pub mod protocol;
pub mod status;
pub mod token;
pub mod upload;

/// The generated messages, clients and servers.
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    reason = "the code is generated"
)]
pub mod v1 {
    tonic::include_proto!("seagull.v1");
}

pub use convert::Invalid;
pub use protocol::{PROTOCOL, Unsupported, agree};
pub use token::{AddToken, RequireToken, Token};
