//! Attachments as they are kept: packed by zstd, behind a mark by which they are told from artifacts and manifests. `zstd -d`
//! reads them.

use std::io::{BufReader, Error, Read, Write};

/// How they begin: a frame that zstd skips, with nothing in it.
pub const ATTACHMENT: [u8; 4] = 0x184D_2A53_u32.to_le_bytes();
const NOTHING: [u8; 4] = [0; 4];
const LEVEL: i32 = 3;

/// Packs a file; says how many bytes it has. The same bytes are packed the same.
pub fn pack_attachment(file: &mut dyn Read, out: &mut dyn Write) -> Result<u64, Error> {
    out.write_all(&ATTACHMENT)?;
    out.write_all(&NOTHING)?;
    let mut encoder = zstd::stream::write::Encoder::new(out, LEVEL)?;
    encoder.include_checksum(true)?;
    let bytes = std::io::copy(file, &mut encoder)?;
    encoder.finish()?;
    Ok(bytes)
}

/// What was packed. Whoever reads it bounds how much.
pub fn unpack_attachment<R: Read>(packed: R) -> Result<impl Read, Error> {
    zstd::stream::read::Decoder::with_buffer(BufReader::new(packed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_and_what_is_damaged_is_not() {
        for file in [Vec::new(), b"small".to_vec(), vec![7; 1 << 20]] {
            let mut packed = Vec::new();
            assert_eq!(pack_attachment(&mut &file[..], &mut packed).unwrap(), file.len() as u64);
            assert!(packed.starts_with(&ATTACHMENT) && !packed.starts_with(&crate::ARTIFACT));
            let unpacked = |packed: &[u8]| {
                let mut bytes = Vec::new();
                unpack_attachment(packed).and_then(|mut file| file.read_to_end(&mut bytes)).map(|_| bytes)
            };
            assert_eq!(unpacked(&packed).unwrap(), file);
            *packed.last_mut().unwrap() ^= 1;
            assert!(unpacked(&packed).is_err());
        }
    }
}
