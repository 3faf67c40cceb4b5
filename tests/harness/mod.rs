//! What the cases stand on: suites in directories of their own, running commands, and what they said.

mod authority;
mod chance;
mod cluster;
mod docker;
mod elasticsearch;
mod finished;
mod marked;
mod minio;
mod place;
mod plain;
mod proxy;
mod python;
mod running;
mod schema;
mod suite;

pub use authority::Authority;
pub use chance::Chance;
pub use cluster::{Cluster, GONE};
pub use docker::{DECLARING, Docker, IMAGE, Question, Victim, WITH_PYTEST, Way, When};
pub use elasticsearch::Elasticsearch;
pub use finished::Finished;
pub use marked::Marked;
pub use minio::Minio;
pub use place::{Namespace, Place, skip};
pub use proxy::{Fault, Proxy, Request};
pub use python::Packages;
pub use running::{Running, until};
pub use suite::Suite;

use serde_json::Value;

/// Whether an event has this name.
pub fn is(name: &'static str) -> impl Fn(&Value) -> bool {
    move |event| event["event"] == name
}

/// A text field of an event.
pub fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap_or_else(|| panic!("no text {field} in {event}"))
}
