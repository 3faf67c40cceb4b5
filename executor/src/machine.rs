//! What this machine has of memory and cores, as its kernel says.

use std::fs;
use std::thread;

use seagull_domain::Resources;

/// So much of the machine's memory is nobody's: a tenth.
const FREE: u64 = 10;

/// In KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    total: u64,
    /// What programs can have before any is swapped out.
    available: u64,
}

/// None where the kernel does not say.
pub(crate) fn memory() -> Option<Memory> {
    read(&fs::read_to_string("/proc/meminfo").ok()?)
}

/// What tests and their services may have together, if nobody says otherwise: all cores, and nine tenths of the memory.
pub fn capacity() -> Resources {
    let cores = thread::available_parallelism().map_or(u64::MAX, |cores| cores.get() as u64 * 1000);
    let memory = memory().map_or(u64::MAX, |memory| memory.total - memory.total / FREE);
    Resources { memory_kib: memory, millicpus: cores }
}

impl Memory {
    /// Whether what is free now is enough for `needed` KiB more.
    pub fn has_room(self, needed: u64) -> bool {
        self.available.saturating_sub(needed) >= self.total / FREE
    }
}

fn read(text: &str) -> Option<Memory> {
    let of = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.trim().strip_suffix(" kB")?.parse().ok()
    };
    Some(Memory { total: of("MemTotal")?, available: of("MemAvailable")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_the_kernel_writes_it() {
        let text = "MemTotal:       24683840 kB\nMemFree:         5693884 kB\nMemAvailable:   22301224 kB\nHugePages_Total:       0\n";
        assert_eq!(read(text), Some(Memory { total: 24_683_840, available: 22_301_224 }));
        assert_eq!(read("MemTotal: much\n"), None);
    }

    #[test]
    fn a_machine_keeps_some_of_its_memory() {
        let memory = Memory { total: 1000, available: 400 };
        assert!(memory.has_room(300) && !memory.has_room(301) && !memory.has_room(u64::MAX));
    }
}
