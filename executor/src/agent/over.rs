//! What a worker was killed for: its sandbox had more of something than it may have.

use seagull_domain::Limits;
use seagull_executor_core::Over;

use super::worker::Voice;
use crate::sandbox::{Exit, OutOfMemory};

/// And in words.
pub(super) fn over(voice: &Voice, exit: &Exit) -> Option<(Over, String)> {
    let is_over_memory = exit.out_of_memory == Some(OutOfMemory::Limit);
    if !is_over_memory && exit.over_disk.is_none() {
        return None;
    }
    let of = voice.start.surroundings;
    let environment = voice.context.definition(of).ok().flatten()?;
    let limits = environment.environment.limits().cloned().unwrap_or_default();
    let told = |what: &str, limit, taken| words(what, (limit, of.larger), taken, &environment.name);
    let mib = |bytes: u64| Some(bytes >> 20).filter(|mib| *mib > 0);
    let Limits { memory_kib, disk_kib, .. } = limits;
    Some(match exit.over_disk.filter(|_| !is_over_memory) {
        Some(bytes) => {
            (Over::Disk, told("disk", disk_kib, mib(bytes).map(|mib| format!("{mib} MiB written"))))
        }
        None => {
            let peak = exit.usage.peak_bytes;
            let taken = mib(peak).map(|mib| format!("a peak of {mib} MiB"));
            (Over::Memory(peak / 1024), told("memory", memory_kib, taken))
        }
    })
}

fn words(
    what: &str,
    (limit_kib, twice): (Option<u64>, bool),
    taken: Option<String>,
    environment: &str,
) -> String {
    let limit = limit_kib.map(|kib| format!(" of {} MiB", kib >> 10)).unwrap_or_default();
    let twice = if twice { ", twice what is set" } else { "" };
    let taken = taken.map(|taken| format!(", with {taken}")).unwrap_or_default();
    format!("over its {what} limit{limit}{twice}: killed{taken}; [environment.{environment}] {what} sets it")
}
