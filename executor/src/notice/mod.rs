//! Notices: what outside of the scheduler says that this executor has to go. Each source is a file of its own; none of
//! them ever fails, for an executor that cannot be told works as one that is not.

mod ec2;
mod file;

use std::path::PathBuf;
use std::time::Duration;

pub use ec2::Endpoint;
pub use seagull_executor_core::Notice;

use crate::setup::Tell;

/// How often sources are looked at.
const POLL: Duration = Duration::from_secs(2);

/// Where a notice may come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file that appears.
    File(PathBuf),
    /// The metadata of an EC2 instance.
    Ec2(Endpoint),
}

impl Source {
    /// Until there is a notice; it holds for `limit` if it does not say how much time there is.
    pub(crate) async fn notice(&self, limit: Duration, tell: &Tell) -> Notice {
        match self {
            Source::File(path) => file::notice(path, limit).await,
            Source::Ec2(endpoint) => ec2::notice(endpoint, tell).await,
        }
    }
}
