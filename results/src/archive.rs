//! Ended runs: the stream of each in a file of its own, a line for each fact.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use seagull_domain::{RunId, Seq};
use tempfile::NamedTempFile;

use crate::Error;

#[derive(Debug, Clone)]
pub struct Archive {
    directory: PathBuf,
}

impl Archive {
    pub fn open(directory: &Path) -> Result<Archive, Error> {
        std::fs::create_dir_all(directory).map_err(Error::io(directory))?;
        Ok(Archive { directory: directory.to_owned() })
    }

    fn path(&self, run: &RunId) -> PathBuf {
        self.directory.join(run.as_str()).join("stream.jsonl")
    }

    pub fn contains(&self, run: &RunId) -> bool {
        self.path(run).is_file()
    }

    /// Writes the whole stream of a run, numbers rising; it appears whole or not at all. A fact is JSON on one line.
    pub fn write(&self, run: &RunId, facts: impl IntoIterator<Item = (Seq, Vec<u8>)>) -> Result<(), Error> {
        let path = self.path(run);
        let parent = path.parent().unwrap_or(&self.directory);
        std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
        let file = NamedTempFile::new_in(parent).map_err(Error::io(parent))?;
        let mut writer = BufWriter::new(&file);
        for (seq, body) in facts {
            let line = write!(writer, "{seq} ")
                .and_then(|()| writer.write_all(&body))
                .and_then(|()| writer.write_all(b"\n"));
            line.map_err(Error::io(&path))?;
        }
        writer.flush().map_err(Error::io(&path))?;
        drop(writer);
        file.as_file().sync_all().map_err(Error::io(&path))?;
        file.persist(&path).map_err(|error| Error::Io { path, source: error.error })?;
        Ok(())
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
            let damaged = || Error::Damaged { path: path.clone(), line };
            let space = bytes.iter().position(|byte| *byte == b' ').ok_or_else(damaged)?;
            let seq = std::str::from_utf8(&bytes[..space]).ok().and_then(|seq| seq.parse().ok());
            Ok((seq.ok_or_else(damaged)?, bytes[space + 1..].to_vec()))
        });
        Ok(parsed.filter(move |fact| fact.as_ref().map_or(true, |(seq, _)| *seq > after)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_from_any_number_on() {
        let directory = tempfile::tempdir().unwrap();
        let archive = Archive::open(directory.path()).unwrap();
        let run = "r1".parse().unwrap();
        assert!(!archive.contains(&run));
        let facts = [2, 5, 9].map(|seq| (Seq(seq), format!("{{\"n\": {seq}}}").into_bytes()));
        archive.write(&run, facts.clone()).unwrap();
        let read = |after| archive.read(&run, Seq(after)).unwrap().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(read(0), facts);
        assert_eq!(read(2), facts[1..]);
        assert_eq!(read(9), []);
    }
}
