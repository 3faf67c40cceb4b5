//! Logs as they are kept for long: zstd in frames that are read each by itself, with a table of them at the end, so that
//! a piece of a log is one ranged read. `zstd -d` reads the whole.
//!
//! The format is zstd's own seekable one (facebook/zstd, contrib/seekable_format), without its checksums: each frame
//! carries zstd's.

use std::io::{Error, ErrorKind, Read, Write};
use std::ops::Range;

use crate::logs::LOG_BYTES;

/// Text of a frame; the last has less.
const FRAME_BYTES: u64 = 256 << 10;
const FRAMES: u64 = LOG_BYTES.div_ceil(FRAME_BYTES);
const ENTRY_BYTES: u64 = 8;
const HEADER_BYTES: u64 = 8;
const FOOTER_BYTES: u64 = 9;
/// The table of the longest log is in so many bytes at the end.
pub(crate) const TABLE_BYTES: u64 = HEADER_BYTES + FRAMES * ENTRY_BYTES + FOOTER_BYTES;
/// A frame that zstd skips, and the end of one that is a table.
const SKIPPABLE: u32 = 0x184D_2A5E;
const SEEKABLE: u32 = 0x8F92_EAB1;
const LEVEL: i32 = 3;

/// A packed log is not what was packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a packed log is damaged: {0}")]
pub struct Damaged(&'static str);

/// Packs a log.
pub(crate) fn pack(text: &mut dyn Read, out: &mut dyn Write) -> Result<(), Error> {
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    compressor.include_checksum(true)?;
    let mut table = Vec::new();
    loop {
        let mut piece = Vec::new();
        text.take(FRAME_BYTES).read_to_end(&mut piece)?;
        if piece.is_empty() {
            break;
        }
        if table.len() as u64 == FRAMES * ENTRY_BYTES {
            return Err(Error::new(ErrorKind::FileTooLarge, "a log that is longer than logs may be"));
        }
        let frame = compressor.compress(&piece)?;
        out.write_all(&frame)?;
        table.extend(u32::try_from(frame.len()).map_err(Error::other)?.to_le_bytes());
        table.extend(u32::try_from(piece.len()).map_err(Error::other)?.to_le_bytes());
    }
    let frames = u32::try_from(table.len() as u64 / ENTRY_BYTES).map_err(Error::other)?;
    let bytes = u32::try_from(table.len() as u64 + FOOTER_BYTES).map_err(Error::other)?;
    for part in [&SKIPPABLE.to_le_bytes()[..], &bytes.to_le_bytes(), &table, &frames.to_le_bytes(), &[0]] {
        out.write_all(part)?;
    }
    out.write_all(&SEEKABLE.to_le_bytes())
}

/// Where what is in a packed log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    /// Where each frame begins, in the object and in the text; and where the last one ends.
    begins: Vec<(u64, u64)>,
}

/// Frames that hold a piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where they are in the object.
    pub range: Range<u64>,
    frames: Range<usize>,
    text: Range<u64>,
}

impl Table {
    /// Reads the table from the end of an object of so many bytes: its last [`TABLE_BYTES`], or all of it.
    pub fn of_end(end: &[u8], object: u64) -> Result<Table, Damaged> {
        let number = |at: usize| {
            let bytes = end.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u32::from_le_bytes).ok_or(Damaged("its table is cut off"))
        };
        let footer = end.len().checked_sub(FOOTER_BYTES as usize).ok_or(Damaged("it is too short"))?;
        if number(footer + 5)? != SEEKABLE || end[footer + 4] != 0 {
            return Err(Damaged("it has no table"));
        }
        let frames = u64::from(number(footer)?);
        if frames > FRAMES {
            return Err(Damaged("its table is too long"));
        }
        let bytes = (HEADER_BYTES + frames * ENTRY_BYTES + FOOTER_BYTES) as usize;
        let start = end.len().checked_sub(bytes).ok_or(Damaged("its table is cut off"))?;
        if number(start)? != SKIPPABLE || u64::from(number(start + 4)?) != frames * ENTRY_BYTES + FOOTER_BYTES
        {
            return Err(Damaged("it has no table"));
        }
        let (mut begins, mut at) = (vec![(0, 0)], (0, 0));
        for frame in 0..frames as usize {
            let entry = start + HEADER_BYTES as usize + frame * ENTRY_BYTES as usize;
            let text = u64::from(number(entry + 4)?);
            let is_last = frame + 1 == frames as usize;
            if text == 0 || text > FRAME_BYTES || (text < FRAME_BYTES && !is_last) {
                return Err(Damaged("a frame has an impossible length"));
            }
            at = (at.0 + u64::from(number(entry)?), at.1 + text);
            begins.push(at);
        }
        if at.0 + bytes as u64 != object {
            return Err(Damaged("its table does not fit its length"));
        }
        Ok(Table { begins })
    }

    /// The frames that have text in a range, as much of it as there is; None where there is nothing.
    pub fn piece(&self, text: Range<u64>) -> Option<Piece> {
        let end = self.begins.last()?.1;
        let text = text.start.min(end)..text.end.min(end);
        if text.is_empty() {
            return None;
        }
        let frames = (text.start / FRAME_BYTES) as usize..text.end.div_ceil(FRAME_BYTES) as usize;
        let range = self.begins[frames.start].0..self.begins[frames.end].0;
        Some(Piece { range, frames, text })
    }

    /// The text of a piece, from the bytes of its range.
    pub fn unpack(&self, piece: &Piece, bytes: &[u8]) -> Result<Vec<u8>, Damaged> {
        let mut unpacker = zstd::bulk::Decompressor::new().map_err(|_| Damaged("no memory to unpack it"))?;
        let mut text = Vec::new();
        for frame in piece.frames.clone() {
            let [(start, text_start), (end, text_end)] = [self.begins[frame], self.begins[frame + 1]];
            let [start, end] = [start, end].map(|at| (at - piece.range.start) as usize);
            let packed = bytes.get(start..end).ok_or(Damaged("it is cut off"))?;
            let length = (text_end - text_start) as usize;
            let unpacked =
                unpacker.decompress(packed, length).map_err(|_| Damaged("a frame cannot be unpacked"))?;
            if unpacked.len() != length {
                return Err(Damaged("a frame is shorter than its table says"));
            }
            text.extend(unpacked);
        }
        let first = self.begins[piece.frames.start].1;
        let [from, to] = [piece.text.start, piece.text.end].map(|at| (at - first) as usize);
        text.truncate(to);
        Ok(text.split_off(from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three frames, of which the last is short.
    fn log() -> (Vec<u8>, Vec<u8>) {
        let line = |i: u32| format!("{i}: {:x}\n", u64::from(i).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let text: Vec<u8> = (0..24_000).flat_map(|i| line(i).into_bytes()).collect();
        assert!(text.len() as u64 > 2 * FRAME_BYTES && (text.len() as u64) < 3 * FRAME_BYTES);
        (text.clone(), packed(&text))
    }

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        pack(&mut &text[..], &mut packed).unwrap();
        packed
    }

    fn read(packed: &[u8], text: Range<u64>) -> Result<Vec<u8>, Damaged> {
        let end = packed.len().saturating_sub(TABLE_BYTES as usize);
        let table = Table::of_end(&packed[end..], packed.len() as u64)?;
        let Some(piece) = table.piece(text) else { return Ok(Vec::new()) };
        let [start, end] = [piece.range.start, piece.range.end].map(|at| at as usize);
        table.unpack(&piece, packed.get(start..end).ok_or(Damaged("cut"))?)
    }

    #[test]
    fn any_piece_is_read_from_the_frames_that_have_it() {
        let (text, packed) = log();
        assert!(packed.len() < text.len());
        let frame = FRAME_BYTES;
        let all = text.len() as u64;
        for (start, end) in [
            (0, 1),
            (0, all),
            (5, 5),
            (frame - 1, frame + 1),
            (frame, 2 * frame),
            (all - 1, u64::MAX),
            (all, all + 9),
        ] {
            let expected = &text[start as usize..end.min(all) as usize];
            let expected = if start > end { &[] } else { expected };
            assert!(read(&packed, start..end).unwrap() == expected, "{start}..{end}");
        }
        let table = Table::of_end(&packed[..], packed.len() as u64).unwrap();
        let piece = table.piece(frame..frame + 1).unwrap();
        assert!(piece.range.end - piece.range.start < packed.len() as u64 / 2, "one frame of three is read");
    }

    #[test]
    fn zstd_itself_reads_the_whole() {
        for (text, packed) in [log(), (Vec::new(), packed(b""))] {
            assert!(zstd::stream::decode_all(&packed[..]).unwrap() == text);
            assert!(read(&packed, 0..u64::MAX).unwrap() == text);
        }
    }

    #[test]
    fn damage_is_found_wherever_it_is() {
        let text: Vec<u8> = (0..40u8).collect();
        let sound = packed(&text);
        for at in 0..sound.len() {
            for flip in [1, 0x80, 0xff] {
                let mut damaged = sound.clone();
                damaged[at] ^= flip;
                assert!(read(&damaged, 0..u64::MAX).is_err(), "byte {at}");
            }
            assert!(read(&sound[..at], 0..u64::MAX).is_err(), "cut at {at}");
        }
        let (text, sound) = log();
        for at in (0..sound.len()).step_by(997) {
            let mut damaged = sound.clone();
            damaged[at] ^= 4;
            assert!(read(&damaged, 0..u64::MAX).map_or(true, |read| read == text), "byte {at}");
        }
    }

    #[test]
    fn a_table_that_claims_too_much_is_refused_before_anything_is_made_for_it() {
        let mut claims = vec![0; 40];
        let footer = claims.len() - FOOTER_BYTES as usize;
        claims[footer..footer + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        claims[footer + 5..].copy_from_slice(&SEEKABLE.to_le_bytes());
        assert_eq!(Table::of_end(&claims, u64::MAX), Err(Damaged("its table is too long")));
    }
}
