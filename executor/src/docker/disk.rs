//! How much a container has written, and whether that is more than it may have: an engine's usual file systems have no quotas,
//! so it is measured now and then.
#![expect(clippy::disallowed_methods, reason = "a shell: what is written is measured again after a moment")]

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use seagull_domain::Limits;

use super::engine::Engine;
use super::error::{Error, LINES};

/// Between two measurements: no less than this, and so many times what one takes, up to a bound.
const LEAST: Duration = Duration::from_secs(2);
const TIMES: u32 = 20;
const MOST: Duration = Duration::from_secs(30);
/// Bytes of a block, as the system counts what a file takes.
const BLOCK: u64 = 512;

/// Sees to it that what is bounded is measured: what is in volumes is not.
pub fn bounds<'a>(
    table: &str,
    limits: &Limits,
    volumes: impl Iterator<Item = &'a String>,
) -> Result<(), Error> {
    let volumes: Vec<String> = volumes.map(|path| format!("{path:?}")).collect();
    if limits.disk_kib.is_none() || volumes.is_empty() {
        return Ok(());
    }
    Err(Error::Unbounded { table: table.to_owned(), volumes: volumes.join(", ") })
}

/// Waits until a container has written more than it may have, in its own layer and in this directory of this machine: how much,
/// in bytes. For ever where it has no bound. What cannot be measured now is later.
pub async fn over(engine: &Engine, container: &str, limits: &Limits, beside: Option<&Path>) -> u64 {
    let Some(kib) = limits.disk_kib else { return std::future::pending().await };
    let mut pause = LEAST;
    loop {
        tokio::time::sleep(pause).await;
        let begun = Instant::now();
        let written = engine.written(container).await.unwrap_or(0) + in_directory(beside).await;
        if written > kib * 1024 {
            return written;
        }
        pause = (begun.elapsed() * TIMES).clamp(LEAST, MOST);
    }
}

/// How a service ended that had written so much, and its last lines.
pub async fn end_of(engine: &Engine, container: &str, limits: &Limits, written: u64) -> (String, String) {
    (words(limits, written), engine.last_lines(container, LINES).await)
}

/// How a service ended, if that was for its disk.
pub async fn killed(engine: &Engine, container: &str, limits: &Limits) -> Option<String> {
    let kib = limits.disk_kib?;
    let written = engine.written(container).await.ok()?;
    (written > kib * 1024).then(|| words(limits, written))
}

fn words(limits: &Limits, written: u64) -> String {
    let [limit, written] = [limits.disk_kib.unwrap_or(0) >> 10, written >> 20];
    format!("it was killed over its disk limit of {limit} MiB, with {written} MiB written")
}

async fn in_directory(directory: Option<&Path>) -> u64 {
    let Some(directory) = directory.map(Path::to_owned) else { return 0 };
    tokio::task::spawn_blocking(move || taken(directory)).await.unwrap_or(0)
}

/// What all in a directory takes of its disk, in bytes. What is gone by then, or kept from this user, is passed over.
fn taken(directory: PathBuf) -> u64 {
    let (mut all, mut seen, mut left) = (0, HashSet::new(), vec![directory]);
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let Ok(known) = entry.metadata() else { continue };
            if known.is_dir() {
                left.push(entry.path());
            }
            // What has several names is there once.
            if known.nlink() == 1 || seen.insert((known.dev(), known.ino())) {
                all += known.blocks() * BLOCK;
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_directory_takes_is_counted_once_and_holes_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let inside = directory.path().join("a/b");
        std::fs::create_dir_all(&inside).unwrap();
        let empty = taken(directory.path().to_owned());
        std::fs::write(inside.join("x"), vec![1; 1 << 20]).unwrap();
        std::fs::hard_link(inside.join("x"), directory.path().join("y")).unwrap();
        std::os::unix::fs::symlink("x", inside.join("z")).unwrap();
        std::fs::File::create(inside.join("sparse")).unwrap().set_len(1 << 30).unwrap();
        let written = taken(directory.path().to_owned()) - empty;
        assert!((1 << 20..2 << 20).contains(&written), "{written}");
    }

    #[test]
    fn a_bound_that_cannot_be_kept_is_refused() {
        let volumes = ["/data".to_owned()];
        let bounded = Limits { disk_kib: Some(1), ..Limits::default() };
        assert_eq!(bounds("services.pg", &Limits::default(), volumes.iter()), Ok(()));
        assert_eq!(bounds("services.pg", &bounded, [].iter()), Ok(()));
        let error = bounds("services.pg", &bounded, volumes.iter()).unwrap_err().to_string();
        assert!(error.contains("[services.pg] disk") && error.contains("tmpfs = [\"/data\"]"), "{error}");
    }
}
