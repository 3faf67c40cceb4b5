//! Ended runs: the stream of each in a file of its own, as JSON lines.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use seagull_domain::{RunId, Seq};
use tempfile::NamedTempFile;

use crate::Error;
use crate::durable;

const STREAM: &str = "stream.jsonl";
/// A line is the opening, the number, the middle, the fact as it was given, the close.
const OPENING: &[u8] = b"{\"seq\":";
const MIDDLE: &[u8] = b",\"fact\":";
const CLOSE: &[u8] = b"}";

#[derive(Debug, Clone)]
pub struct Archive {
    directory: PathBuf,
}

/// An ended run in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    pub run: RunId,
    pub bytes: u64,
    pub at: SystemTime,
}

impl Archive {
    pub fn open(directory: &Path) -> Result<Archive, Error> {
        durable::create_directory(directory)?;
        Ok(Archive { directory: directory.to_owned() })
    }

    fn path(&self, run: &RunId) -> PathBuf {
        self.directory.join(run.as_str()).join(STREAM)
    }

    pub fn contains(&self, run: &RunId) -> bool {
        self.path(run).is_file()
    }

    /// The ended runs, the newest first.
    pub fn list(&self) -> Result<Vec<Archived>, Error> {
        let entries = std::fs::read_dir(&self.directory).map_err(Error::io(&self.directory))?;
        let mut runs = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io(&self.directory))?;
            let Some(run) = entry.file_name().to_str().and_then(|name| name.parse::<RunId>().ok()) else {
                continue;
            };
            // A directory without a stream is a run that has not ended.
            let Ok(metadata) = self.path(&run).metadata() else { continue };
            let at = metadata.modified().map_err(Error::io(&self.directory))?;
            runs.push(Archived { run, bytes: metadata.len(), at });
        }
        runs.sort_by(|a, b| (b.at, &b.run).cmp(&(a.at, &a.run)));
        Ok(runs)
    }

    /// Writes the whole stream of a run, numbers not falling; it appears whole or not at all. A fact is JSON on one line.
    pub fn write(&self, run: &RunId, facts: impl IntoIterator<Item = (Seq, Vec<u8>)>) -> Result<(), Error> {
        let path = self.path(run);
        let parent = path.parent().unwrap_or(&self.directory);
        durable::create_directory(parent)?;
        let file = NamedTempFile::new_in(parent).map_err(Error::io(parent))?;
        let mut writer = BufWriter::new(&file);
        let mut last = Seq(0);
        for (seq, body) in facts {
            if seq < last || body.contains(&b'\n') {
                return Err(Error::NotAStream { path });
            }
            last = seq;
            let number = seq.to_string();
            for part in [OPENING, number.as_bytes(), MIDDLE, &body, CLOSE, b"\n"] {
                writer.write_all(part).map_err(Error::io(&path))?;
            }
        }
        writer.flush().map_err(Error::io(&path))?;
        drop(writer);
        durable::persist(file, &path)
    }

    /// The facts after a number.
    pub fn read(
        &self,
        run: &RunId,
        after: Seq,
    ) -> Result<impl Iterator<Item = Result<(Seq, Vec<u8>), Error>> + use<>, Error> {
        let path = self.path(run);
        let file = File::open(&path).map_err(Error::io(&path))?;
        let lines = BufReader::new(file).split(b'\n').zip(1..);
        let parsed = lines.map(move |(bytes, line)| {
            let bytes = bytes.map_err(Error::io(&path))?;
            parse(&bytes).ok_or_else(|| Error::Damaged { path: path.clone(), line })
        });
        Ok(parsed.filter(move |fact| fact.as_ref().map_or(true, |(seq, _)| *seq > after)))
    }
}

fn parse(line: &[u8]) -> Option<(Seq, Vec<u8>)> {
    let rest = line.strip_prefix(OPENING)?.strip_suffix(CLOSE)?;
    let digits = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    let seq = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    Some((seq, rest[digits..].strip_prefix(MIDDLE)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> (tempfile::TempDir, Archive) {
        let directory = tempfile::tempdir().unwrap();
        let archive = Archive::open(&directory.path().join("runs")).unwrap();
        (directory, archive)
    }

    #[test]
    fn a_stream_is_read_from_any_number_on() {
        let (_directory, archive) = archive();
        let run = "r1".parse().unwrap();
        assert!(!archive.contains(&run));
        assert!(archive.read(&run, Seq(0)).is_err());
        let facts = [2, 5, 5, 9].map(|seq| (Seq(seq), format!("{{\"n\": [{seq}, \"}}\"]}}").into_bytes()));
        archive.write(&run, facts.clone()).unwrap();
        let read = |after| archive.read(&run, Seq(after)).unwrap().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(read(0), facts);
        assert_eq!(read(2), facts[1..]);
        assert_eq!(read(5), facts[3..]);
        assert_eq!(read(9), []);
        // Anything that reads JSON lines reads the file.
        let text = std::fs::read_to_string(archive.path(&run)).unwrap();
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first, serde_json::json!({"seq": 2, "fact": {"n": [2, "}"]}}));
    }

    #[test]
    fn runs_are_listed_once_they_have_ended() {
        let (_directory, archive) = archive();
        assert_eq!(archive.list().unwrap(), []);
        let run = |name: &str| name.parse::<RunId>().unwrap();
        for (name, at) in [("old", 50), ("new", 100)] {
            archive.write(&run(name), [(Seq(1), b"{}".to_vec())]).unwrap();
            let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(at);
            File::open(archive.path(&run(name))).unwrap().set_modified(at).unwrap();
        }
        std::fs::create_dir(archive.directory.join("live")).unwrap();
        std::fs::write(archive.directory.join(".lock"), "").unwrap();
        let listed = archive.list().unwrap();
        assert_eq!(listed.iter().map(|a| a.run.as_str()).collect::<Vec<_>>(), ["new", "old"]);
        assert_eq!(listed[0].bytes, "{\"seq\":1,\"fact\":{}}\n".len() as u64);
    }

    #[test]
    fn what_is_no_stream_is_not_kept_and_damage_is_named() {
        let (_directory, archive) = archive();
        let run = "r1".parse().unwrap();
        let falling = [(Seq(2), b"{}".to_vec()), (Seq(1), b"{}".to_vec())];
        assert!(matches!(archive.write(&run, falling), Err(Error::NotAStream { .. })));
        assert!(archive.write(&run, [(Seq(1), b"{\n}".to_vec())]).is_err());
        assert!(!archive.contains(&run));
        archive.write(&run, [(Seq(1), b"{}".to_vec())]).unwrap();
        let text = std::fs::read(archive.path(&run)).unwrap();
        std::fs::write(archive.path(&run), [&text[..], b"{\"seq\":torn"].concat()).unwrap();
        let read: Vec<_> = archive.read(&run, Seq(0)).unwrap().collect();
        assert!(matches!(read[..], [Ok(_), Err(Error::Damaged { line: 2, .. })]), "{read:?}");
    }
}
