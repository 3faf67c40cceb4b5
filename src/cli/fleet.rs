//! The options of `seagull scheduler`, `seagull results-proxy`, `seagull executor` and `seagull executor drain`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use seagull_domain::ExecutorId;
use seagull_executor::notice::{Endpoint, Source};
use tonic::transport::Uri;

use super::{Gc, StateArgs, TlsArgs, TokenArgs, url};
use crate::config::cpus;
use crate::duration;
use crate::memory;

const SCHEDULER_EXAMPLES: &str = "\
Examples:
  seagull scheduler --state /var/lib/seagull
  seagull scheduler --blobs 's3://ci-results/seagull?region=eu-central-1'
  seagull scheduler --index 'es+https://es.example.com:9200?api-key=env:ES_KEY'
  seagull scheduler --listen 0.0.0.0:7878 --tls-cert server.pem --tls-key server.key

Clients and executors need the token that is made at the first start: pass them the file
DIR/token, or a copy of it, with --token-file. Runs survive the scheduler: started again with the
same state directory, it goes on.
";

const PROXY_EXAMPLES: &str = "\
Examples:
  seagull results-proxy --token-file token --listen 127.0.0.1:7879 \\
      --blobs 's3://ci-results/seagull?region=eu-central-1' --index es+https://es.example.com:9200
  seagull results RUN --scheduler http://127.0.0.1:7879 --token-file token

It keeps nothing but copies: any number of them may run, and none is missed when it ends.
";

const EXECUTOR_EXAMPLES: &str = "\
Examples:
  seagull executor --scheduler http://127.0.0.1:7878 --token-file token --slots 8 --label zone=a
  seagull executor --scheduler https://ci.example.com:7878 --token-file token --tls-ca ca.pem
  seagull executor --scheduler https://ci.example.com:7878 --token-file token --notice ec2
  seagull executor drain e-one e-two --scheduler http://127.0.0.1:7878 --token-file token --wait
  seagull executor gc --dry-run

Ctrl-C, SIGTERM or a closed terminal once: it drains. It takes nothing new, gives back what has
not started, lets what runs end within --drain-limit, gives back what does not, and leaves with
exit code 0. Twice: it ends now, and the scheduler gives its tests to others.
";

const DRAIN_LIMIT: &str = "2m";

/// Options of `seagull scheduler`.
#[derive(Debug, Clone, Args)]
#[command(after_help = SCHEDULER_EXAMPLES)]
pub struct Scheduler {
    #[command(flatten)]
    pub face: FaceArgs,
    #[command(flatten)]
    pub state: StateArgs,
    /// Keep blobs and the logs of ended runs in this store too: s3://BUCKET/PREFIX?region=REGION, or file:/DIR; what waits for
    /// it is in the state directory
    #[arg(long, value_name = "URL", env = "SEAGULL_BLOBS", hide_env_values = true)]
    pub blobs: Option<String>,
    /// Where results are indexed: es+https://HOST:PORT/PREFIX, es+http:// or sqlite:PATH [default: in the state directory]
    #[arg(long, value_name = "URL", env = "SEAGULL_INDEX", hide_env_values = true)]
    pub index: Option<String>,
    /// How much may wait on this disk for the store, and as much for the index, before executors are slowed
    #[arg(long, value_name = "SIZE", default_value = "20GiB", value_parser = memory::parse_kib)]
    pub spool: u64,
    /// How long an executor may be silent before its tests go elsewhere
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = lease)]
    pub lease: Duration,
}

/// Where a server can be reached, and how.
#[derive(Debug, Clone, Args)]
pub struct FaceArgs {
    /// The address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7878", value_parser = address)]
    pub listen: SocketAddr,
    /// Speak TLS with this certificate and what leads to its authority, a PEM file that is read at the start
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of the certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Listen beyond this machine though what is sent is not encrypted, the token neither
    #[arg(long, conflicts_with = "tls_cert")]
    pub insecure: bool,
}

/// Options of `seagull results-proxy`.
#[derive(Debug, Clone, Args)]
#[command(after_help = PROXY_EXAMPLES)]
pub struct ResultsProxy {
    #[command(flatten)]
    pub face: FaceArgs,
    #[command(flatten)]
    pub token: TokenArgs,
    /// The store of the scheduler, as it is told of it
    #[arg(long, value_name = "URL", env = "SEAGULL_BLOBS", hide_env_values = true)]
    pub blobs: String,
    /// The index of the scheduler, without which runs are only found by their ids
    #[arg(long, value_name = "URL", env = "SEAGULL_INDEX", hide_env_values = true)]
    pub index: Option<String>,
}

/// Options of `seagull executor`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXECUTOR_EXAMPLES, subcommand_negates_reqs = true, disable_help_subcommand = true)]
pub struct Executor {
    #[command(subcommand)]
    pub command: Option<OfExecutors>,
    /// The scheduler's address
    #[arg(long, value_name = "URL", value_parser = url, required = true)]
    pub scheduler: Option<Uri>,
    #[command(flatten)]
    pub token: TokenArgs,
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Tests at a time [default: this machine's cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub slots: Option<u16>,
    /// How much memory its tests in containers, and services, may have together [default: nine tenths of this machine's]
    #[arg(long, value_name = "SIZE", value_parser = memory::parse_kib)]
    pub memory: Option<u64>,
    /// How many cores they may have together [default: this machine's]
    #[arg(long, value_name = "N", value_parser = cpus)]
    pub cpus: Option<u32>,
    /// How much disk the images that it fetches for services and tests may take; what was used longest ago goes
    #[arg(long, value_name = "SIZE", default_value = "20GiB", value_parser = memory::parse_kib)]
    pub images: u64,
    /// Where unpacked artifacts and the framework's caches are kept [default: .seagull beside seagull.toml, else at the
    /// top of the repository, else here]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// The executor's name [default: host, process and chance]
    #[arg(long, value_name = "NAME")]
    pub id: Option<ExecutorId>,
    /// A label of this machine; the scheduler is told, but does not go by it yet; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// Leave within so long of a signal or a notice: what runs goes on until there is just time to tear it down, and then
    /// runs elsewhere
    #[arg(long, value_name = "DURATION", default_value = DRAIN_LIMIT, value_parser = duration::parse)]
    pub drain_limit: Duration,
    /// Leave when this file is there; its first line may say how many seconds are left; may be repeated
    #[arg(long = "notice-file", value_name = "PATH")]
    pub notice_files: Vec<PathBuf>,
    /// Leave when this says that the machine is about to be taken away: ec2 (a spot instance's metadata), or ec2=URL
    #[arg(long = "notice", value_name = "SOURCE", value_parser = notice)]
    pub notices: Vec<Source>,
}

#[derive(Debug, Clone, Subcommand)]
pub enum OfExecutors {
    /// Have executors take nothing more, give back what they have not started, and leave
    ///
    /// Returns when each says that it drains. Costs no test anything: what an executor gives back runs elsewhere.
    Drain(Drain),
    /// Remove what is left on the Docker engine of sandboxes whose lease has ended, or whose owner is dead
    ///
    /// Of all installations on this engine. What another machine or container owns goes by its lease alone.
    Gc(Gc),
}

/// Options of `seagull executor drain`.
#[derive(Debug, Clone, Args)]
pub struct Drain {
    /// The executors' names, as they say them when they start
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<ExecutorId>,
    /// The scheduler's address
    #[arg(long, value_name = "URL", value_parser = url)]
    pub scheduler: Uri,
    #[command(flatten)]
    pub token: TokenArgs,
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Within how long each has to leave: what runs goes on until there is just time to tear it down
    #[arg(long, value_name = "DURATION", default_value = DRAIN_LIMIT, value_parser = duration::parse)]
    pub limit: Duration,
    /// Return when they have left
    #[arg(long)]
    pub wait: bool,
}

/// What tells an executor that its machine is about to be taken away.
fn notice(text: &str) -> Result<Source, String> {
    match text.split_once('=') {
        None if text == "ec2" => Ok(Source::Ec2(Endpoint::default())),
        Some(("ec2", url)) => url.parse().map(Source::Ec2),
        _ => Err("expected ec2, or ec2=URL".to_owned()),
    }
}

/// An address and a port, or a host's name and a port.
fn address(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    found.ok_or_else(|| "expected ADDRESS:PORT".to_owned())
}

/// Shorter than a second it would be lost by every pause of the network.
fn lease(text: &str) -> Result<Duration, String> {
    let lease = duration::parse(text)?;
    if lease >= Duration::from_secs(1) { Ok(lease) } else { Err("expected at least 1s".to_owned()) }
}

fn label(text: &str) -> Result<(String, String), String> {
    let split = text.split_once('=').filter(|(key, _)| !key.is_empty());
    split
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| "expected KEY=VALUE".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_at_least_a_second() {
        assert_eq!(lease("1s"), Ok(Duration::from_secs(1)));
        assert!(lease("999ms").is_err() && lease("soon").is_err());
    }

    #[test]
    fn labels_have_a_key_and_a_value() {
        assert_eq!(label("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(label("=b").is_err() && label("a").is_err());
    }
}
