//! The contents of a bundle: entries here, columns on the wire.

use seagull_domain::{BundleContents, Entry, Role};

use super::Invalid;
use super::scalar::{self, Checked};
use super::words::{self, Word};
use crate::{limits, v1};

impl From<BundleContents> for v1::BundleContents {
    fn from(contents: BundleContents) -> Self {
        let entries = &contents.entries;
        let mut message = Self {
            generation: contents.generation.0,
            manifest: scalar::digest_bytes(contents.manifest),
            anticipated: contents.anticipated,
            tests: entries.iter().map(|entry| entry.test.0).collect(),
            predicted_us: entries.iter().map(|entry| entry.predicted_us.min(limits::MICROS)).collect(),
            limit_ms: entries.iter().map(|entry| entry.limit_ms.min(limits::MILLIS)).collect(),
            role: Vec::new(),
            relation: Vec::new(),
        };
        if entries.iter().any(|entry| entry.role != Role::Run) {
            message.role = entries.iter().map(|entry| entry.role.number()).collect();
        }
        if entries.iter().any(|entry| entry.relation != 0) {
            message.relation = entries.iter().map(|entry| entry.relation).collect();
        }
        message
    }
}

impl TryFrom<v1::BundleContents> for BundleContents {
    type Error = Invalid;

    fn try_from(message: v1::BundleContents) -> Checked<Self> {
        let length = message.tests.len();
        scalar::bounded_count(length, limits::BUNDLE_ENTRIES, "BundleContents.tests")?;
        let same_length = |column: usize, field| {
            if column == length {
                return Ok(());
            }
            Err(Invalid::new(field, format!("has {column} entries for {length} tests")))
        };
        same_length(message.predicted_us.len(), "BundleContents.predicted_us")?;
        same_length(message.limit_ms.len(), "BundleContents.limit_ms")?;
        if !message.role.is_empty() {
            same_length(message.role.len(), "BundleContents.role")?;
        }
        if !message.relation.is_empty() {
            same_length(message.relation.len(), "BundleContents.relation")?;
        }
        Ok(Self {
            generation: scalar::generation(message.generation, "BundleContents.generation")?,
            manifest: scalar::digest(&message.manifest, "BundleContents.manifest")?,
            anticipated: message.anticipated,
            entries: (0..length).map(|place| entry(&message, place)).collect::<Checked<_>>()?,
        })
    }
}

/// The entry at a place that every column has, unless it is empty.
fn entry(message: &v1::BundleContents, place: usize) -> Checked<Entry> {
    let role = message.role.get(place).map(|role| words::word(*role, "BundleContents.role"));
    let relation = message.relation.get(place).copied().unwrap_or(0);
    Ok(Entry {
        test: scalar::test(message.tests[place], "BundleContents.tests")?,
        role: role.transpose()?.unwrap_or(Role::Run),
        predicted_us: scalar::at_most(
            message.predicted_us[place],
            limits::MICROS,
            "BundleContents.predicted_us",
        )?,
        limit_ms: scalar::at_most(message.limit_ms[place], limits::MILLIS, "BundleContents.limit_ms")?,
        relation: scalar::tests(relation, "BundleContents.relation")?,
    })
}
