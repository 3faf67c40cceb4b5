//! A scheduler that runs: options in, a server out, on TCP or on a transport within the process.
#![expect(clippy::disallowed_methods, reason = "a shell: the server's tasks start here")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use seagull_proto::Token;
use seagull_results::index::{self, Address, Index, SqliteIndex};
use seagull_results::{Archive, Blobs, History, Key, Remote, StoreUrl};
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::transport::{Channel, Endpoint, Identity, ServerTlsConfig, Uri};

use crate::actor::{Actor, Ends};
use crate::committer::Committer;
use crate::disk::Disk;
use crate::elsewhere::Copies;
use crate::indexer::{self, Spool};
use crate::journal::{self, Journal};
use crate::outputs::Outputs;
use crate::requests::Handle;
use crate::restored::Copy;
use crate::room::Room;
use crate::service::{Service, attached_of, logs_of};
use crate::warn;
use crate::{Settings, errand, grpc, restored, uploads};

/// How many requests wait for the core before callers wait too.
const QUEUE: usize = 1024;
/// Bytes in flight on the transport within the process.
const PIPE: usize = 1 << 20;
/// How long a client may take to make a connection safe.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A connection that is silent for so long is asked whether it lives, and closed if it does not answer for as long
/// again: a client without a network is gone. Not before the lease is over, which says what silence of executors means.
const SILENCE: Duration = Duration::from_secs(20);

/// How often a results proxy looks whether what it reads from can be read.
const LOOK: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub struct Options {
    /// Where the journal is: the state directory itself, or the directory of an embedded run.
    pub journal: PathBuf,
    /// The state directory: history, blobs, runs.
    pub state: PathBuf,
    /// The store behind the state directory, where blobs and the logs of ended runs go.
    pub blobs: Option<StoreUrl>,
    /// Where what runs come to is indexed; in the state directory if None.
    pub index: Option<Address>,
    /// Bytes that may wait for the store, and as many for the index, before executors are slowed.
    pub spool: u64,
    pub settings: Settings,
    pub token: Token,
    /// It serves what store and index have, and takes no runs.
    pub reads_only: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Journal(#[from] journal::Error),
    #[error("state directory {path}: {message}")]
    State { path: PathBuf, message: String },
    #[error(
        "cannot listen on {address}: {source}\nhint: --listen takes another address; port 0 is any that is free"
    )]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Store(seagull_results::Error),
    #[error(transparent)]
    Index(#[from] index::Error),
    #[error("nothing more can be kept: {0}")]
    Commit(String),
    #[error(
        "the certificate cannot be used: {0}\nhint: --tls-cert and --tls-key take PEM files, the key is that of the first certificate"
    )]
    Certificate(String),
    #[error("transport: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// A scheduler whose core runs. Faces are added by [`Server::listen`] and [`Server::connect`].
pub struct Server {
    service: Arc<Service>,
    token: Token,
    silence: Duration,
    actor: JoinHandle<Result<(), String>>,
}

impl Server {
    /// Recovers from the journal and starts the core.
    pub fn start(options: Options) -> Result<Server, Error> {
        let silence = options.settings.lease.max(SILENCE);
        let (mut journal, mut state) = Journal::open(&options.journal, options.settings)?;
        let reader = Mutex::new(journal.reader()?);
        // Other processes look at the runs of embedded schedulers.
        let is_embedded = options.journal != options.state;
        let disk = Arc::new(Disk::new(!is_embedded));
        let path = &options.state;
        // What waits for the store is for the scheduler of the state directory to send.
        let spooled = options.journal.join("spool");
        let remote =
            options.blobs.map(|url| remote(&url, &path.join("runs"), &spooled, options.spool)).transpose()?;
        let archive = in_state(path, Archive::open(&path.join("runs")))?;
        let copy = Copy { archive: &archive, runs: &path.join("runs"), reader: &reader };
        // An embedded run's journal is its own.
        let ended = if is_embedded { Vec::new() } else { copy.ended(&state, remote.as_ref()) };
        if !ended.is_empty() {
            journal.leave(&mut state, &ended)?;
        }
        let committer = Committer::start(journal, state.seq, disk.clone());
        let (requests, receiver) = mpsc::channel(QUEUE);
        let (errands, errand_queue) = mpsc::unbounded_channel();
        let (live, _) = broadcast::channel(4096);
        let actor = Handle { requests, live: live.clone(), durable: committer.durable.clone() };
        let (index, own_index, spool) = indices(path, options.index.as_ref())?;
        let spool = spool.filter(|_| !options.reads_only);
        let service = Service {
            index,
            own_index,
            spool: spool.clone(),
            copies: Copies::default(),
            room: Room::new(options.spool),
            hold: options.settings.lease / 3,
            reads_only: options.reads_only,
            actor,
            blobs: in_state(path, Blobs::open(&path.join("blobs")))?.with(remote.clone()),
            remote,
            history: in_state(path, History::open(&path.join("history.sqlite")))?,
            archive,
            outputs: Arc::new(Outputs::new(&path.join("runs"), is_embedded)),
            disk: disk.clone(),
            runs: path.join("runs"),
            journal: options.journal,
            reader,
        };
        let service = Arc::new(service);
        if !ended.is_empty() {
            tokio::task::spawn_blocking({
                let service = service.clone();
                move || restored::learn(&service, &ended)
            });
        }
        if !is_embedded {
            tokio::spawn(look(service.clone()));
        }
        if service.remote.is_some() && !options.reads_only && !is_embedded {
            tokio::spawn(uploads::run(Arc::downgrade(&service)));
        }
        tokio::spawn(errand::run(service.clone(), errand_queue));
        if let Some(spool) = spool {
            tokio::spawn(indexer::run(service.clone(), spool));
        }
        let actor = Actor::new(state, committer, Ends { requests: receiver, errands, live, disk });
        Ok(Server { service, token: options.token, silence, actor: tokio::spawn(actor.run()) })
    }

    /// Serves TCP connections, by TLS if it has a certificate; returns the address once it can be reached.
    pub async fn listen(&self, address: SocketAddr, identity: Option<Identity>) -> Result<SocketAddr, Error> {
        let mut builder = tonic::transport::Server::builder()
            .accept_http1(true)
            .tcp_nodelay(true)
            .http2_keepalive_interval(Some(self.silence))
            .http2_keepalive_timeout(Some(self.silence));
        if let Some(identity) = identity {
            let tls = ServerTlsConfig::new().identity(identity).timeout(HANDSHAKE);
            builder = builder.tls_config(tls).map_err(|error| Error::Certificate(cause(&error)))?;
        }
        let listener =
            TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
        let bound = listener.local_addr().map_err(|source| Error::Listen { address, source })?;
        let incoming = TcpListenerStream::new(listener);
        let routes = grpc::routes(&self.service, &self.token);
        tokio::spawn(builder.add_routes(routes).serve_with_incoming(incoming));
        Ok(bound)
    }

    /// A channel to this scheduler within the process: the same faces, no socket.
    pub fn connect(&self) -> Channel {
        let (connections, incoming) = mpsc::unbounded_channel::<DuplexStream>();
        let routes = grpc::routes(&self.service, &self.token);
        let router = tonic::transport::Server::builder().add_routes(routes);
        let incoming = UnboundedReceiverStream::new(incoming).map(Ok::<_, std::io::Error>);
        tokio::spawn(router.serve_with_incoming(incoming));
        let connector = tower::service_fn(move |_: Uri| {
            let (ours, theirs) = tokio::io::duplex(PIPE);
            let sent = connections.send(theirs).map_err(|_| std::io::Error::other("the scheduler has ended"));
            std::future::ready(sent.map(|()| TokioIo::new(ours)))
        });
        Endpoint::from_static("http://embedded").connect_with_connector_lazy(connector)
    }

    /// Ends when the core does: on an error of the journal, never in peace while faces live.
    pub async fn failed(&mut self) -> Error {
        match (&mut self.actor).await {
            Ok(Err(message)) => Error::Commit(message),
            Ok(Ok(())) => Error::Commit("the core has ended".to_owned()),
            Err(error) => Error::Commit(error.to_string()),
        }
    }

    /// Waits until an ended run is in the archive and its timings are kept, so that the process may end.
    pub async fn archived(&self, run: &seagull_domain::RunId) {
        let mut durable = self.service.actor.durable.clone();
        loop {
            durable.mark_unchanged();
            let (reply, answer) = oneshot::channel();
            let request = crate::requests::Request::Run { run: run.clone(), reply };
            let asked = self.service.actor.requests.send(request).await;
            if asked.is_err() || !matches!(answer.await, Ok(Some(_))) || durable.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Says at the start what is wrong with the stores. None of them is waited for, and what is wrong may be mended: nothing
/// ends for it. Who writes to them says himself when that is over; who only reads looks again.
async fn look(service: Arc<Service>) {
    let is_usable = || async {
        let Some(remote) = service.remote.clone() else { return Ok(()) };
        let looked = tokio::task::spawn_blocking(move || remote.look()).await;
        looked.map_or(Ok(()), |looked| looked.map_err(|error| error.to_string()))
    };
    if !service.reads_only {
        return is_usable().await.err().into_iter().for_each(|error| {
            warn(&format!("what goes to the store waits on this disk until it can be used: {error}"));
        });
    }
    let answers =
        || async { service.index.runs(None, None, 1).await.map(drop).map_err(|error| error.to_string()) };
    tokio::join!(look_after("store", is_usable), look_after("index", answers));
}

/// Says what is wrong with what is read from, and when that is over, as often as it happens.
async fn look_after<F: Future<Output = Result<(), String>>>(name: &str, look: impl Fn() -> F) {
    let mut is_usable = true;
    loop {
        let looked = look().await;
        if is_usable != looked.is_ok() {
            is_usable = looked.is_ok();
            warn(&looked.map_or_else(
                |error| format!("nothing is read from the {name} until it can be used: {error}"),
                |()| format!("the {name} can be used now"),
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The index to ask, the state directory's own if it is that, and what is known of one elsewhere.
type Indices = (Arc<dyn Index>, Option<SqliteIndex>, Option<Arc<Spool>>);

fn indices(state: &Path, address: Option<&Address>) -> Result<Indices, Error> {
    let Some(address) = address else {
        let own = in_state(state, SqliteIndex::open(&state.join("history.sqlite")))?;
        return Ok((Arc::new(own.clone()), Some(own), None));
    };
    let spool = in_state(state, Spool::open(&state.join("index")))?;
    Ok((index::open(address)?, None, Some(Arc::new(spool))))
}

/// What is wrong, which transports wrap.
fn cause(error: &tonic::transport::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// The store, with what waits for it in a directory. Logs and small files that have arrived there are not kept here any more.
pub(crate) fn remote(url: &StoreUrl, runs: &Path, spool: &Path, bound: u64) -> Result<Arc<Remote>, Error> {
    let (runs, archive) = (runs.to_owned(), Archive::open(runs).map_err(Error::Store)?);
    let arrived = move |key: &Key| match key {
        // One that stays takes room, and is told of where it is removed with its run.
        Key::Log(run, attempt) => drop(logs_of(&runs, run).forget(*attempt)),
        // If that is not kept, or the run is not any more, it goes up again, or does not.
        Key::Attached(run) => drop(attached_of(&runs, run).forget()),
        Key::Stream(run) => drop(archive.set_stored(run)),
        Key::Blob(_) | Key::Timings(_) | Key::Pinned(_) => {}
    };
    let opened = Remote::open(url, spool, bound, Box::new(arrived));
    opened.map(Arc::new).map_err(Error::Store)
}

fn in_state<T, E: std::fmt::Display>(path: &Path, opened: Result<T, E>) -> Result<T, Error> {
    opened.map_err(|error| Error::State { path: path.to_owned(), message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use seagull_domain::{AttemptId, RunId, TextRef};
    use seagull_proto::convert::{self, LogChunk, TextAsked};
    use seagull_proto::{PROTOCOL, endpoint, v1};
    use tonic::Code;

    use super::*;
    use crate::service::tests::spec;

    fn chunk(run: &RunId, offset: u64, data: &'static [u8]) -> v1::PutLogRequest {
        LogChunk { run: run.clone(), attempt: AttemptId(1), offset, data: data.into() }.into()
    }

    fn text(run: &RunId, attempt: u64) -> v1::ReadLogRequest {
        let text = TextRef { log: AttemptId(attempt), offset: 0, length: 9 };
        TextAsked { run: run.clone(), text }.into()
    }

    fn start(state: &Path) -> (Server, Token) {
        start_with(state, state)
    }

    fn start_with(journal: &Path, state: &Path) -> (Server, Token) {
        let token: Token = "secret".parse().unwrap();
        let options = Options {
            journal: journal.to_owned(),
            state: state.to_owned(),
            blobs: None,
            index: None,
            spool: u64::MAX,
            settings: Settings::default(),
            token: token.clone(),
            reads_only: false,
        };
        (Server::start(options).unwrap(), token)
    }

    #[tokio::test]
    async fn other_releases_are_refused_whether_older_or_newer() {
        let state = tempfile::tempdir().unwrap();
        let (server, token) = start(state.path());
        let mut executor = endpoint::executors_client(server.connect(), &token);
        let mut client = endpoint::runs_client(server.connect(), &token);
        let (older, newer) = (PROTOCOL.min - 1, PROTOCOL.max + 1);
        for (min, max) in [(older, older), (newer, newer + 1)] {
            let protocol = Some(v1::ProtocolRange { min, max });
            let report = v1::ReportMessage { protocol, ..Default::default() };
            let submission = convert::submission(spec("r")).unwrap();
            let submission = v1::SubmitRequest { protocol, ..submission };
            let refused = [
                executor.synchronize(report).await.unwrap_err(),
                client.submit(submission).await.unwrap_err(),
            ];
            for status in refused {
                assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
                let said = format!("here, {min}..{max} offered\nhint: install the same release");
                assert!(status.message().contains(&said), "{status}");
            }
        }
    }

    #[tokio::test]
    async fn where_a_log_has_no_room_the_scheduler_of_one_run_ends() {
        let state = tempfile::tempdir().unwrap();
        let (mut server, token) = start_with(&state.path().join("runs/r"), state.path());
        let mut executor = endpoint::executors_client(server.connect(), &token);
        let mut client = endpoint::runs_client(server.connect(), &token);
        client.submit(convert::submission(spec("r")).unwrap()).await.unwrap();
        let logs = state.path().join("runs/r/logs");
        std::fs::create_dir_all(&logs).unwrap();
        std::os::unix::fs::symlink("/dev/full", logs.join("1.log")).unwrap();
        executor.put_log(chunk(&"r".parse().unwrap(), 0, b"text")).await.unwrap_err();
        let ended = server.failed().await.to_string();
        assert!(ended.contains("1.log: No space left on device"), "{ended}");
    }

    #[tokio::test]
    async fn logs_are_kept_for_runs_that_there_are_and_grow_without_a_gap() {
        let state = tempfile::tempdir().unwrap();
        let (server, token) = start(state.path());
        let channel = server.connect();
        let mut executor = endpoint::executors_client(channel.clone(), &token);
        let mut client = endpoint::runs_client(channel, &token);
        let run: RunId = "r".parse().unwrap();

        let refused = executor.put_log(chunk(&run, 0, b"a")).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{refused}");
        assert_eq!(client.read_log(text(&run, 1)).await.unwrap_err().code(), Code::NotFound);
        assert!(!state.path().join("runs/r").exists());

        client.submit(convert::submission(spec("r")).unwrap()).await.unwrap();
        for (offset, data, durable) in
            [(5, b"gap".as_slice(), 0), (0, b"text", 4), (9, b"gap", 4), (4, b"!", 5)]
        {
            let answer = executor.put_log(chunk(&run, offset, data)).await.unwrap().into_inner();
            assert_eq!(answer.durable, durable, "{data:?} at {offset}");
        }
        assert_eq!(client.read_log(text(&run, 1)).await.unwrap().into_inner().data, b"text!".as_slice());
        assert_eq!(client.read_log(text(&run, 2)).await.unwrap_err().code(), Code::NotFound);
    }
}
