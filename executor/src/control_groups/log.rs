//! The kernel's log of what it has killed for want of memory: the only place where the older version says whose that was.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;

use crate::sandbox::OutOfMemory;

const LOG: &str = "/dev/kmsg";
/// A record is shorter.
const RECORD: usize = 8 << 10;
/// More are in no log that is not flooded meanwhile.
const RECORDS: usize = 200_000;
const KILL: &str = "oom-kill:";

/// For what the last was killed in a group of such a name; None where the log says nothing of that, or to nobody here.
pub(super) fn last_kill(group: &str) -> Option<OutOfMemory> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).ok()?;
    let mut log = OpenOptions::new().read(true).custom_flags(flags).open(LOG).ok()?;
    let (mut record, mut last) = ([0; RECORD], None);
    for _ in 0..RECORDS {
        match log.read(&mut record) {
            Ok(length) => {
                last = kill(&String::from_utf8_lossy(&record[..length]), group).or(last);
            }
            // Older ones were overwritten meanwhile.
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted) => {}
            Err(_) => break,
        }
    }
    last
}

/// Whose memory there was no more of, where the record is of a kill in such a group: its own, or that of what it is in.
fn kill(record: &str, group: &str) -> Option<OutOfMemory> {
    let said = record.split_once(KILL)?.1;
    let of = |name: &str| {
        let field = said.split([',', '\n']).find_map(|field| field.strip_prefix(name)?.strip_prefix('='))?;
        Some(field.split('/').any(|part| part == group))
    };
    of("task_memcg")?.then_some(match of("oom_memcg") {
        Some(true) => OutOfMemory::Limit,
        Some(false) | None => OutOfMemory::Machine,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_is_for_the_groups_own_limit_or_for_what_it_is_in() {
        let record = |constraint: &str, of: &str| {
            format!(
                "6,900,77,-;oom-kill:constraint={constraint},nodemask=(null),cpuset=/,mems_allowed=0{of},\
                 task_memcg=/unit/seagull-1,task=python3,pid=7,uid=0\n SUBSYSTEM=x\n"
            )
        };
        let own = record("CONSTRAINT_MEMCG", ",oom_memcg=/unit/seagull-1");
        let above = record("CONSTRAINT_MEMCG", ",oom_memcg=/unit");
        let machine = record("CONSTRAINT_NONE", "");
        assert_eq!(kill(&own, "seagull-1"), Some(OutOfMemory::Limit));
        assert_eq!(kill(&above, "seagull-1"), Some(OutOfMemory::Machine));
        assert_eq!(kill(&machine, "seagull-1"), Some(OutOfMemory::Machine));
        assert_eq!((kill(&own, "seagull-2"), kill("6,1,1,-;usb 1-1: new device", "seagull-1")), (None, None));
    }
}
