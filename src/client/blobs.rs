//! Blobs to and from a scheduler: artifacts go there, manifests come back.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use seagull_domain::{Attachment, Digest, Manifest, RunId};
use seagull_proto::convert::{BlobAsked, BlobPiece};
use seagull_proto::limits::BLOB_BYTES;
use seagull_proto::upload::put_file;
use seagull_proto::v1;
use tokio::fs::File;

use super::{Client, Error};

impl Client {
    /// Whether a blob has to be uploaded.
    pub async fn is_missing(&self, digest: Digest) -> Result<bool, Error> {
        let request = v1::MissingRequest::from(vec![digest]);
        let answer = self.ask(|| async { Ok(self.blobs.clone().missing(request.clone()).await?) }).await?;
        let missing: Vec<Digest> = answer.into_inner().try_into().map_err(Error::new)?;
        Ok(missing.contains(&digest))
    }

    /// Uploads a file; from its beginning again if the connection is lost.
    pub async fn put_blob(&self, digest: Digest, file: &Path) -> anyhow::Result<()> {
        let put = || async {
            let file = File::open(file).await.map_err(Error::new)?;
            Ok(put_file(self.blobs.clone(), (digest, None), file).await.map_err(Error::new)??)
        };
        self.insist(put).await.with_context(|| format!("the upload of {} failed", file.display()))
    }

    /// Fetches a manifest and verifies that it is the one that was asked for.
    pub async fn manifest(&self, digest: Digest) -> Result<Manifest, Error> {
        let bytes = self.ask(|| self.blob(digest)).await.map_err(|error| error.lacking("its manifest"))?;
        seagull_results::decode_manifest(&bytes).map_err(Error::new)
    }

    /// Fetches a file that a test has left, and verifies it; says where it is.
    pub async fn attachment(&self, run: &RunId, file: &Attachment, path: &Path) -> anyhow::Result<PathBuf> {
        let digest = file.blob.context("it was too much to be kept")?;
        let (directory, bytes) = (path.parent().context("it has no directory")?, file.bytes);
        tokio::fs::create_dir_all(directory).await?;
        let mut packed = tempfile::NamedTempFile::new_in(directory)?;
        let mut hasher = blake3::Hasher::new();
        let asked = v1::GetRequest::from(BlobAsked { digest, offset: 0, run: Some(run.clone()) });
        let gone =
            |status| anyhow::Error::new(Error::from(status)).context("it is not kept any more, or never was");
        let mut pieces = self.blobs.clone().get(asked).await.map_err(gone)?.into_inner();
        while let Some(piece) = pieces.message().await.map_err(gone)? {
            let piece = BlobPiece::try_from(piece)?;
            hasher.update(&piece.data);
            packed.write_all(&piece.data)?;
        }
        anyhow::ensure!(hasher.finalize().as_bytes() == &digest.0, "what is kept of it is damaged");
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || unpack(packed, bytes, path)).await?
    }

    async fn blob(&self, digest: Digest) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let asked = v1::GetRequest::from(BlobAsked { digest, offset: 0, run: None });
        let mut pieces = self.blobs.clone().get(asked).await?.into_inner();
        while let Some(piece) = pieces.message().await? {
            let piece = BlobPiece::try_from(piece).map_err(Error::new)?;
            bytes.extend_from_slice(&piece.data);
            if bytes.len() as u64 > BLOB_BYTES {
                return Err(Error::new("a blob is larger than blobs may be"));
            }
        }
        if blake3::hash(&bytes).as_bytes() == &digest.0 {
            Ok(bytes)
        } else {
            Err(Error::new(format!("blob {digest} has another digest")))
        }
    }
}

/// What is packed may be anything.
fn unpack(packed: tempfile::NamedTempFile, bytes: u64, path: PathBuf) -> anyhow::Result<PathBuf> {
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    let unpacked = seagull_results::unpack_attachment(packed.reopen()?)?;
    let length = std::io::copy(&mut unpacked.take(bytes + 1), &mut file)?;
    anyhow::ensure!(length == bytes, "what is kept of it has another length");
    file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.persist(&path)?;
    Ok(path)
}
