//! Manifests as blobs: JSON, bounded and checked when it is read.
//!
//! Paths and ids are names: nothing here or after it opens a file by them, so that any text is fine.

use seagull_domain::Manifest;

const BYTES: usize = 256 << 20;
const TESTS: usize = 2_000_000;
const ID_BYTES: usize = 64 << 10;
/// Strings, numbers, lists and objects. Each takes some memory whatever its size, so they are counted before they are
/// read: a list of empty strings takes eight times its bytes.
const VALUES: usize = 6 * TESTS;

#[derive(Debug, thiserror::Error)]
pub enum InvalidManifest {
    #[error("invalid manifest: {0}")]
    Json(#[from] serde_json::Error),
    #[error("invalid manifest: {0}")]
    Bound(&'static str),
}

pub fn encode_manifest(manifest: &Manifest) -> Vec<u8> {
    serde_json::to_vec(manifest).expect("a manifest is plain data")
}

pub fn decode_manifest(bytes: &[u8]) -> Result<Manifest, InvalidManifest> {
    if bytes.len() > BYTES {
        return Err(InvalidManifest::Bound("over 256 MiB"));
    }
    if values_in(bytes) > VALUES {
        return Err(InvalidManifest::Bound("over 12,000,000 values"));
    }
    let manifest: Manifest = serde_json::from_slice(bytes)?;
    let tests = manifest.len();
    let too_long = |path: &str, suffix: &str| path.len() + suffix.len() > ID_BYTES;
    let out_of_range = |test: &seagull_domain::TestIndex| test.0 as usize >= tests;
    if tests > TESTS {
        Err(InvalidManifest::Bound("over 2,000,000 tests"))
    } else if manifest.tests().any(|(path, suffix)| too_long(path, suffix)) {
        Err(InvalidManifest::Bound("an id over 64 KiB"))
    } else if manifest.relations.iter().flat_map(|relation| &relation.tests).any(out_of_range) {
        Err(InvalidManifest::Bound("a relation of tests that are not in it"))
    } else if manifest.environments.iter().flat_map(|needs| &needs.tests).any(out_of_range) {
        Err(InvalidManifest::Bound("an environment of tests that are not in it"))
    } else {
        Ok(manifest)
    }
}

/// At least as many as JSON has values: each is the first in its list or object, or has a comma before it.
fn values_in(json: &[u8]) -> usize {
    let (mut values, mut in_string, mut escaped) = (1, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => values += 1,
            _ => {}
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use seagull_domain::{FileTests, Relation, TestIndex};

    use super::*;

    fn manifest(path: &str, suffixes: &[&str]) -> Manifest {
        let suffixes = suffixes.iter().map(|suffix| (*suffix).to_owned()).collect();
        Manifest { files: vec![FileTests { path: path.into(), suffixes }], ..Manifest::default() }
    }

    #[test]
    fn any_id_is_kept_as_it_is() {
        let long = format!("::t[{}]", "x".repeat(10_000));
        let manifest = manifest("a é.py", &["::t[\n\0\"\\,[{]", "::u v", &long, ""]);
        assert_eq!(decode_manifest(&encode_manifest(&manifest)).unwrap(), manifest);
    }

    #[test]
    fn only_what_makes_sense_is_decoded() {
        let mut related = manifest("a.py", &["::t", "::u"]);
        related.relations.push(Relation { ordered: false, tests: vec![TestIndex(1), TestIndex(2)] });
        assert!(decode_manifest(&encode_manifest(&related)).is_err());
        let long = "x".repeat(ID_BYTES - 3);
        assert!(decode_manifest(&encode_manifest(&manifest("a.py", &[&long]))).is_err());
        assert!(decode_manifest(&encode_manifest(&manifest("a.p", &[&long]))).is_ok());
        for garbage in [&b""[..], b"{", b"[]", b"{\"files\": 3}", &[0xff; 30], b"\"\\", &[b'['; 100_000]] {
            assert!(decode_manifest(garbage).is_err());
        }
    }

    #[test]
    fn every_damaged_byte_is_survived() {
        let mut sound = manifest("a.py", &["::t[\\\"]", "::u"]);
        sound.relations.push(Relation { ordered: true, tests: vec![TestIndex(1), TestIndex(0)] });
        let sound = encode_manifest(&sound);
        for at in 0..sound.len() {
            for byte in [0, b'"', b'\\', b'9', b'[', b'}', 0xff] {
                let mut damaged = sound.clone();
                damaged[at] = byte;
                if let Ok(manifest) = decode_manifest(&damaged) {
                    let tests = manifest.len() as u32;
                    assert!(manifest.relations.iter().flat_map(|r| &r.tests).all(|test| test.0 < tests));
                }
            }
            assert!(decode_manifest(&sound[..at]).is_err());
        }
    }

    #[test]
    fn a_flood_of_values_is_refused_before_it_is_read() {
        let flood = format!("{{\"files\":[],\"warnings\":[{}\"\"]}}", "\"\",".repeat(VALUES));
        assert!(matches!(decode_manifest(flood.as_bytes()), Err(InvalidManifest::Bound(_))));
        assert!(values_in(&encode_manifest(&manifest("a,[", &["\"{,", ",\\"]))) < 20);
    }
}
