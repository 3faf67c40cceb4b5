//! Objects in a bucket of an S3 server, by its SDK: requests that are tried again with jitter, checksums on all that is
//! sent, and a runtime of its own, so that whoever calls may block.
#![expect(clippy::disallowed_methods, reason = "a shell: between two tries there is a pause")]

mod body;
mod credentials;
mod parts;
mod trouble;

use std::future::Future;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::{RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedHttpClient,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::{HeadObjectError, HeadObjectOutput};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ChecksumAlgorithm, ServerSideEncryption};
use aws_smithy_http_client::tls;
use bytes::Bytes;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::runtime::Runtime;

use self::credentials::Chain;
use super::checked::Checked;
use super::key::Key;
use super::spool::jittered;
use super::store::{Body, Head, Method, Presigned, Put, Store, When};
use super::trouble::{Trouble, Why};
use super::url::{Bucket, Encryption};
use crate::Error;

/// What is sent at a time; larger objects go in several such parts.
const PART_BYTES: usize = 8 << 20;
/// Tries of a request, with pauses between them that grow, by chance.
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A try again takes 5 of a store's 500 tokens, of which so many come back in a second.
const REFILL: f32 = 20.0;
const CONNECT: Duration = Duration::from_secs(5);
/// Of one try to send something: a part at 140 KB a second; or to have a page of a list, which a server may look long for.
const TRY: Duration = Duration::from_secs(60);
/// Of one try to ask something, until an answer begins; and of all tries: somebody may wait for it.
const ANSWER: Duration = Duration::from_secs(5);
const QUESTION: Duration = Duration::from_secs(15);

#[derive(Debug, Clone)]
pub(super) struct S3(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bucket: Bucket,
    /// Sends objects, and lists them.
    client: Client,
    /// Asks what is answered at once, by a server that does anything at all.
    asking: Client,
    /// None once it is shut down.
    runtime: Option<Runtime>,
    /// Whether the bucket was seen.
    is_there: AtomicBool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A runtime that is dropped waits, which async threads may not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl S3 {
    pub fn open(bucket: &Bucket) -> Result<S3, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(Error::io(std::path::Path::new(&bucket.name)))?;
        let own = bucket.endpoint.as_ref();
        let named = bucket.region.clone().or_else(|| {
            ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| std::env::var(name).ok())
        });
        // Servers of one's own have no regions; signatures name one all the same.
        let Some(region) = named.or_else(|| own.map(|_| "us-east-1".to_owned())) else {
            let said = "no region is named".to_owned();
            return Err(failed(bucket, "settings", Trouble { why: Why::Region, said }));
        };
        // Not shared with other stores, and soon full again after an outage.
        let retries = TokenBucket::builder().refill_rate(REFILL).build();
        let mut config = Builder::new();
        config.set_endpoint_url(own.cloned());
        let config = config
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region))
            .force_path_style(bucket.path_style)
            .credentials_provider(Chain::of(bucket))
            .http_client(http_client(bucket)?)
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(TRIES)
                    .with_initial_backoff(FIRST_PAUSE)
                    .with_max_backoff(LONGEST_PAUSE),
            )
            .retry_partition(RetryPartition::custom("store").token_bucket(retries).build())
            .timeout_config(
                TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(TRY).build(),
            )
            .request_checksum_calculation(RequestChecksumCalculation::WhenSupported)
            // What arrives is verified by digests that are stronger.
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        let patience = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(ANSWER)
            .operation_timeout(QUESTION)
            .build();
        let asking = config.to_builder().timeout_config(patience).build();
        Ok(S3(Arc::new(Inner {
            bucket: bucket.clone(),
            client: Client::from_conf(config),
            asking: Client::from_conf(asking),
            runtime: Some(runtime),
            is_there: AtomicBool::new(false),
        })))
    }

    fn client(&self) -> &Client {
        &self.0.client
    }

    fn asking(&self) -> &Client {
        &self.0.asking
    }

    fn name(&self) -> &str {
        &self.0.bucket.name
    }

    fn runtime(&self) -> &Runtime {
        self.0.runtime.as_ref().expect("it is shut down when nobody has it any more")
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime().block_on(future)
    }

    fn path(&self, key: &Key) -> String {
        let prefix = &self.0.bucket.prefix;
        if prefix.is_empty() { key.to_string() } else { format!("{prefix}/{key}") }
    }

    fn failed<E>(&self, doing: &'static str, error: &SdkError<E>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        failed(&self.0.bucket, doing, trouble::of(error))
    }

    /// Whoever has an object tells its tag. Without one it is somebody else who answers that all is well, and is not believed.
    fn tagged(&self, doing: &'static str, tag: Option<&str>) -> Result<(), Error> {
        if tag.is_some_and(|tag| !tag.is_empty()) { Ok(()) } else { Err(self.foreign(doing, "an ETag")) }
    }

    fn foreign(&self, doing: &'static str, lacks: &str) -> Error {
        let said = format!("it answers that it has done so, without {lacks}");
        failed(&self.0.bucket, doing, Trouble { why: Why::Foreign, said })
    }

    fn ask<T, E, F>(&self, send: impl FnMut() -> F) -> Result<T, Box<SdkError<E>>>
    where
        F: Future<Output = Result<T, SdkError<E>>>,
        E: ProvideErrorMetadata,
    {
        self.wait(again(send))
    }

    /// The server's algorithm, and the key where one is named.
    fn encryption(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        match &self.0.bucket.encryption {
            Encryption::Default => (None, None),
            Encryption::Own => (Some(ServerSideEncryption::Aes256), None),
            Encryption::Kms(key) => (Some(ServerSideEncryption::AwsKms), key.clone()),
        }
    }

    fn ask_head(&self, key: &Key) -> Result<HeadObjectOutput, Box<SdkError<HeadObjectError>>> {
        let request = self.asking().head_object().bucket(self.name()).key(self.path(key));
        self.ask(|| request.clone().send())
    }

    fn headed(
        &self,
        answer: Result<HeadObjectOutput, Box<SdkError<HeadObjectError>>>,
    ) -> Result<Option<Head>, Error> {
        let output = answer.map_err(|error| self.failed("head", &error))?;
        self.tagged("head", output.e_tag())?;
        let bytes = output.content_length().and_then(|bytes| bytes.try_into().ok());
        let bytes = bytes.ok_or_else(|| self.foreign("head", "a length"))?;
        Ok(Some(Head { bytes, modified: modified(output.last_modified()) }))
    }

    fn put_small(&self, key: &Key, bytes: Vec<u8>, when: When) -> Result<Put, Error> {
        let (algorithm, kms_key) = self.encryption();
        let bytes = Bytes::from(bytes);
        let send = || {
            let request = self.client().put_object().bucket(self.name()).key(self.path(key));
            request
                .checksum_algorithm(ChecksumAlgorithm::Crc32)
                .set_server_side_encryption(algorithm.clone())
                .set_ssekms_key_id(kms_key.clone())
                .set_if_none_match(condition(when))
                .body(ByteStream::from(bytes.clone()))
                .send()
        };
        match self.ask(send) {
            Ok(output) => self.tagged("put", output.e_tag()).map(|()| Put::Stored),
            Err(error) if trouble::existed(&error) => Ok(Put::Existed),
            Err(error) => Err(self.failed("put", &error)),
        }
    }

    /// A part of an object; None where there is no such object. A range beyond it is empty.
    fn part(
        &self,
        key: &Key,
        range: &Range<u64>,
        tag: Option<&str>,
    ) -> Result<Option<GetObjectOutput>, Error> {
        let header = match range {
            Range { start: 0, end: u64::MAX } => None,
            Range { start, end: u64::MAX } => Some(format!("bytes={start}-")),
            Range { start, end } => Some(format!("bytes={start}-{}", end - 1)),
        };
        let request = self.asking().get_object().bucket(self.name()).key(self.path(key));
        let request = request.set_range(header).set_if_match(tag.map(str::to_owned));
        match self.ask(|| request.clone().send()) {
            Ok(output) => self.tagged("get", output.e_tag()).map(|()| Some(output)),
            Err(error) if trouble::is_nothing(&error) => Ok(None),
            Err(error) if trouble::status(&error) == Some(416) => {
                Ok(Some(GetObjectOutput::builder().build()))
            }
            Err(error) => Err(self.failed("get", &error)),
        }
    }
}

/// Sends again where the answer asks for a pause, or says that data was damaged on the way or that another writes at the
/// moment; to the SDK these are final.
async fn again<T, E, F>(mut send: impl FnMut() -> F) -> Result<T, Box<SdkError<E>>>
where
    F: Future<Output = Result<T, SdkError<E>>>,
    E: ProvideErrorMetadata,
{
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        match send().await {
            Err(error) if trouble::is_of_the_moment(&error) => tokio::time::sleep(jittered(pause)).await,
            sent => return sent.map_err(Box::new),
        }
        pause *= 2;
    }
    send().await.map_err(Box::new)
}

fn condition(when: When) -> Option<String> {
    (when == When::Absent).then(|| "*".to_owned())
}

fn failed(bucket: &Bucket, doing: &'static str, trouble: Trouble) -> Error {
    Error::Store { store: bucket.to_string(), doing, trouble }
}

fn modified(at: Option<&DateTime>) -> SystemTime {
    at.and_then(|at| SystemTime::try_from(*at).ok()).unwrap_or(UNIX_EPOCH)
}

fn http_client(bucket: &Bucket) -> Result<SharedHttpClient, Error> {
    let speaks_tls = bucket.endpoint.as_ref().is_none_or(|endpoint| endpoint.starts_with("https:"));
    let mut trusted = if speaks_tls { tls::TrustStore::default() } else { tls::TrustStore::empty() };
    if let Some(path) = &bucket.ca {
        let pem = std::fs::read(path).map_err(Error::io(path))?;
        if !has_authorities(&pem) {
            let said = format!("{} has no certificate of an authority, or a damaged one", path.display());
            return Err(failed(bucket, "settings", Trouble { why: Why::Certificate, said }));
        }
        trusted = trusted.with_pem_certificate(pem);
    }
    let context = tls::TlsContext::builder().with_trust_store(trusted).build();
    let context = context.map_err(|error| {
        failed(bucket, "settings", Trouble { why: Why::Certificate, said: error.to_string() })
    })?;
    let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    Ok(aws_smithy_http_client::Builder::new().tls_provider(ring).tls_context(context).build_https())
}

/// The SDK panics where it cannot read one.
fn has_authorities(pem: &[u8]) -> bool {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let mut roots = RootCertStore::empty();
    certificates.is_ok_and(|all| !all.is_empty() && all.into_iter().all(|one| roots.add(one).is_ok()))
}

impl Store for S3 {
    fn put(&self, key: &Key, source: &mut dyn Read, bytes: u64, when: When) -> Result<Put, Error> {
        let mut source = Checked::new(key, source, bytes);
        if bytes > PART_BYTES as u64 {
            return self.put_parts(key, source, when);
        }
        let whole = source.part(PART_BYTES)?;
        source.finish()?;
        self.put_small(key, whole, when)
    }

    fn get(&self, key: &Key, range: Range<u64>) -> Result<Option<Body>, Error> {
        if range.is_empty() {
            return Ok(self.head(key)?.map(|_| Box::new(std::io::empty()) as Body));
        }
        let Some(output) = self.part(key, &range, None)? else { return Ok(None) };
        Ok(Some(Box::new(body::Reader::new(self.clone(), key.clone(), range, output))))
    }

    fn head(&self, key: &Key) -> Result<Option<Head>, Error> {
        match self.ask_head(key) {
            Err(error) if trouble::is_refused(&error) => {
                let is_nothing = trouble::status(&error) == Some(404);
                // The answer to HEAD has no words: keys that are wrong look like a policy that forbids it, a bucket that is
                // not there like an object that is not. GET has them, and is asked for that once.
                if !is_nothing || !self.0.is_there.load(Ordering::Relaxed) {
                    self.part(key, &(0..1), None)?;
                }
                if is_nothing {
                    self.0.is_there.store(true, Ordering::Relaxed);
                    return Ok(None);
                }
                // It was allowed: what was wrong, a clock for instance, the client has made up for at its words.
                match self.ask_head(key) {
                    Err(error) if trouble::status(&error) == Some(404) => Ok(None),
                    answer => self.headed(answer),
                }
            }
            answer => self.headed(answer),
        }
    }

    fn delete(&self, key: &Key) -> Result<(), Error> {
        let request = self.asking().delete_object().bucket(self.name()).key(self.path(key));
        match self.ask(|| request.clone().send()) {
            Err(error) if !trouble::is_nothing(&error) => Err(self.failed("delete", &error)),
            _ => Ok(()),
        }
    }

    fn list(&self, tell: &mut dyn FnMut(Key, Head)) -> Result<(), Error> {
        let prefix = &self.0.bucket.prefix;
        let folder = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        // A server that answers nothing is found by what another answers at once; a whole page may take it long.
        let any = self.asking().list_objects_v2().bucket(self.name()).prefix(&folder).max_keys(1).send();
        self.wait(any).map_err(|error| self.failed("list", &error))?;
        let request = self.client().list_objects_v2().bucket(self.name()).prefix(&folder);
        let mut pages = request.into_paginator().send();
        while let Some(page) = self.wait(pages.next()) {
            for object in page.map_err(|error| self.failed("list", &error))?.contents() {
                let name = object.key().and_then(|name| name.strip_prefix(&folder));
                let Some(key) = name.and_then(|name| name.parse().ok()) else { continue };
                let bytes = object.size().and_then(|bytes| bytes.try_into().ok()).unwrap_or(0);
                tell(key, Head { bytes, modified: modified(object.last_modified()) });
            }
        }
        Ok(())
    }

    fn presign(&self, key: &Key, method: Method, lives: Duration) -> Result<Option<Presigned>, Error> {
        let lives = PresigningConfig::expires_in(lives).map_err(|error| {
            failed(&self.0.bucket, "presign", Trouble { why: Why::Refused, said: error.to_string() })
        })?;
        let path = self.path(key);
        let request = match method {
            Method::Get => {
                let get = self.client().get_object().bucket(self.name()).key(path);
                self.wait(get.presigned(lives)).map_err(|error| self.failed("presign", &error))?
            }
            Method::Put => {
                let (algorithm, kms_key) = self.encryption();
                let put = self.client().put_object().bucket(self.name()).key(path);
                let put = put.set_server_side_encryption(algorithm).set_ssekms_key_id(kms_key);
                self.wait(put.presigned(lives)).map_err(|error| self.failed("presign", &error))?
            }
        };
        let headers = request.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Some(Presigned { url: request.uri().to_owned(), headers }))
    }
}
