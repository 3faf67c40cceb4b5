//! History from other state directories: what their ended runs taught is learned here, too.

use std::path::Path;

use seagull_domain::{RunId, Seq};
use seagull_results::{Archive, Blobs, History};

use crate::learned::Learned;
use crate::service::parse;

/// How much was learned.
#[derive(Debug, Default)]
pub struct Imported {
    pub runs: u64,
    /// Runs that cannot be read, and why.
    pub unreadable: Vec<(RunId, String)>,
}

/// Learns from the ended runs of another state directory, the oldest first. Of runs that were learned from before nothing
/// is learned again. Blocks.
pub fn import(from: &Path, history: &History) -> Result<Imported, String> {
    let archive = Archive::open(&from.join("runs")).map_err(|error| error.to_string())?;
    let blobs = Blobs::open(&from.join("blobs")).map_err(|error| error.to_string())?;
    let mut imported = Imported::default();
    for (run, _) in archive.newest().map_err(|error| error.to_string())?.into_iter().rev() {
        match learn(&archive, &blobs, history, &run) {
            Ok(()) => imported.runs += 1,
            Err(why) => imported.unreadable.push((run, why)),
        }
    }
    Ok(imported)
}

/// Recorded before, it changes nothing.
pub(crate) fn learn(archive: &Archive, blobs: &Blobs, history: &History, run: &RunId) -> Result<(), String> {
    let mut learned = Learned::default();
    for fact in archive.read(run, Seq(0)).map_err(|error| error.to_string())? {
        let (seq, body) = fact.map_err(|error| error.to_string())?;
        learned.take(parse(seq, &body)?.what);
    }
    learned.keep(history, blobs, run)
}
