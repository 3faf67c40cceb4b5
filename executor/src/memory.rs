//! How much memory this machine has, as its kernel says.

use std::fs;

/// In KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Machine {
    pub total: u64,
    /// What programs can have before any is swapped out.
    pub available: u64,
}

/// None where the kernel does not say.
pub(crate) fn machine() -> Option<Machine> {
    read(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn read(text: &str) -> Option<Machine> {
    let of = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.trim().strip_suffix(" kB")?.parse().ok()
    };
    Some(Machine { total: of("MemTotal")?, available: of("MemAvailable")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_the_kernel_writes_it() {
        let text = "MemTotal:       24683840 kB\nMemFree:         5693884 kB\nMemAvailable:   22301224 kB\nHugePages_Total:       0\n";
        assert_eq!(read(text), Some(Machine { total: 24_683_840, available: 22_301_224 }));
        assert_eq!(read("MemTotal: much\n"), None);
    }
}
