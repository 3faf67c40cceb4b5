//! A large object in several parts, a few of them on their way at a time: its memory is theirs, whatever its size.

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::upload_part::UploadPartError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use tokio::task::JoinSet;

use super::super::checked::Checked;
use super::{Error, Key, PART_BYTES, Put, S3, When, again, condition, trouble};

/// Parts on their way at a time.
const AT_A_TIME: usize = 4;

type Sent = Result<CompletedPart, Box<SdkError<UploadPartError>>>;

impl S3 {
    pub(super) fn put_parts(&self, key: &Key, source: Checked, when: When) -> Result<Put, Error> {
        let (algorithm, kms_key) = self.encryption();
        let create = self
            .client()
            .create_multipart_upload()
            .bucket(self.name())
            .key(self.path(key))
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .set_server_side_encryption(algorithm)
            .set_ssekms_key_id(kms_key);
        let created = self.ask(|| create.clone().send()).map_err(|error| self.failed("put", &error))?;
        let id = created.upload_id.ok_or_else(|| self.foreign("put", "an UploadId"))?;
        let upload = Upload { store: self, path: self.path(key), id };
        let stored = upload.send(source).and_then(|parts| upload.complete(parts, when));
        if !matches!(stored, Ok(Put::Stored)) {
            // Whatever is left after that, the bucket's rule for unfinished uploads removes.
            let abort = self.client().abort_multipart_upload().bucket(self.name());
            let _ = self.wait(abort.key(&upload.path).upload_id(&upload.id).send());
        }
        stored
    }
}

struct Upload<'a> {
    store: &'a S3,
    path: String,
    id: String,
}

impl Upload<'_> {
    fn send(&self, mut source: Checked) -> Result<Vec<CompletedPart>, Error> {
        let mut under_way: JoinSet<Sent> = JoinSet::new();
        let mut sent = Vec::new();
        for number in 1.. {
            if source.is_at_end() {
                break;
            }
            let part = Bytes::from(source.part(PART_BYTES)?);
            if part.is_empty() {
                break;
            }
            while under_way.len() >= AT_A_TIME {
                sent.push(self.next(&mut under_way)?);
            }
            under_way.spawn_on(self.part(number, part), self.store.runtime().handle());
        }
        source.finish()?;
        while !under_way.is_empty() {
            sent.push(self.next(&mut under_way)?);
        }
        sent.sort_by_key(|part| part.part_number);
        Ok(sent)
    }

    fn part(&self, number: i32, bytes: Bytes) -> impl Future<Output = Sent> + use<> {
        let store = self.store.clone();
        let (path, id) = (self.path.clone(), self.id.clone());
        async move {
            let send = || {
                let request = store.client().upload_part().bucket(store.name()).key(&path).upload_id(&id);
                let request = request.part_number(number).checksum_algorithm(ChecksumAlgorithm::Crc32);
                request.body(ByteStream::from(bytes.clone())).send()
            };
            let sent = again(send).await?;
            let part = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag);
            Ok(part.set_checksum_crc32(sent.checksum_crc32).build())
        }
    }

    fn next(&self, under_way: &mut JoinSet<Sent>) -> Result<CompletedPart, Error> {
        let ended = self.store.wait(under_way.join_next()).expect("one is under way");
        let sent = ended.map_err(|error| Error::Source(std::io::Error::other(error)))?;
        let part = sent.map_err(|error| self.store.failed("put", &error))?;
        self.store.tagged("put", part.e_tag()).map(|()| part)
    }

    fn complete(&self, parts: Vec<CompletedPart>, when: When) -> Result<Put, Error> {
        let all = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self.store.client().complete_multipart_upload().bucket(self.store.name());
        let request = request.key(&self.path).upload_id(&self.id).multipart_upload(all);
        let request = request.set_if_none_match(condition(when));
        match self.store.ask(|| request.clone().send()) {
            Ok(output) => self.store.tagged("put", output.e_tag()).map(|()| Put::Stored),
            Err(error) if trouble::existed(&error) => Ok(Put::Existed),
            Err(error) => Err(self.store.failed("put", &error)),
        }
    }
}
