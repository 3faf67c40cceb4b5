//! Questions to an Elasticsearch and what their answers mean: our errors, and JSON.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use elasticsearch::auth::Credentials;
use elasticsearch::cert::{Certificate, CertificateValidation};
use elasticsearch::http::headers::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use elasticsearch::http::transport::{SingleNodeConnectionPool, Transport, TransportBuilder};
use elasticsearch::http::{Method, response::Response};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::index::Error;
use crate::index::address::{ElasticAddress, Login};
use crate::index::bulk;

/// How long documents may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an answer may: somebody waits for it.
const QUESTION: Duration = Duration::from_secs(20);
/// The most that an answer may have: a page of results with long messages is a tenth of it.
const ANSWER_BYTES: u64 = 256 << 20;
/// Characters of an answer that is none that are shown.
const SHOWN: usize = 80;

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

#[derive(Debug)]
pub struct Wire {
    transport: Transport,
    address: ElasticAddress,
}

/// What is asked, which says how long an answer is waited for.
enum Asked<'a> {
    Question(Option<&'a Value>),
    Documents(Bytes),
}

/// What was answered.
pub enum Answer<T = Value> {
    Yes(T),
    NotFound,
    /// It is there already.
    Exists,
    TooLarge,
}

impl Wire {
    pub fn new(address: &ElasticAddress) -> Result<Wire, Error> {
        let unusable = |why: String| Error::Address(format!("the index {address} cannot be used: {why}"));
        let mut builder = TransportBuilder::new(SingleNodeConnectionPool::new(address.url.clone()))
            .enable_meta_header(false)
            .timeout(PATIENCE);
        if let Some(path) = &address.ca {
            let pem =
                std::fs::read(path).map_err(|error| unusable(format!("{}: {error}", path.display())))?;
            let authority = Certificate::from_pem(&pem).map_err(|error| {
                unusable(format!("{}: {error}\nhint: ca takes a PEM file of certificates", path.display()))
            })?;
            builder = builder.cert_validation(CertificateValidation::Full(authority));
        }
        let transport = builder.build().map_err(|error| unusable(error.to_string()))?;
        Ok(Wire { transport, address: address.clone() })
    }

    pub fn unavailable(&self, why: impl Into<String>) -> Error {
        Error::Unavailable { index: self.address.to_string(), why: why.into() }
    }

    pub fn refused(&self, why: impl Into<String>, hint: &str) -> Error {
        Error::Refused { index: self.address.to_string(), why: why.into(), hint: hint.to_owned() }
    }

    pub fn garbage(&self) -> Error {
        self.unavailable("its answer is not what was asked for")
    }

    pub async fn get(&self, path: &str) -> Result<Answer, Error> {
        self.ask(Method::Get, path, Asked::Question(None)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Result<Answer, Error> {
        self.ask(Method::Put, path, Asked::Question(Some(body))).await
    }

    pub async fn delete(&self, path: &str) -> Result<Answer, Error> {
        self.ask(Method::Delete, path, Asked::Question(None)).await
    }

    pub async fn bulk(&self, lines: Bytes) -> Result<Answer<bulk::Answer>, Error> {
        let path = "_bulk?filter_path=errors,items.*.status,items.*.error";
        self.ask(Method::Post, path, Asked::Documents(lines)).await
    }

    /// Asks for documents that there may not be any index of yet.
    pub async fn search(&self, indices: &str, body: &Value) -> Result<Value, Error> {
        let path = format!("{indices}/_search?ignore_unavailable=true&allow_no_indices=true");
        let answer: Answer = self.ask(Method::Post, &path, Asked::Question(Some(body))).await?;
        let Answer::Yes(answer) = answer else {
            return Err(self.unavailable("it does not know the question"));
        };
        // What a part of the shards says is no answer.
        let failed = answer["_shards"]["failed"].as_u64();
        if answer["timed_out"] == Value::Bool(true) || failed.is_none_or(|failed| failed > 0) {
            return Err(self.unavailable("not all of its shards have answered"));
        }
        Ok(answer)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        asked: Asked<'_>,
    ) -> Result<Answer<T>, Error> {
        let (content, within, body) = match asked {
            Asked::Question(body) => (JSON, QUESTION, body.map(|body| Bytes::from(body.to_string()))),
            Asked::Documents(lines) => (LINES, PATIENCE, Some(lines)),
        };
        let mut headers = HeaderMap::new();
        // Plain JSON is what other servers of this interface know, too.
        headers.insert(ACCEPT, HeaderValue::from_static(JSON));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content));
        let transport = self.transport.clone_with_auth(self.credentials()?);
        let response = transport.send(method, path, headers, None::<&()>, body, Some(within)).await;
        self.understand(response.map_err(|error| self.broken(&error))?).await
    }

    /// Read anew for each question: a secret that was replaced is found.
    fn credentials(&self) -> Result<Option<Credentials>, Error> {
        let secret = |secret: &crate::index::Secret| {
            secret.read().map_err(|why| self.refused(why, "the index's address names where its secrets are"))
        };
        Ok(match &self.address.login {
            Login::None => None,
            Login::Password { user, password } => Some(Credentials::Basic(user.clone(), secret(password)?)),
            Login::ApiKey(key) => Some(Credentials::EncodedApiKey(secret(key)?)),
        })
    }

    /// Why there is no answer.
    fn broken(&self, error: &elasticsearch::Error) -> Error {
        let mut why = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_said = cause.to_string();
            if !why.contains(&cause_said) {
                why = format!("{why}: {cause_said}");
            }
            source = cause.source();
        }
        // No library has kinds for these.
        if why.contains("certificate") {
            return self.refused(why, "?ca=FILE names the authority that its certificate is from");
        }
        if why.contains("InvalidContentType") {
            return self
                .refused("TLS is not spoken there", "an index without TLS is es+http://HOST:PORT/PREFIX");
        }
        if why.contains("invalid HTTP version") {
            return self
                .refused("HTTP is not spoken there", "an index with TLS is es+https://HOST:PORT/PREFIX");
        }
        self.unavailable(why)
    }

    async fn understand<T: DeserializeOwned>(&self, response: Response) -> Result<Answer<T>, Error> {
        let status = response.status_code().as_u16();
        if response.content_length().is_some_and(|length| length > ANSWER_BYTES) {
            return Err(self.unavailable("its answer is too long"));
        }
        let bytes = response.bytes().await.map_err(|error| self.broken(&error))?;
        if (200..300).contains(&status) {
            return serde_json::from_slice(&bytes).map(Answer::Yes).map_err(|error| {
                if error.is_data() {
                    return self.garbage();
                }
                let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned();
                self.unavailable(format!("its answer is no JSON: {text:?}"))
            });
        }
        let answer: Option<Value> = serde_json::from_slice(&bytes).ok();
        let error = answer.as_ref().and_then(|answer| answer.get("error"));
        let why = match error {
            Some(error) => format!("status {status}: {}", bulk::reason(error)),
            None => format!("status {status}"),
        };
        let kind = error.and_then(|error| error["type"].as_str()).unwrap_or_default();
        match status {
            400 if kind == "resource_already_exists_exception" => Ok(Answer::Exists),
            401 => {
                Err(self
                    .refused(why, "its address names a user and a password, or an api-key, that it takes"))
            }
            403 if kind != "cluster_block_exception" => {
                Err(self.refused(why, "seagull docs index lists the privileges that are needed"))
            }
            404 => Ok(Answer::NotFound),
            413 => Ok(Answer::TooLarge),
            400..=499 if !matches!(status, 403 | 408 | 429) => {
                Err(self.refused(why, "it is Elasticsearch 8 or 9, or OpenSearch, that is asked"))
            }
            _ => Err(self.unavailable(why)),
        }
    }
}
