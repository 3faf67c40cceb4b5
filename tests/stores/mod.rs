//! Stores of blobs: each backend does the same, whatever goes wrong on the way; and schedulers that keep what they have
//! in one.

mod conformance;
mod faults;
mod ids;
mod measure;
mod outage;
mod restored;
mod schedulers;
mod silence;

use std::io::Read;
use std::sync::Arc;

use seagull_results::{Key, Store, When, digest, open_store};

use crate::harness::Minio;

pub use self::schedulers::{listens, scheduler_again, waiting};

fn open(url: &str) -> Arc<dyn Store> {
    open_store(&url.parse().unwrap_or_else(|error| panic!("{url}: {error}"))).unwrap()
}

/// A store in a new bucket.
fn in_bucket(minio: &Minio) -> Arc<dyn Store> {
    open(&minio.url(&minio.bucket(), "root", None))
}

/// Bytes that do not compress, the same for a seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 27)).to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(|_| next()).take(length).collect()
}

fn key(bytes: &[u8]) -> Key {
    Key::Blob(digest(bytes))
}

#[track_caller]
fn put(store: &dyn Store, bytes: &[u8]) -> Key {
    store.put(&key(bytes), &mut &bytes[..], bytes.len() as u64, When::Always).unwrap();
    key(bytes)
}

#[track_caller]
fn get(store: &dyn Store, key: &Key, range: std::ops::Range<u64>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    store.get(key, range).unwrap()?.read_to_end(&mut bytes).unwrap();
    Some(bytes)
}
