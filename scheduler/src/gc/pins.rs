//! Runs that somebody keeps, whatever their age: by a mark in the state directory that has them, and by an object of the store, which all
//! see that sweep it.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::path::Path;

use seagull_domain::{Digest, RunId};
use seagull_results::{Archive, Key, Store, StoreUrl, When, open_store};

use super::{Told, blobs_of, said};

/// The runs of a state directory, and of the store behind it, that somebody keeps.
pub fn pinned(state: &Path, store: Option<&StoreUrl>) -> Result<Vec<RunId>, String> {
    let archive = Archive::open(&state.join("runs")).map_err(said)?;
    let mut runs: Vec<_> = archive.newest().map_err(said)?.into_iter().map(|(run, _)| run).collect();
    runs.retain(|run| archive.pinned(run).is_some());
    let here: HashSet<RunId> = runs.iter().cloned().collect();
    let mut stored = Vec::new();
    if let Some(url) = store {
        open_store(url).map_err(said)?.list(&mut |key, _| stored.extend(of(key))).map_err(said)?;
    }
    runs.extend(stored.into_iter().filter(|run| !here.contains(run)));
    Ok(runs)
}

/// The run that an object pins.
pub(super) fn of(key: Key) -> Option<RunId> {
    match key {
        Key::Pinned(run) => Some(run),
        _ => None,
    }
}

/// Keeps an ended run whatever its age, or no longer. None where neither the state directory nor the store has it.
pub fn pin(state: &Path, url: Option<&StoreUrl>, run: &RunId, is_kept: bool) -> Result<Option<()>, String> {
    let archive = Archive::open(&state.join("runs")).map_err(said)?;
    let store = url.map(open_store).transpose().map_err(said)?;
    let is_here = archive.contains(run);
    if !is_kept {
        archive.unpin(run).map_err(said)?;
        let Some(store) = store else { return Ok(is_here.then_some(())) };
        let was_there = store.head(&Key::Pinned(run.clone())).map_err(said)?.is_some();
        store.delete(&Key::Pinned(run.clone())).map_err(said)?;
        return Ok((is_here || was_there).then_some(()));
    }
    let blobs = match &store {
        _ if is_here => blobs_of(&archive, run)?,
        Some(store) => match seagull_results::stored_facts(&**store, run).map_err(said)? {
            Some(facts) => Told::of_facts(facts)?.blobs,
            None => return Ok(None),
        },
        None => return Ok(None),
    };
    if is_here {
        archive.pin(run, &blobs).map_err(said)?;
    }
    let Some(store) = store else { return Ok(Some(())) };
    let lines: String = blobs.iter().map(|digest| format!("{digest}\n")).collect();
    let key = Key::Pinned(run.clone());
    let put = store.put(&key, &mut lines.as_bytes(), lines.len() as u64, When::Always);
    match put {
        Err(error) if is_here => Err(format!("run {run} is kept here, but not in the store: {error}")),
        put => put.map(|_| Some(())).map_err(said),
    }
}

/// The blobs that these runs are made of, which a store has pinned.
pub(super) fn blobs(store: &dyn Store, runs: &[RunId]) -> Result<BTreeMap<RunId, Vec<Digest>>, String> {
    let mut pinned = BTreeMap::new();
    for run in runs {
        let mut lines = String::new();
        // It may be kept no longer at this moment.
        if let Some(mut body) = store.get(&Key::Pinned(run.clone()), 0..u64::MAX).map_err(said)? {
            body.read_to_string(&mut lines).map_err(said)?;
            pinned.insert(run.clone(), lines.lines().filter_map(|line| line.parse().ok()).collect());
        }
    }
    Ok(pinned)
}
