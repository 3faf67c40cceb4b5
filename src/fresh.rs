//! What is made anew by chance and time: secrets, seeds, names for runs and executors.
#![expect(clippy::disallowed_methods, reason = "a shell: names and submissions carry the time")]

use std::fs::File;
use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use seagull_domain::{ExecutorId, RunId};
use seagull_proto::Token;

/// Bytes that nobody can guess.
pub fn bytes<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.context("cannot read /dev/urandom")?;
    Ok(bytes)
}

/// 256 random bits in hexadecimal.
pub fn secret() -> anyhow::Result<String> {
    Ok(hex(&bytes::<32>()?))
}

/// A token that is never written anywhere.
pub fn token() -> anyhow::Result<Token> {
    Ok(secret()?.parse()?)
}

pub fn seed() -> anyhow::Result<u32> {
    Ok(u32::from_le_bytes(bytes()?))
}

/// `20261124-191500-ab12cd`: sorts by time (UTC), and does not repeat.
pub fn run_id() -> anyhow::Result<RunId> {
    let now = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S");
    Ok(format!("{now}-{}", hex(&bytes::<3>()?)).parse()?)
}

/// Machine, process, and chance.
pub fn executor_id() -> anyhow::Result<ExecutorId> {
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = format!("{}-{}-{}", safe(&host), std::process::id(), hex(&bytes::<3>()?));
    Ok(name.parse()?)
}

pub fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first label of a host's name, cut to what an id may hold.
fn safe(host: &str) -> String {
    let label = host.split('.').next().unwrap_or_default();
    let kept: String = label.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
    if kept.is_empty() { "executor".to_owned() } else { kept }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_do_not_repeat_and_hosts_are_cut_to_size() {
        assert_ne!(run_id().unwrap(), run_id().unwrap());
        assert_ne!(executor_id().unwrap(), executor_id().unwrap());
        assert_eq!(safe("build_7.example.org"), "build7");
        assert_eq!(safe("Ü."), "executor");
        assert_eq!(secret().unwrap().len(), 64);
    }
}
