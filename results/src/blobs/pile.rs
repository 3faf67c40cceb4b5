//! Many small blobs as one object: one behind the other, with a table of them at the end, so that each is one ranged read.
//! What they begin with lets `zstd -d` read the whole where it reads each of them.

use std::io::{Error, Read, Write};
use std::ops::Range;

use seagull_domain::Digest;

/// Blobs of a pile. Its table is no longer than 4.5 MiB.
pub const MOST: usize = 1 << 17;
/// So much of the end has the table of a usual one.
pub const END_BYTES: u64 = 64 << 10;
/// A digest, and how many bytes it is of.
const ENTRY_BYTES: u64 = 32 + 4;
const HEADER_BYTES: u64 = 8;
/// How many entries there are, and the mark.
const FOOTER_BYTES: u64 = 8;
/// A frame that zstd skips, and the end of one that is this table.
const SKIPPABLE: u32 = 0x184D_2A54;
const MARK: [u8; 4] = *b"pile";

/// A pile is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an object of many files is damaged: {0}")]
pub struct Damaged(&'static str);

/// Writes blobs, each with its digest, in the order of these.
pub fn write<R: Read>(
    blobs: impl Iterator<Item = Result<(Digest, R), Error>>,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let mut table = Vec::new();
    for blob in blobs {
        let (digest, mut bytes) = blob?;
        let length = std::io::copy(&mut bytes, out)?;
        table.extend(digest.0);
        table.extend(u32::try_from(length).map_err(Error::other)?.to_le_bytes());
    }
    let entries = u32::try_from(table.len() as u64 / ENTRY_BYTES).map_err(Error::other)?;
    let length = u32::try_from(table.len() as u64 + FOOTER_BYTES).map_err(Error::other)?;
    for part in [&SKIPPABLE.to_le_bytes()[..], &length.to_le_bytes(), &table, &entries.to_le_bytes(), &MARK] {
        out.write_all(part)?;
    }
    Ok(())
}

/// Where what is in a pile: by digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table(Vec<(Digest, Range<u64>)>);

impl Table {
    /// How many bytes the table has at the end of an object of which this is the end.
    pub fn bytes(end: &[u8]) -> Result<u64, Damaged> {
        let footer = end.last_chunk::<{ FOOTER_BYTES as usize }>().ok_or(Damaged("it is too short"))?;
        let (entries, mark) = footer.split_first_chunk::<4>().ok_or(Damaged("it is too short"))?;
        let entries = u32::from_le_bytes(*entries);
        if mark != MARK || entries as usize > MOST {
            return Err(Damaged("it has no table"));
        }
        Ok(HEADER_BYTES + u64::from(entries) * ENTRY_BYTES + FOOTER_BYTES)
    }

    /// Reads the table from the end of an object of so many bytes.
    pub fn of_end(end: &[u8], object: u64) -> Result<Table, Damaged> {
        let bytes = Table::bytes(end)?;
        let start = end.len().checked_sub(bytes as usize).ok_or(Damaged("its table is cut off"))?;
        let (header, rest) = end[start..].split_at(HEADER_BYTES as usize);
        let length = (bytes - HEADER_BYTES) as u32;
        if header != [SKIPPABLE.to_le_bytes(), length.to_le_bytes()].concat() {
            return Err(Damaged("it has no table"));
        }
        let entries = &rest[..rest.len() - FOOTER_BYTES as usize];
        let (mut at, mut table) = (0, Vec::new());
        for entry in entries.chunks_exact(ENTRY_BYTES as usize) {
            let (digest, length) = entry.split_first_chunk::<32>().ok_or(Damaged("its table is cut off"))?;
            let length =
                length.try_into().map(u32::from_le_bytes).map_err(|_| Damaged("its table is cut off"))?;
            let range = at..at + u64::from(length);
            at = range.end;
            table.push((Digest(*digest), range));
        }
        if at + bytes != object || !table.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err(Damaged("its table does not fit"));
        }
        Ok(Table(table))
    }

    /// Where a blob is.
    pub fn find(&self, digest: &Digest) -> Option<Range<u64>> {
        let found = self.0.binary_search_by_key(digest, |(digest, _)| *digest);
        found.ok().map(|place| self.0[place].1.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest;

    fn pile(blobs: &[&[u8]]) -> (Vec<Digest>, Vec<u8>) {
        let mut of: Vec<_> = blobs.iter().map(|bytes| (digest(bytes), *bytes)).collect();
        of.sort();
        let mut out = Vec::new();
        write(of.iter().map(|(digest, bytes)| Ok((*digest, *bytes))), &mut out).unwrap();
        (blobs.iter().map(|bytes| digest(bytes)).collect(), out)
    }

    #[test]
    fn each_is_found_where_it_is_and_no_other() {
        let blobs: [&[u8]; 4] = [b"one", b"", b"three", &[7; 1000]];
        let (digests, object) = pile(&blobs);
        let bytes = Table::bytes(&object).unwrap() as usize;
        let table = Table::of_end(&object[object.len() - bytes..], object.len() as u64).unwrap();
        for (digest, expected) in digests.iter().zip(blobs) {
            let range = table.find(digest).unwrap();
            assert_eq!(&object[range.start as usize..range.end as usize], expected);
        }
        assert_eq!(table.find(&digest(b"none")), None);
        let (_, empty) = pile(&[]);
        assert_eq!(Table::of_end(&empty, empty.len() as u64), Ok(Table(Vec::new())));
    }

    #[test]
    fn zstd_itself_reads_what_is_packed_by_it() {
        let mut packed = Vec::new();
        for file in [&b"sea"[..], b"gull"] {
            let mut out = Vec::new();
            crate::pack_attachment(&mut &file[..], &mut out).unwrap();
            packed.push((digest(&out), out));
        }
        packed.sort_by_key(|(digest, _)| *digest);
        let mut object = Vec::new();
        write(packed.iter().map(|(digest, bytes)| Ok((*digest, &bytes[..]))), &mut object).unwrap();
        let mut all = zstd::stream::decode_all(&object[..]).unwrap();
        all.sort_unstable();
        assert_eq!(all, b"aegllsu");
    }

    #[test]
    fn damage_of_the_table_is_found_wherever_it_is() {
        let (digests, object) = pile(&[b"one", b"two"]);
        let begin = object.len() - Table::bytes(&object).unwrap() as usize;
        let sound = Table::of_end(&object, object.len() as u64).unwrap();
        for at in begin..object.len() {
            let mut damaged = object.clone();
            damaged[at] ^= 0x81;
            // A digest that is another is the digest of nothing that is asked for.
            let found = Table::of_end(&damaged, object.len() as u64);
            let same = |table: Table| {
                digests
                    .iter()
                    .all(|digest| table.find(digest).is_none_or(|at| Some(at) == sound.find(digest)))
            };
            assert!(found.is_err() || found.is_ok_and(same), "byte {at}");
        }
        for cut in 0..object.len() {
            assert!(Table::of_end(&object[..cut], cut as u64).is_err(), "cut at {cut}");
        }
        let claims = [&[0; 40], &u32::MAX.to_le_bytes()[..], &MARK].concat();
        assert_eq!(Table::of_end(&claims, u64::MAX), Err(Damaged("it has no table")));
    }
}
