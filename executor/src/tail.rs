//! Logs of what runs in sandboxes: kept short while it does, and read at their end.
#![expect(clippy::disallowed_methods, reason = "a shell: a log is looked at from time to time")]

use std::convert::Infallible;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

/// Bytes of what a dead process wrote. They fit a report, with a sentence before them.
pub(crate) const LAST_WORDS: u64 = 12 << 10;
/// Bytes that a log may have, and how often it is looked at.
const LOG_BYTES: u64 = 4 << 20;
const LOOK: Duration = Duration::from_secs(1);

/// The end of a file, at most so many bytes, as text; nothing of one that cannot be read. It begins with a line, if one
/// begins there: what is cut might be half a secret.
pub(crate) fn tail(path: &Path, most: u64) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let cut = file.metadata()?.len().saturating_sub(most);
        file.seek(SeekFrom::Start(cut))?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        let inner = &bytes[..bytes.len().saturating_sub(1)];
        let line = inner.iter().position(|byte| *byte == b'\n').filter(|_| cut > 0);
        Ok(bytes.split_off(line.map_or(0, |end| end + 1)))
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// Cuts a log down to its end whenever it has grown too long: a suite that is not captured writes all it has to say.
pub(crate) async fn keep_short(log: &Path) -> Infallible {
    loop {
        tokio::time::sleep(LOOK).await;
        // A log that cannot be cut is only long.
        let _ = shorten(log, LOG_BYTES);
    }
}

/// All who write to the log append, so that they go on wherever its end is.
fn shorten(log: &Path, most: u64) -> std::io::Result<()> {
    if log.metadata()?.len() <= most {
        return Ok(());
    }
    let end = tail(log, LAST_WORDS);
    let mut file = File::options().append(true).open(log)?;
    file.set_len(0)?;
    write!(file, "[what was written before is left out]\n{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_grows_too_long_is_cut_to_its_end_and_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let mut writer = File::options().create(true).append(true).open(&log).unwrap();
        write!(writer, "{}last", "123456789\n".repeat(10_000)).unwrap();
        shorten(&log, 200_000).unwrap();
        assert_eq!(log.metadata().unwrap().len(), 100_004);
        shorten(&log, 100_000).unwrap();
        write!(writer, " words").unwrap();
        let text = std::fs::read_to_string(&log).unwrap();
        assert!(text.starts_with("[what was written before is left out]\n123456789\n"), "{text:.80}");
        assert!(text.ends_with("9\nlast words") && text.len() < 20_000, "{}", text.len());
    }

    #[test]
    fn an_end_begins_with_a_line_if_one_begins_there() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        assert_eq!(tail(&log, 100), "");
        std::fs::write(&log, "one two\nthree\nfour").unwrap();
        for (most, end) in [(100, "one two\nthree\nfour"), (16, "three\nfour"), (7, "four"), (3, "our")] {
            assert_eq!(tail(&log, most), end);
        }
        std::fs::write(&log, "a long line\n").unwrap();
        assert_eq!(tail(&log, 6), " line\n");
    }
}
