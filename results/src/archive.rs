//! Ended runs: the stream of each in a file of its own, as JSON lines.

use std::fs::{DirEntry, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use seagull_domain::{Digest, RunId, Seq};
use tempfile::NamedTempFile;

use crate::Error;
use crate::blobs::{Key, Store, entries, gone};
use crate::durable;

const STREAM: &str = "stream.jsonl";
/// What is read of a stream at a time.
const BUFFER: usize = 1 << 20;
/// A file beside the stream of a run that somebody keeps: the blobs that it is made of, a line each.
const PIN: &str = "pinned";
/// A file beside the stream of a run whose stream a store has.
const STORED: &str = "stored";
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
    /// Of all that is kept of it: the logs of its attempts, too.
    pub bytes: u64,
    pub at: SystemTime,
}

/// The facts of an archived stream, in order, read as they are asked for.
pub type ArchivedFacts = Box<dyn Iterator<Item = Result<(Seq, Vec<u8>), Error>> + Send>;

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

    /// When a run ended; None where it is not archived.
    pub fn ended_at(&self, run: &RunId) -> Option<SystemTime> {
        self.path(run).metadata().and_then(|stream| stream.modified()).ok()
    }

    /// The ended runs, the newest first.
    pub fn list(&self) -> Result<Vec<Archived>, Error> {
        let archived = |(run, at): (RunId, _)| {
            let bytes = bytes_below(&self.directory.join(run.as_str()));
            Archived { run, bytes, at }
        };
        Ok(self.newest()?.into_iter().map(archived).collect())
    }

    /// The ended runs and when they ended, the newest first. Takes no look at how much is kept of them.
    pub fn newest(&self) -> Result<Vec<(RunId, SystemTime)>, Error> {
        let entries = std::fs::read_dir(&self.directory).map_err(Error::io(&self.directory))?;
        let run = |entry: DirEntry| {
            let run: RunId = entry.file_name().to_str()?.parse().ok()?;
            // A directory without a stream is a run that has not ended.
            self.ended_at(&run).map(|at| (run, at))
        };
        let mut runs: Vec<_> = entries.filter_map(|entry| run(entry.ok()?)).collect();
        runs.sort_by(|(a, at), (b, bt)| (bt, b).cmp(&(at, a)));
        Ok(runs)
    }

    /// The first and the last fact of an archived stream, without what is between them.
    pub fn ends(&self, run: &RunId) -> Result<[Vec<u8>; 2], Error> {
        let path = self.path(run);
        let mut lines = BufReader::new(File::open(&path).map_err(Error::io(&path))?);
        let mut first = Vec::new();
        lines.read_until(b'\n', &mut first).map_err(Error::io(&path))?;
        let last = last_line(lines.get_mut()).map_err(Error::io(&path))?;
        let fact = |line: &[u8]| {
            let fact = parse(line.strip_suffix(b"\n").unwrap_or(line)).map(|(_, fact)| fact);
            fact.ok_or_else(|| Error::Torn { path: path.clone() })
        };
        Ok([fact(&first)?, fact(&last)?])
    }

    /// How long the stream of an ended run is; nothing where there is none.
    pub fn stream_bytes(&self, run: &RunId) -> u64 {
        self.path(run).metadata().map_or(0, |stream| stream.len())
    }

    /// The blobs that a run is made of that somebody keeps, whatever its age; None where nobody does.
    pub fn pinned(&self, run: &RunId) -> Option<Vec<Digest>> {
        let blobs = std::fs::read(self.directory.join(run.as_str()).join(PIN)).ok()?;
        Some(String::from_utf8_lossy(&blobs).lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Keeps an ended run, which is made of these blobs. Durable when it returns.
    pub fn pin(&self, run: &RunId, blobs: &[Digest]) -> Result<(), Error> {
        let directory = self.directory.join(run.as_str());
        let lines: String = blobs.iter().map(|digest| format!("{digest}\n")).collect();
        let mut file = NamedTempFile::new_in(&directory).map_err(Error::io(&directory))?;
        let path = directory.join(PIN);
        let written = file.write_all(lines.as_bytes()).and_then(|()| file.as_file().sync_all());
        written.map_err(Error::io(&path))?;
        file.persist(&path).map_err(|error| Error::io(&path)(error.error))?;
        durable::sync_directory(&directory)
    }

    /// Keeps a run no longer than others.
    pub fn unpin(&self, run: &RunId) -> Result<(), Error> {
        let path = self.directory.join(run.as_str()).join(PIN);
        gone(std::fs::remove_file(&path)).map_err(Error::io(&path))
    }

    /// Whether a store has the stream of a run.
    pub fn is_stored(&self, run: &RunId) -> bool {
        self.directory.join(run.as_str()).join(STORED).exists()
    }

    /// Of a run that is here. That it is forgotten in a crash does no harm.
    pub fn set_stored(&self, run: &RunId) -> Result<(), Error> {
        let path = self.directory.join(run.as_str()).join(STORED);
        std::fs::write(&path, "").map_err(Error::io(&path))
    }

    /// The stream of an ended run as it is kept.
    pub fn stream(&self, run: &RunId) -> Result<File, Error> {
        let path = self.path(run);
        File::open(&path).map_err(Error::io(&path))
    }

    /// A stream to be written.
    pub fn draft(&self, run: &RunId) -> Result<Draft, Error> {
        let path = self.path(run);
        let parent = path.parent().unwrap_or(&self.directory);
        durable::create_directory(parent)?;
        let file = NamedTempFile::new_in(parent).map_err(Error::io(parent))?;
        Ok(Draft { file: BufWriter::new(file), path, last: Seq(0) })
    }

    /// The facts after a number.
    pub fn read(&self, run: &RunId, after: Seq) -> Result<ArchivedFacts, Error> {
        let facts = facts(self.stream(run)?, self.path(run));
        Ok(Box::new(facts.filter(move |fact| fact.as_ref().map_or(true, |(seq, _)| *seq > after))))
    }

    /// Removes all that is kept of an ended run, its stream last: what is interrupted can be done again.
    pub fn remove(&self, run: &RunId) -> Result<(), Error> {
        let stream = self.path(run);
        let directory = self.directory.join(run.as_str());
        for path in entries(&directory)?.iter().map(DirEntry::path).filter(|path| *path != stream) {
            let removed =
                if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            gone(removed).map_err(Error::io(&path))?;
        }
        gone(std::fs::remove_file(&stream)).map_err(Error::io(&stream))?;
        // What is in it now is of a new run of that id.
        let _ = std::fs::remove_dir(&directory);
        Ok(())
    }
}

/// The facts of a stream that is read from somewhere, which is called so in errors.
pub(crate) fn facts(from: impl Read + Send + 'static, name: PathBuf) -> ArchivedFacts {
    let lines = BufReader::with_capacity(BUFFER, from).split(b'\n').zip(1..);
    Box::new(lines.map(move |(bytes, line)| {
        let bytes = bytes.map_err(|error| error.downcast().unwrap_or_else(Error::io(&name)))?;
        parse(&bytes).ok_or_else(|| Error::Damaged { path: name.clone(), line })
    }))
}

/// The facts of an ended run that a store has; None where it has none.
pub fn stored_facts(store: &dyn Store, run: &RunId) -> Result<Option<ArchivedFacts>, Error> {
    let key = Key::Stream(run.clone());
    let Some(body) = store.get(&key, 0..u64::MAX)? else { return Ok(None) };
    let name = PathBuf::from(key.to_string());
    let text = zstd::stream::read::Decoder::new(body).map_err(Error::io(&name))?;
    Ok(Some(facts(text, name)))
}

/// The stream of a run under way; it appears whole, when it is finished, or not at all.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
    last: Seq,
}

impl Draft {
    /// Adds a fact: JSON on one line, its number not below the last one's.
    pub fn write(&mut self, seq: Seq, body: &[u8]) -> Result<(), Error> {
        if seq < self.last || body.contains(&b'\n') {
            return Err(Error::NotAStream { path: self.path.clone() });
        }
        self.last = seq;
        let number = seq.to_string();
        for part in [OPENING, number.as_bytes(), MIDDLE, body, CLOSE, b"\n"] {
            self.file.write_all(part).map_err(Error::io(&self.path))?;
        }
        Ok(())
    }

    /// Makes the stream durable and visible.
    pub fn finish(self) -> Result<(), Error> {
        self.persist(None)
    }

    /// Likewise, of a run that ended then.
    pub fn finish_at(self, at: SystemTime) -> Result<(), Error> {
        self.persist(Some(at))
    }

    fn persist(self, at: Option<SystemTime>) -> Result<(), Error> {
        let file = self.file.into_inner().map_err(|error| Error::io(&self.path)(error.into_error()))?;
        at.map_or(Ok(()), |at| file.as_file().set_modified(at)).map_err(Error::io(&self.path))?;
        durable::persist(file, &self.path)
    }
}

/// Bytes of all files in a directory; what goes meanwhile has none.
fn bytes_below(directory: &Path) -> u64 {
    let bytes = |entry: &DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries(directory).unwrap_or_default().iter().map(bytes).sum()
}

/// Read from the end, in steps, so that a long stream is not read whole.
fn last_line(file: &mut File) -> std::io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    let mut wanted = 4096;
    loop {
        let begin = length.saturating_sub(wanted);
        file.seek(SeekFrom::Start(begin))?;
        let mut end = Vec::new();
        file.take(wanted).read_to_end(&mut end)?;
        let text = end.strip_suffix(b"\n").unwrap_or(&end);
        match text.iter().rposition(|byte| *byte == b'\n') {
            Some(before) => return Ok(text[before + 1..].to_vec()),
            None if begin == 0 => return Ok(text.to_vec()),
            None => wanted *= 4,
        }
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

    fn write(archive: &Archive, run: &RunId, facts: &[(Seq, Vec<u8>)]) -> Result<(), Error> {
        let mut draft = archive.draft(run)?;
        facts.iter().try_for_each(|(seq, body)| draft.write(*seq, body))?;
        draft.finish()
    }

    #[test]
    fn a_stream_is_read_from_any_number_on() {
        let (_directory, archive) = archive();
        let run = "r1".parse().unwrap();
        assert!(!archive.contains(&run));
        assert!(archive.read(&run, Seq(0)).is_err());
        let facts = [2, 5, 5, 9].map(|seq| (Seq(seq), format!("{{\"n\": [{seq}, \"}}\"]}}").into_bytes()));
        write(&archive, &run, &facts).unwrap();
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
            write(&archive, &run(name), &[(Seq(1), b"{}".to_vec())]).unwrap();
            let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(at);
            File::open(archive.path(&run(name))).unwrap().set_modified(at).unwrap();
        }
        std::fs::create_dir_all(archive.directory.join("new/logs")).unwrap();
        std::fs::write(archive.directory.join("new/logs/1.log"), [0; 1000]).unwrap();
        std::fs::create_dir(archive.directory.join("live")).unwrap();
        std::fs::write(archive.directory.join(".lock"), "").unwrap();
        let listed = archive.list().unwrap();
        assert_eq!(listed.iter().map(|a| a.run.as_str()).collect::<Vec<_>>(), ["new", "old"]);
        let stream = "{\"seq\":1,\"fact\":{}}\n".len() as u64;
        assert_eq!(listed.iter().map(|a| a.bytes).collect::<Vec<_>>(), [stream + 1000, stream]);
        archive.remove(&run("new")).unwrap();
        let left: Vec<_> = entries(&archive.directory).unwrap().iter().map(DirEntry::file_name).collect();
        assert!(!left.contains(&"new".into()) && left.len() == 3, "{left:?}");
    }

    #[test]
    fn the_ends_of_a_stream_are_read_without_what_is_between_them() {
        let (_directory, archive) = archive();
        let run: RunId = "r1".parse().unwrap();
        let body = |size: usize| format!("{{\"t\": \"{}\"}}", "x".repeat(size)).into_bytes();
        for sizes in [vec![7], vec![5, 100_000, 6], vec![100_000, 5, 100_000]] {
            let facts: Vec<_> = (1..).map(Seq).zip(sizes.iter().map(|size| body(*size))).collect();
            write(&archive, &run, &facts).unwrap();
            let [first, last] = archive.ends(&run).unwrap();
            assert_eq!(first, facts[0].1);
            assert_eq!(last, facts.last().unwrap().1);
        }
        std::fs::write(archive.path(&run), "{\"seq\":1,\"fact\":{}}\n{\"seq\":torn").unwrap();
        assert!(matches!(archive.ends(&run), Err(Error::Torn { .. })));
        std::fs::write(archive.path(&run), "").unwrap();
        assert!(matches!(archive.ends(&run), Err(Error::Torn { .. })));
    }

    #[test]
    fn what_is_no_stream_is_not_kept_and_damage_is_named() {
        let (_directory, archive) = archive();
        let run = "r1".parse().unwrap();
        let falling = [(Seq(2), b"{}".to_vec()), (Seq(1), b"{}".to_vec())];
        assert!(matches!(write(&archive, &run, &falling), Err(Error::NotAStream { .. })));
        assert!(write(&archive, &run, &[(Seq(1), b"{\n}".to_vec())]).is_err());
        assert!(!archive.contains(&run));
        write(&archive, &run, &[(Seq(1), b"{}".to_vec())]).unwrap();
        let text = std::fs::read(archive.path(&run)).unwrap();
        std::fs::write(archive.path(&run), [&text[..], b"{\"seq\":torn"].concat()).unwrap();
        let read: Vec<_> = archive.read(&run, Seq(0)).unwrap().collect();
        assert!(matches!(read[..], [Ok(_), Err(Error::Damaged { line: 2, .. })]), "{read:?}");
    }
}
