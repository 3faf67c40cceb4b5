//! What an object of a store is called: a blob by its digest, the log of an attempt by its run and number, the stream of an
//! ended run, the small files of its tests and that it is kept by its id, a copy of timings by its project.

use std::fmt;
use std::str::FromStr;

use seagull_domain::{AttemptId, Digest, RunId};

/// The name of an object, the same in every store: `blobs/ab/cdef...`, `logs/RUN/ATTEMPT.zst`, `streams/RUN.jsonl.zst`,
/// `attached/RUN.zst`, `timings/abcdef....zst`, or `pinned/RUN`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    Blob(Digest),
    /// Apart from the blobs, so that a store's own rules can keep it for another time.
    Log(RunId, AttemptId),
    Stream(RunId),
    /// Small files that tests have left.
    Attached(RunId),
    /// By the digest of the project's name. Written anew now and then.
    Timings(Digest),
    /// Of a run that somebody keeps: the blobs that it is made of, a line each.
    Pinned(RunId),
}

impl Key {
    /// How the names of all begin.
    pub(crate) const FOLDERS: [&str; 6] = ["blobs", "logs", "streams", "attached", "timings", "pinned"];

    /// Whose it is alone.
    pub(crate) fn run(&self) -> Option<&RunId> {
        match self {
            Key::Log(run, _) | Key::Stream(run) | Key::Attached(run) | Key::Pinned(run) => Some(run),
            Key::Blob(_) | Key::Timings(_) => None,
        }
    }

    /// As one name without a slash.
    pub(crate) fn flat(&self) -> String {
        self.to_string().replace('/', "+")
    }

    /// None for what is not the flat name of a key.
    pub(crate) fn of_flat(name: &str) -> Option<Key> {
        name.replace('+', "/").parse().ok()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Blob(digest) => {
                let name = digest.to_string();
                write!(f, "blobs/{}/{}", &name[..2], &name[2..])
            }
            Key::Log(run, attempt) => write!(f, "logs/{run}/{attempt}.zst"),
            Key::Stream(run) => write!(f, "streams/{run}.jsonl.zst"),
            Key::Attached(run) => write!(f, "attached/{run}.zst"),
            Key::Timings(project) => write!(f, "timings/{project}.zst"),
            Key::Pinned(run) => write!(f, "pinned/{run}"),
        }
    }
}

/// It is no key of ours: a store may have other things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoKey;

impl FromStr for Key {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Key, NoKey> {
        let parts: Vec<&str> = text.split('/').collect();
        let key = match parts.as_slice() {
            ["blobs", folder, name] => format!("{folder}{name}").parse().map(Key::Blob).map_err(|_| NoKey),
            ["logs", run, name] => {
                let attempt = name.strip_suffix(".zst").and_then(|name| name.parse().ok());
                run.parse().ok().zip(attempt).map(|(run, attempt)| Key::Log(run, attempt)).ok_or(NoKey)
            }
            ["streams", name] => {
                let run = name.strip_suffix(".jsonl.zst").and_then(|run| run.parse().ok());
                run.map(Key::Stream).ok_or(NoKey)
            }
            ["attached", name] => {
                let run = name.strip_suffix(".zst").and_then(|run| run.parse().ok());
                run.map(Key::Attached).ok_or(NoKey)
            }
            ["timings", name] => {
                let project = name.strip_suffix(".zst").and_then(|name| name.parse().ok());
                project.map(Key::Timings).ok_or(NoKey)
            }
            ["pinned", run] => run.parse().map(Key::Pinned).map_err(|_| NoKey),
            _ => Err(NoKey),
        };
        // One name for each: neither `+7` nor capitals.
        key.and_then(|key| if key.to_string() == text { Ok(key) } else { Err(NoKey) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_its_name_and_from_no_other() {
        let digest = "ab".repeat(32);
        let log = Key::Log("r-1.x_Y".parse().unwrap(), AttemptId(70));
        let stream = Key::Stream("r-1.x_Y".parse().unwrap());
        let timings = Key::Timings(digest.parse().unwrap());
        let attached = Key::Attached("r-1.x_Y".parse().unwrap());
        let pinned = Key::Pinned("r-1.x_Y".parse().unwrap());
        for key in [Key::Blob(digest.parse().unwrap()), log, stream, attached, timings, pinned] {
            assert!(Key::FOLDERS.iter().any(|folder| key.to_string().starts_with(&format!("{folder}/"))));
            assert_eq!(key.to_string().parse(), Ok(key.clone()));
            assert_eq!(Key::of_flat(&key.flat()), Some(key.clone()));
            assert!(!key.flat().contains('/'));
        }
        let capital = format!("blobs/AB/{}", &digest[2..]);
        let short = format!("blobs/ab/{}", &digest[4..]);
        for name in
            ["", "blobs", "logs/r/+7.zst", "logs/r/07.zst", "logs/../7.zst", "logs/r/7", &capital, &short]
        {
            assert_eq!(name.parse::<Key>(), Err(NoKey), "{name}");
        }
    }
}
