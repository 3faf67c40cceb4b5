//! TLS to a scheduler: whom it trusts, and why a connection could not be made, in words.
#![expect(clippy::disallowed_methods, reason = "a shell: it waits for an answer")]

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use rustls::CertificateError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Uri};

use crate::errors::usage;

/// How long a handshake, or a look at what is spoken, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a certificate begins with in a PEM file.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";
/// How a client begins to speak HTTP/2 (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How an alert of TLS begins: its type, and the major version (RFC 8446, section 5.1).
const ALERT: [u8; 2] = [21, 3];

/// Why the scheduler is not spoken to, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    said: String,
    hint: &'static str,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nhint: {}", self.said, self.hint)
    }
}

/// Speaks TLS, and trusts the authorities of the file alone; without one, those that this machine knows.
pub fn secure(endpoint: Endpoint, authorities: Option<&Path>) -> anyhow::Result<Endpoint> {
    let config = ClientTlsConfig::new().timeout(PATIENCE);
    let config = match authorities {
        None => config.with_native_roots(),
        Some(path) => config.ca_certificate(Certificate::from_pem(read(path)?)),
    };
    endpoint.tls_config(config).map_err(|error| {
        let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        usage(format!("TLS cannot be spoken: {cause}\nhint: --tls-ca FILE names the authority to trust"))
    })
}

/// A PEM file with at least one certificate: others would be taken for one that trusts nobody.
fn read(path: &Path) -> anyhow::Result<String> {
    let hint =
        "hint: --tls-ca takes the certificate of the authority that signed the scheduler's, as a PEM file";
    let unread = |why: &dyn fmt::Display| usage(format!("cannot use {}: {why}\n{hint}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| unread(&error))?;
    if text.contains(CERTIFICATE) { Ok(text) } else { Err(unread(&"there is no certificate in it")) }
}

/// What a handshake that failed says.
pub fn problem(error: &(dyn Error + 'static)) -> Option<Problem> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let failed = match inside {
            Some(inside) => inside.downcast_ref::<rustls::Error>(),
            None => error.downcast_ref(),
        };
        if let Some(failed) = failed {
            return Some(describe(failed));
        }
        next = error.source();
    }
    None
}

fn describe(error: &rustls::Error) -> Problem {
    let (said, hint) = match error {
        rustls::Error::InvalidCertificate(error) => return refused(error),
        rustls::Error::InvalidMessage(_) => (
            "the scheduler does not speak TLS".to_owned(),
            "one without a certificate has an http:// address",
        ),
        other => (format!("TLS with the scheduler failed: {other}"), "is it a scheduler that listens there?"),
    };
    Problem { said, hint }
}

fn refused(error: &CertificateError) -> Problem {
    const RENEW: &str = "renew it and start the scheduler again, or set this machine's clock";
    const MAKE: &str = "seagull docs run shows how to make one";
    let (why, hint) = match error {
        // Of another one that has the same name, too.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            "is of an authority that is not trusted here".to_owned(),
            "name that authority's certificate with --tls-ca FILE",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ("has expired".to_owned(), RENEW)
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("is not valid yet".to_owned(), RENEW)
        }
        CertificateError::NotValidForName => ("is for another name".to_owned(), MAKE),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<_> = presented.iter().map(|name| bare(name)).collect();
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            let hint = "use an address that it has, or make one for this address too";
            (format!("is for another name: {} is asked for, it has {names}", expected.to_str()), hint)
        }
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            ("is that of an authority, which no scheduler may use as its own".to_owned(), MAKE)
        }
        other => (format!("is refused: {other}"), MAKE),
    };
    Problem { said: format!("the scheduler's certificate {why}"), hint }
}

/// The name in what is presented as `DnsName("NAME")`.
fn bare(presented: &str) -> &str {
    let inside = presented.split_once('(').map_or(presented, |(_, name)| name.trim_end_matches(')'));
    inside.trim_matches('"')
}

/// Whether TLS is spoken where plain HTTP failed: such a server answers what it cannot read with an alert.
pub async fn is_spoken_at(url: &Uri) -> Option<Problem> {
    let (host, port) = (url.host()?.trim_matches(['[', ']']), url.port_u16()?);
    let look = async {
        let mut stream = TcpStream::connect((host, port)).await?;
        stream.write_all(PREFACE).await?;
        let mut head = [0; ALERT.len()];
        stream.read_exact(&mut head).await?;
        io::Result::Ok(head)
    };
    let head = tokio::time::timeout(PATIENCE, look).await.ok()?.ok()?;
    (head == ALERT).then(|| Problem {
        said: "the scheduler speaks TLS, and is asked without".to_owned(),
        hint: "its address begins with https://",
    })
}
