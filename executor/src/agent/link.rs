//! The socket to one worker: a thread that reads, and one that writes, so that neither a worker that does not read nor
//! one that speaks a thousand times a second disturbs the agent.
#![expect(clippy::disallowed_methods, reason = "a shell: the link's threads pace themselves")]

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::adapter::{Command, LINE_BYTES};
use super::reader::Reader;
use super::worker::Voice;

/// What a worker says in so much time is read at once: waking up for every short test would cost more than the test.
const GULP: Duration = Duration::from_millis(2);

/// Gets why nobody listens any more though the worker speaks, if it comes to that. Closed when all is heard.
pub(crate) type Heard = UnboundedReceiver<String>;

pub(crate) struct Link {
    lines: mpsc::Sender<Vec<u8>>,
}

impl Link {
    /// Starts to listen.
    pub fn open(stream: UnixStream, voice: Voice) -> io::Result<(Link, Heard)> {
        stream.set_nonblocking(false)?;
        let incoming = stream.try_clone()?;
        let (deaf, heard) = unbounded_channel();
        let mut reader = Reader::new(voice);
        let read = move || {
            if let Err(reason) = listen(incoming, |line| reader.line(line)) {
                let _ = deaf.send(reason);
            }
        };
        std::thread::Builder::new().name("worker-reads".into()).spawn(read)?;
        let (lines, queue) = mpsc::channel();
        std::thread::Builder::new().name("worker-writes".into()).spawn(move || write(stream, &queue))?;
        Ok((Link { lines }, heard))
    }

    /// Sends a command, some time. A worker that does not read is about to end; its exit tells.
    pub fn send(&self, command: &Command) {
        let mut line = serde_json::to_vec(command).expect("commands are plain data");
        line.push(b'\n');
        let _ = self.lines.send(line);
    }
}

fn write(mut stream: UnixStream, queue: &mpsc::Receiver<Vec<u8>>) {
    while let Ok(line) = queue.recv() {
        if stream.write_all(&line).is_err() {
            return;
        }
    }
}

/// Hands on line by line until the other end closes, or says why not: a line is too long, or not what `take` takes.
fn listen(mut stream: impl Read, mut take: impl FnMut(&[u8]) -> Result<(), String>) -> Result<(), String> {
    let mut buffer = Vec::with_capacity(256 << 10);
    let mut chunk = vec![0; 64 << 10];
    loop {
        let length = match stream.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return Ok(()),
        };
        let scanned = buffer.len();
        buffer.extend_from_slice(&chunk[..length]);
        let Some(end) = buffer[scanned..].iter().rposition(|byte| *byte == b'\n') else {
            if buffer.len() > LINE_BYTES {
                return Err(format!("its adapter said a line of over {} MiB", LINE_BYTES >> 20));
            }
            continue;
        };
        let end = scanned + end + 1;
        buffer[..end].split_inclusive(|byte| *byte == b'\n').try_for_each(&mut take)?;
        buffer.drain(..end);
        if length < chunk.len() {
            std::thread::sleep(GULP);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes a few at a time.
    struct Dribble<'a>(&'a [u8]);

    impl Read for Dribble<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let length = self.0.len().min(3);
            into[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let mut lines = Vec::new();
        let take = |line: &[u8]| {
            lines.push(String::from_utf8_lossy(line).into_owned());
            Ok(())
        };
        assert_eq!(listen(Dribble(b"a\nbcdefgh\n\nij\nunfinished"), take), Ok(()));
        assert_eq!(lines, ["a\n", "bcdefgh\n", "\n", "ij\n"]);
    }

    #[test]
    fn why_nobody_listens_any_more_is_told() {
        let mut taken = 0;
        let refuse = |_: &[u8]| {
            taken += 1;
            Err("nonsense".to_owned())
        };
        assert_eq!(listen(Dribble(b"a\nb\nc\n"), refuse), Err("nonsense".to_owned()));
        assert_eq!(taken, 1);
        let told = listen(io::repeat(b'x'), |_| Ok(())).unwrap_err();
        assert!(told.contains("16 MiB"), "{told}");
    }
}
