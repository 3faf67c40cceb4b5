//! What is made anew by chance and time: secrets, seeds, names for runs and executors.
#![expect(clippy::disallowed_methods, reason = "a shell: names and submissions carry the time")]

use std::fs::File;
use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use seagull_domain::{ExecutorId, RunId};
use seagull_proto::Token;

/// Bytes that nobody can guess.
pub fn bytes<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.context("cannot read /dev/urandom")?;
    Ok(bytes)
}

/// 256 random bits in hexadecimal.
pub fn secret() -> anyhow::Result<String> {
    Ok(hex(&bytes::<32>()?))
}

/// A token that is never written anywhere.
pub fn token() -> anyhow::Result<Token> {
    Ok(secret()?.parse()?)
}

pub fn seed() -> anyhow::Result<u32> {
    Ok(u32::from_le_bytes(bytes()?))
}

/// `20261124-191500-ab12cd`: sorts by time (UTC), and does not repeat.
pub fn run_id() -> anyhow::Result<RunId> {
    let name = format!("{}-{}", stamp(unix_millis() / 1000), hex(&bytes::<3>()?));
    Ok(name.parse()?)
}

/// Machine, process, and chance.
pub fn executor_id() -> anyhow::Result<ExecutorId> {
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = format!("{}-{}-{}", safe(&host), std::process::id(), hex(&bytes::<3>()?));
    Ok(name.parse()?)
}

pub fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first label of a host's name, cut to what an id may hold.
fn safe(host: &str) -> String {
    let label = host.split('.').next().unwrap_or_default();
    let kept: String = label.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
    if kept.is_empty() { "executor".to_owned() } else { kept }
}

/// Date and time of a moment, in UTC.
fn stamp(unix_seconds: u64) -> String {
    let (days, seconds) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let (year, month, day) = date(days);
    format!("{year:04}{month:02}{day:02}-{:02}{:02}{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// The Gregorian date so many days after 1970-01-01. Years are counted from March, so that a leap day is the last one
/// of its year.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    const FROM_MARCH_OF_YEAR_0: u64 = 719_468;
    let days = days + FROM_MARCH_OF_YEAR_0;
    let (cycle, day_of_cycle) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let leap_days = day_of_cycle / 1460 - day_of_cycle / 36_524 + day_of_cycle / 146_096;
    let year_of_cycle = (day_of_cycle - leap_days) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = cycle * 400 + year_of_cycle + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_dates() {
        let table = [
            (0, "19700101-000000"),
            (951_782_399, "20000228-235959"),
            (951_782_400, "20000229-000000"),
            (1_709_251_199, "20240229-235959"),
            (1_795_548_900, "20261124-193500"),
            (4_107_542_400, "21000301-000000"),
        ];
        for (seconds, expected) in table {
            assert_eq!(stamp(seconds), expected);
        }
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut last = date(0);
        for day in 1..=146_097 {
            let (year, month, number) = date(day);
            let next = (year, month, number) == (last.0, last.1, last.2 + 1);
            let next_month = number == 1 && last.2 >= 28 && (year, month) == following(last.0, last.1);
            assert!(next || next_month, "{last:?} is followed by {:?}", (year, month, number));
            last = (year, month, number);
        }
        assert_eq!(last, (2370, 1, 1));
    }

    fn following(year: u64, month: u64) -> (u64, u64) {
        if month == 12 { (year + 1, 1) } else { (year, month + 1) }
    }

    #[test]
    fn ids_do_not_repeat_and_hosts_are_cut_to_size() {
        assert_ne!(run_id().unwrap(), run_id().unwrap());
        assert_ne!(executor_id().unwrap(), executor_id().unwrap());
        assert_eq!(safe("build_7.example.org"), "build7");
        assert_eq!(safe("Ü."), "executor");
        assert_eq!(secret().unwrap().len(), 64);
    }
}
