//! The gRPC faces. Everything that arrives is validated here, before it reaches the core.
#![expect(clippy::disallowed_methods, reason = "a shell: blocking work leaves the async threads here")]

mod blobs;
mod executors;
mod runs;

use std::sync::Arc;

use seagull_proto::{Token, endpoint};
use tonic::service::Routes;

use crate::http;
use crate::service::Service;
use crate::unread::Unread;

/// All services of a scheduler; only calls that carry the token get in.
pub(crate) fn routes(service: &Arc<Service>, token: &Token) -> Routes {
    let mut routes = Routes::new(endpoint::executors_server(executors::Face(service.clone()), token))
        .add_service(endpoint::runs_server(runs::Face(service.clone()), token))
        .add_service(endpoint::blobs_server(blobs::Face(service.clone()), token));
    let api = http::Api { service: service.clone(), token: token.clone() };
    let router = routes.axum_router_mut();
    *router = std::mem::take(router).route_service(&format!("{}/{{*question}}", http::ROOT), api);
    routes
}

/// Runs blocking I/O off the async threads.
pub(crate) async fn blocking<T: Send + 'static, E: std::fmt::Display + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, tonic::Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(|error| tonic::Status::internal(error.to_string())),
        Err(error) => Err(tonic::Status::internal(error.to_string())),
    }
}

/// Likewise, to read what is kept here or in a store.
pub(crate) async fn reading<T: Send + 'static, E: Into<Unread> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, tonic::Status> {
    let read = blocking(move || Ok::<_, String>(work())).await?;
    read.map_err(|error| {
        let unread: Unread = error.into();
        unread.into()
    })
}
