//! `seagull scheduler`: a scheduler of its own, until it is interrupted or its journal fails.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use seagull_scheduler::{Error, Identity, Options, Server, Settings};

use crate::cli;
use crate::errors::{say, usage};
use crate::place::Place;
use crate::signals::Signals;
use crate::state::State;

const ENDED: &str = "the scheduler has ended\n\
    hint: nothing that was acknowledged is lost; when it is started again, all goes on from there";

pub async fn run(args: cli::Scheduler) -> anyhow::Result<u8> {
    let identity = identity(&args.face)?;
    let blobs = args.blobs.as_deref().map(|text| super::store_url("--blobs", text)).transpose()?;
    let index = args.index.as_deref().map(|text| super::index_address("--index", text)).transpose()?;
    let mut signals = Signals::new()?;
    let state = State::open(args.state.state.as_deref(), &Place::here()?)?;
    let defaults = Settings::default();
    let lease_closed = defaults.lease_closed.min(args.lease);
    let options = Options {
        journal: state.directory.clone(),
        state: state.directory.clone(),
        blobs,
        index,
        spool: args.spool << 10,
        settings: Settings { lease: args.lease, lease_closed, ..defaults },
        token: state.token()?,
        reads_only: false,
    };
    let mut server = Server::start(options).context("the scheduler cannot start")?;
    say!("clients and executors need the token in {}", state.token_file().display());
    listen(&server, &args.face, identity).await?;
    tokio::select! {
        () = signals.next() => Ok(0),
        error = server.failed() => Err(error).context(ENDED),
    }
}

/// What it proves itself by, which it needs beyond this machine.
pub(super) fn identity(face: &cli::FaceArgs) -> anyhow::Result<Option<Identity>> {
    let identity = face.tls_cert.as_deref().zip(face.tls_key.as_deref()).map(read_identity).transpose()?;
    if !face.listen.ip().is_loopback() && identity.is_none() && !face.insecure {
        return Err(usage(format!(
            "{} can be reached from other machines, and nothing that is sent is encrypted\n\
             hint: speak TLS with --tls-cert and --tls-key, listen on 127.0.0.1, or accept that with --insecure",
            face.listen
        )));
    }
    Ok(identity)
}

/// Listens, and says where.
pub(super) async fn listen(
    server: &Server,
    face: &cli::FaceArgs,
    identity: Option<Identity>,
) -> anyhow::Result<()> {
    let scheme = if identity.is_some() { "https" } else { "http" };
    let address = server.listen(face.listen, identity).await.map_err(|error| match error {
        Error::Certificate(_) => usage(error.to_string()),
        other => other.into(),
    })?;
    super::print(|out| writeln!(out, "listening on {scheme}://{address}"))
}

/// A certificate and its key.
fn read_identity((certificate, key): (&Path, &Path)) -> anyhow::Result<Identity> {
    let read = |option, path: &Path| {
        fs::read(path).map_err(|error| {
            usage(format!(
                "cannot read {option} {}: {error}\n\
                 hint: it takes a PEM file that this user may read; seagull docs run shows how to make one",
                path.display()
            ))
        })
    };
    Ok(Identity::from_pem(read("--tls-cert", certificate)?, read("--tls-key", key)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_cannot_be_read_says_what_to_do() {
        let error =
            read_identity((Path::new("/nowhere/cert.pem"), Path::new("/nowhere/key.pem"))).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("cannot read --tls-cert /nowhere/cert.pem: ") && text.contains("\nhint: "),
            "{text}"
        );
    }
}
