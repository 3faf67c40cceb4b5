//! Ids, numbers, texts and lists: what the other conversions are made of.

use std::collections::BTreeMap;
use std::fmt::Display;

use bytes::Bytes;
use seagull_domain::{AttemptId, Digest, Epoch, Generation, InvalidId, Seq, SlotNumber, TestIndex};

use super::Invalid;
use crate::limits;

pub(super) type Checked<T> = Result<T, Invalid>;

const ELLIPSIS: char = '…';

/// Cuts a text that is longer than `bytes` at a character boundary and ends it with an ellipsis.
pub(super) fn fit_text(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        let end = text.floor_char_boundary(bytes.saturating_sub(ELLIPSIS.len_utf8()));
        text.truncate(end);
        if bytes >= ELLIPSIS.len_utf8() {
            text.push(ELLIPSIS);
        }
    }
}

/// A text of at most so many bytes: a longer one is cut at a character boundary and ends with an ellipsis.
pub fn fitted(mut text: String, bytes: usize) -> String {
    fit_text(&mut text, bytes);
    text
}

pub(super) fn required<T>(value: Option<T>, field: &'static str) -> Checked<T> {
    value.ok_or_else(|| Invalid::new(field, "is missing"))
}

pub(super) fn at_most<N: PartialOrd + Display>(number: N, bound: N, field: &'static str) -> Checked<N> {
    if number <= bound {
        return Ok(number);
    }
    Err(Invalid::new(field, format!("is {number}, at most {bound} is allowed")))
}

pub(super) fn at_least_one<N: PartialOrd + From<u8>>(number: N, field: &'static str) -> Checked<N> {
    if number >= N::from(1) { Ok(number) } else { Err(Invalid::new(field, "is 0, at least 1 is expected")) }
}

pub(super) fn text(text: String, bytes: usize, field: &'static str) -> Checked<String> {
    bounded_length(text.len(), bytes, field)?;
    Ok(text)
}

/// A text that can be handed to the operating system.
pub(super) fn without_nul(text: String, bytes: usize, field: &'static str) -> Checked<String> {
    if text.contains('\0') {
        return Err(Invalid::new(field, "has a NUL"));
    }
    self::text(text, bytes, field)
}

pub(super) fn data(data: Bytes, bytes: usize, field: &'static str) -> Checked<Bytes> {
    bounded_length(data.len(), bytes, field)?;
    Ok(data)
}

fn bounded_length(length: usize, bytes: usize, field: &'static str) -> Checked<()> {
    if length <= bytes {
        return Ok(());
    }
    Err(Invalid::new(field, format!("has {length} bytes, at most {bytes} are allowed")))
}

pub(super) fn list<M, T>(
    messages: Vec<M>,
    bound: usize,
    field: &'static str,
    convert: impl FnMut(M) -> Checked<T>,
) -> Checked<Vec<T>> {
    bounded_count(messages.len(), bound, field)?;
    messages.into_iter().map(convert).collect()
}

pub(super) fn bounded_count(count: usize, bound: usize, field: &'static str) -> Checked<()> {
    if count <= bound {
        return Ok(());
    }
    Err(Invalid::new(field, format!("has {count} entries, at most {bound} are allowed")))
}

pub(super) fn labels(
    labels: BTreeMap<String, String>,
    field: &'static str,
) -> Checked<BTreeMap<String, String>> {
    bounded_count(labels.len(), limits::LABELS, field)?;
    for (name, value) in &labels {
        if name.is_empty() {
            return Err(Invalid::new(field, "has an empty name"));
        }
        bounded_length(name.len(), limits::LABEL_NAME_BYTES, field)?;
        bounded_length(value.len(), limits::WORD_BYTES, field)?;
    }
    Ok(labels)
}

/// A run id, executor id or boot id.
pub(super) fn id<T: TryFrom<String, Error = InvalidId>>(text: String, field: &'static str) -> Checked<T> {
    // The error repeats the text, so what is far too long must not get there.
    bounded_length(text.len(), limits::WORD_BYTES, field)?;
    T::try_from(text).map_err(|error| Invalid::new(field, error.to_string()))
}

pub(super) fn digest(bytes: &Bytes, field: &'static str) -> Checked<Digest> {
    let digest = <[u8; 32]>::try_from(bytes.as_ref());
    digest.map(Digest).map_err(|_| Invalid::new(field, format!("has {} bytes, 32 are expected", bytes.len())))
}

pub(super) fn digest_bytes(digest: Digest) -> Bytes {
    Bytes::copy_from_slice(&digest.0)
}

pub(super) fn number(number: u64, field: &'static str) -> Checked<u64> {
    at_most(number, limits::NUMBER, field)
}

pub(super) fn attempt(id: u64, field: &'static str) -> Checked<AttemptId> {
    number(id, field).map(AttemptId)
}

pub(super) fn seq(seq: u64, field: &'static str) -> Checked<Seq> {
    number(seq, field).map(Seq)
}

pub(super) fn epoch(epoch: u64, field: &'static str) -> Checked<Epoch> {
    number(epoch, field).map(Epoch)
}

pub(super) fn generation(generation: u32, field: &'static str) -> Checked<Generation> {
    at_most(generation, limits::SMALL_NUMBER, field).map(Generation)
}

pub(super) fn test(index: u32, field: &'static str) -> Checked<TestIndex> {
    at_most(index, limits::TESTS - 1, field).map(TestIndex)
}

/// How many tests there are of something.
pub(super) fn tests(count: u32, field: &'static str) -> Checked<u32> {
    at_most(count, limits::TESTS, field)
}

pub(super) fn slot_number(number: u32, field: &'static str) -> Checked<SlotNumber> {
    at_most(number, limits::SLOT_NUMBERS - 1, field).map(SlotNumber)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        let text = "aé漢🐦 and more";
        for bytes in 0..text.len() {
            let mut cut = text.to_owned();
            fit_text(&mut cut, bytes);
            assert!(cut.len() <= bytes, "{cut:?} is over {bytes}");
            assert!(text.starts_with(cut.trim_end_matches(ELLIPSIS)), "{cut:?} is no beginning");
        }
        let mut whole = text.to_owned();
        fit_text(&mut whole, text.len());
        assert_eq!(whole, text);
    }
}
