//! The adapter's end of the executor's socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::agent::adapter::{Command, Event};

pub(super) struct Channel {
    incoming: BufReader<UnixStream>,
    outgoing: UnixStream,
    /// Events that go with the next one: `finished` of a test with `started` of the next.
    waiting: Vec<u8>,
    closed: bool,
}

impl Channel {
    pub fn connect(socket: &Path) -> io::Result<Channel> {
        let outgoing = UnixStream::connect(socket)?;
        Ok(Channel {
            incoming: BufReader::new(outgoing.try_clone()?),
            outgoing,
            waiting: Vec::new(),
            closed: false,
        })
    }

    /// For whoever ends the reading; see [`Channel::is_interrupted`].
    pub fn stream(&self) -> io::Result<UnixStream> {
        self.outgoing.try_clone()
    }

    /// The next command; None when nothing more will come.
    pub fn next(&mut self) -> Option<Command> {
        self.flush();
        let mut line = String::new();
        let read = self.incoming.read_line(&mut line).ok().filter(|read| *read > 0);
        let command = read.and_then(|_| serde_json::from_str(&line).ok());
        self.closed = command.is_none();
        command
    }

    /// Whether commands ended without `finish`: the executor closes the connection only when it dies, and an interrupt
    /// closes this end.
    pub fn is_interrupted(&self) -> bool {
        self.closed
    }

    pub fn say(&mut self, event: &Event) {
        serde_json::to_writer(&mut self.waiting, event).expect("events are plain data");
        self.waiting.push(b'\n');
        if !matches!(event, Event::Finished(_)) {
            self.flush();
        }
    }

    /// An executor that does not read is gone, and kills us by that.
    fn flush(&mut self) {
        let _ = self.outgoing.write_all(&self.waiting);
        self.waiting.clear();
    }
}
