//! A way to an HTTP server on which things go wrong: what happens to each request is decided by the test.
#![expect(clippy::disallowed_methods, reason = "a thread for each connection, and slow answers")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// The most that a head may have.
const HEAD_BYTES: usize = 64 << 10;

/// A request as it arrived.
pub struct Request {
    pub path: String,
    /// All of the head, with the names of headers as they were written.
    pub head: String,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// It is passed on, and so is its answer.
    None,
    /// The connection is closed; the server never hears of it.
    Dropped,
    /// So many bytes of the body are passed on, then both connections are closed.
    CutRequest(usize),
    /// The last byte of its body is another.
    DamagedRequest,
    /// It is done, and so many bytes of the answer are told, its head among them.
    CutAnswer(usize),
    /// It is answered so, and the server never hears of it.
    Status(u16, String),
    /// It is passed on so late.
    Slow(Duration),
    /// The server hears it twice; the first answer is told.
    Twice,
    /// The answer's body is another.
    Changed(fn(&[u8]) -> Vec<u8>),
}

type Plan = dyn Fn(&Request) -> Fault + Send + Sync;

/// Listens on loopback until the process ends.
pub struct Proxy {
    pub address: SocketAddr,
    server: SocketAddr,
    plan: Arc<Plan>,
}

impl Proxy {
    pub fn new(server: SocketAddr, plan: impl Fn(&Request) -> Fault + Send + Sync + 'static) -> Proxy {
        Self::start(server, Arc::new(plan), None)
    }

    /// Speaks TLS to whoever asks.
    pub fn with_tls(
        server: SocketAddr,
        tls: Arc<rustls::ServerConfig>,
        plan: impl Fn(&Request) -> Fault + Send + Sync + 'static,
    ) -> Proxy {
        Self::start(server, Arc::new(plan), Some(tls))
    }

    fn start(server: SocketAddr, plan: Arc<Plan>, tls: Option<Arc<rustls::ServerConfig>>) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy { address: listener.local_addr().unwrap(), server, plan };
        let way = proxy.way();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let way = way.clone();
                let tls = tls.clone();
                // Whoever is cut off is no news here.
                thread::spawn(move || match tls {
                    None => way.pass(client),
                    Some(config) => {
                        let connection = rustls::ServerConnection::new(config).unwrap();
                        way.pass(rustls::StreamOwned::new(connection, client))
                    }
                });
            }
        });
        proxy
    }

    /// Listens at a path too, which namespaces with networks of their own have in common.
    pub fn listen_at(&self, path: &Path) {
        let listener = UnixListener::bind(path).unwrap();
        let way = self.way();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let way = way.clone();
                thread::spawn(move || way.pass(client));
            }
        });
    }

    fn way(&self) -> Way {
        Way { server: self.server, plan: self.plan.clone() }
    }
}

#[derive(Clone)]
struct Way {
    server: SocketAddr,
    plan: Arc<Plan>,
}

impl Way {
    /// One request and its answer: then the connection is closed, which both sides are told.
    fn pass(&self, mut client: impl Read + Write) -> std::io::Result<()> {
        let Some(mut request) = self.read(&mut client)? else { return Ok(()) };
        let answer = match (self.plan)(&request) {
            Fault::None => self.ask(&request)?,
            Fault::Dropped => return Ok(()),
            Fault::CutRequest(bytes) => return self.tell(&request, bytes).map(drop),
            Fault::DamagedRequest => {
                request.body.last_mut().into_iter().for_each(|byte| *byte ^= 1);
                self.ask(&request)?
            }
            Fault::CutAnswer(bytes) => {
                let mut answer = self.ask(&request)?;
                answer.truncate(bytes);
                answer
            }
            Fault::Status(status, body) => told(&format!("HTTP/1.1 {status} Told"), body.as_bytes()),
            Fault::Slow(pause) => {
                thread::sleep(pause);
                self.ask(&request)?
            }
            Fault::Twice => {
                let answer = self.ask(&request)?;
                self.ask(&request)?;
                answer
            }
            Fault::Changed(change) => {
                let answer = self.ask(&request)?;
                let (head, body) = parted(&answer);
                told(&head, &change(body))
            }
        };
        client.write_all(&answer)?;
        client.flush()
    }

    fn read(&self, client: &mut impl Read) -> std::io::Result<Option<Request>> {
        let mut bytes = Vec::new();
        let mut piece = [0; 16 << 10];
        let head = loop {
            if let Some(at) = find(&bytes, b"\r\n\r\n") {
                break at + 4;
            }
            let length = client.read(&mut piece)?;
            if length == 0 || bytes.len() > HEAD_BYTES {
                return Ok(None);
            }
            bytes.extend(&piece[..length]);
        };
        let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
        let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut request = Request { path, head: text, body: bytes.split_off(head) };
        let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        while request.body.len() < length {
            let read = client.read(&mut piece)?;
            if read == 0 {
                return Ok(None);
            }
            request.body.extend(&piece[..read]);
        }
        Ok(Some(request))
    }

    /// A connection to the server, which has heard so many bytes of a request's body.
    fn tell(&self, request: &Request, bytes: usize) -> std::io::Result<TcpStream> {
        let mut server = TcpStream::connect(self.server)?;
        let heard =
            [closing(&request.head).as_bytes(), &request.body[..bytes.min(request.body.len())]].concat();
        // One that answers before it has all has answered.
        let _ = server.write_all(&heard);
        Ok(server)
    }

    /// Passes a request on; its answer, whole.
    fn ask(&self, request: &Request) -> std::io::Result<Vec<u8>> {
        let mut answer = Vec::new();
        // Of one that is killed, what it has said.
        let _ = self.tell(request, request.body.len())?.read_to_end(&mut answer);
        let (head, body) = parted(&answer);
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            return Ok(told(&head, &dechunked(body)));
        }
        Ok([closing(&head).as_bytes(), body].concat())
    }
}

/// The head of an answer, and its body.
fn parted(answer: &[u8]) -> (String, &[u8]) {
    let (head, body) = answer.split_at(find(answer, b"\r\n\r\n").map_or(0, |at| at + 4));
    (String::from_utf8_lossy(head).into_owned(), body)
}

/// An answer with this head, but for what it says of its body's length, and this body.
fn told(head: &str, body: &[u8]) -> Vec<u8> {
    let is_length = |line: &&str| line.to_ascii_lowercase().starts_with("content-length:");
    let mut lines: Vec<&str> = head.trim_end().split("\r\n").filter(|line| !is_length(line)).collect();
    let length = format!("Content-Length: {}", body.len());
    lines.push(&length);
    [closing(&lines.join("\r\n")).as_bytes(), body].concat()
}

/// A body that came in chunks, as one.
fn dechunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = find(body, b"\r\n") {
        let size =
            std::str::from_utf8(&body[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let Some(size) = size.filter(|size| *size > 0) else { break };
        whole.extend(&body[end + 2..end + 2 + size]);
        body = &body[end + 2 + size + 2..];
    }
    whole
}

/// A head that says that the connection is closed afterwards, and wants nothing compressed: answers are changed as text.
fn closing(head: &str) -> String {
    let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
    let others = ["connection:", "accept-encoding:", "transfer-encoding:"];
    let is_kept = |line: &str| others.iter().all(|other| !line.starts_with(other));
    lines.retain(|line| is_kept(&line.to_ascii_lowercase()));
    lines.push("Connection: close");
    lines.join("\r\n") + "\r\n\r\n"
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
