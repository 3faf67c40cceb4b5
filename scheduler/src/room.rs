//! Room for what waits to be kept elsewhere. Where there is none, reports that bring results wait a while before they are
//! taken: executors get slower, and nothing is dropped.
#![expect(clippy::disallowed_methods, reason = "a shell: reports wait, but not for ever")]

use std::io::Write;
use std::mem;
use std::time::Duration;

use tokio::sync::watch;

/// Bytes that may wait for a store, and as many for an index, where nothing else is said.
pub const SPOOL_BYTES: u64 = 20 << 30;

/// Where results are kept besides the state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    Store,
    Index,
}

pub(crate) struct Room {
    bound: u64,
    /// By [`Elsewhere`]: whether more waits for it than may.
    full: watch::Sender<[bool; 2]>,
}

impl Room {
    pub fn new(bound: u64) -> Room {
        Room { bound, full: watch::Sender::new([false; 2]) }
    }

    pub fn is_full(&self, of: Elsewhere) -> bool {
        self.full.borrow()[of as usize]
    }

    /// Waits while more is to go elsewhere than may wait, but no longer than this.
    pub async fn wait(&self, at_most: Duration) {
        let mut full = self.full.subscribe();
        let _ = tokio::time::timeout(at_most, full.wait_for(|full| *full == [false; 2])).await;
    }

    /// So many bytes wait. It is said when that is more than may, and when it is not any more.
    pub fn weigh(&self, of: Elsewhere, bytes: u64) {
        let is_full = bytes > self.bound;
        let turned =
            self.full.send_if_modified(|full| mem::replace(&mut full[of as usize], is_full) != is_full);
        let name = match of {
            Elsewhere::Store => "store",
            Elsewhere::Index => "index",
        };
        let said = match (turned, is_full) {
            (false, _) => return,
            (true, true) => format!(
                "{bytes} bytes wait for the {name}: executors are slowed until it takes them, and nothing is dropped\n\
                 hint: --spool says how much may wait on this disk"
            ),
            (true, false) => {
                format!("the {name} has taken what was too much: executors are not slowed by it any more")
            }
        };
        let _ = writeln!(std::io::stderr(), "warning: {said}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn reports_wait_while_there_is_no_room_for_either_and_not_for_ever() {
        let room = Room::new(10);
        room.weigh(Elsewhere::Store, 10);
        room.wait(LONG).await;
        room.weigh(Elsewhere::Store, 11);
        room.weigh(Elsewhere::Index, 11);
        room.wait(Duration::ZERO).await;
        room.weigh(Elsewhere::Store, 0);
        assert!(!room.is_full(Elsewhere::Store) && room.is_full(Elsewhere::Index));
        tokio::select! {
            biased;
            () = room.wait(LONG) => panic!("there is no room"),
            () = tokio::task::yield_now() => {}
        }
        tokio::join!(room.wait(LONG), async { room.weigh(Elsewhere::Index, 10) });
    }
}
