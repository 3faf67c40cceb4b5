//! Approved texts: what a user sees, kept as plain files beside this one. `SEAGULL_BLESS=1 cargo test` rewrites them.

use std::path::Path;
use std::{env, fs};

/// Compares a text with the approved one of that name.
pub fn check(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if env::var_os("SEAGULL_BLESS").is_some() {
        fs::write(&path, actual).unwrap();
        return;
    }
    let approved = fs::read_to_string(&path).unwrap_or_default();
    let differs = approved.lines().zip(actual.lines()).position(|(a, b)| a != b);
    let line = differs.unwrap_or(approved.lines().count().min(actual.lines().count()));
    assert!(
        approved == actual,
        "{name} differs from line {} on:\n  approved: {:?}\n  actual:   {:?}\nhint: look at it, then SEAGULL_BLESS=1\n{actual}",
        line + 1,
        approved.lines().nth(line),
        actual.lines().nth(line),
    );
}
