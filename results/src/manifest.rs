//! Manifests as blobs: JSON, bounded and checked when it is read.

use seagull_domain::Manifest;

const TESTS: usize = 2_000_000;
const ID_BYTES: usize = 64 << 10;

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
    } else {
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use seagull_domain::{FileTests, Relation, TestIndex};

    use super::*;

    #[test]
    fn only_what_makes_sense_is_decoded() {
        let files =
            vec![FileTests { path: "a é.py".into(), suffixes: vec!["::t[\n]".into(), "::u".into()] }];
        let mut manifest = Manifest { files, ..Manifest::default() };
        assert_eq!(decode_manifest(&encode_manifest(&manifest)).unwrap(), manifest);
        manifest.relations.push(Relation { ordered: false, tests: vec![TestIndex(1), TestIndex(2)] });
        assert!(decode_manifest(&encode_manifest(&manifest)).is_err());
        for garbage in [&b""[..], b"{", b"[]", b"{\"files\": 3}", &[0xff; 30]] {
            assert!(decode_manifest(garbage).is_err());
        }
    }
}
