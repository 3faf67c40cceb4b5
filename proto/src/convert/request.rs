//! The small questions of executors and clients, and their answers.

use bytes::Bytes;
use seagull_domain::{AttemptId, Generation, RunId, RunSpec, SuiteError, TextRef};

use super::Invalid;
use super::scalar::{self, Checked};
use crate::{PROTOCOL, limits, v1};

/// A call of `GetBundle`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleAsked {
    pub run: RunId,
    pub attempt: AttemptId,
    pub generation: Generation,
}

/// A call of `PutLog`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    pub run: RunId,
    pub attempt: AttemptId,
    /// Where the data begins in the log.
    pub offset: u64,
    pub data: Bytes,
}

/// A call of `ReadLog`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextAsked {
    pub run: RunId,
    pub text: TextRef,
}

/// A call of `Judge`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub run: RunId,
    /// What is wrong with the suite as a whole, without texts; None while that is not known.
    pub errors: Option<Vec<SuiteError>>,
}

/// The answer of `GetRun`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDescription {
    pub spec: RunSpec,
}

/// A submission that the scheduler will not refuse as invalid: the client checks first, because a message over the
/// limit fails in the transport, which cannot say why.
pub fn submission(spec: RunSpec) -> Checked<v1::SubmitRequest> {
    let request = v1::SubmitRequest::from(spec);
    RunSpec::try_from(request.clone())?;
    Ok(request)
}

impl From<RunSpec> for v1::SubmitRequest {
    fn from(spec: RunSpec) -> Self {
        Self { protocol: Some(PROTOCOL), spec: Some(spec.into()) }
    }
}

impl TryFrom<v1::SubmitRequest> for RunSpec {
    type Error = Invalid;

    /// Does not look at the protocol range; see [`crate::agree`].
    fn try_from(message: v1::SubmitRequest) -> Checked<Self> {
        scalar::required(message.spec, "SubmitRequest.spec")?.try_into()
    }
}

macro_rules! run_only {
    ($($request:ident),+) => {$(
        impl From<RunId> for v1::$request {
            fn from(run: RunId) -> Self {
                Self { run: run.into() }
            }
        }

        impl TryFrom<v1::$request> for RunId {
            type Error = Invalid;

            fn try_from(message: v1::$request) -> Checked<Self> {
                scalar::id(message.run, concat!(stringify!($request), ".run"))
            }
        }
    )+};
}

run_only!(GetRunRequest, CancelRequest, GetStandingRequest);

impl From<BundleAsked> for v1::GetBundleRequest {
    fn from(asked: BundleAsked) -> Self {
        Self { run: asked.run.into(), attempt: asked.attempt.0, generation: asked.generation.0 }
    }
}

impl TryFrom<v1::GetBundleRequest> for BundleAsked {
    type Error = Invalid;

    fn try_from(message: v1::GetBundleRequest) -> Checked<Self> {
        Ok(Self {
            run: scalar::id(message.run, "GetBundleRequest.run")?,
            attempt: scalar::attempt(message.attempt, "GetBundleRequest.attempt")?,
            generation: scalar::generation(message.generation, "GetBundleRequest.generation")?,
        })
    }
}

impl From<LogChunk> for v1::PutLogRequest {
    fn from(chunk: LogChunk) -> Self {
        Self { run: chunk.run.into(), attempt: chunk.attempt.0, offset: chunk.offset, data: chunk.data }
    }
}

impl TryFrom<v1::PutLogRequest> for LogChunk {
    type Error = Invalid;

    fn try_from(message: v1::PutLogRequest) -> Checked<Self> {
        Ok(Self {
            run: scalar::id(message.run, "PutLogRequest.run")?,
            attempt: scalar::attempt(message.attempt, "PutLogRequest.attempt")?,
            offset: scalar::at_most(message.offset, limits::LOG_BYTES, "PutLogRequest.offset")?,
            data: scalar::data(message.data, limits::CHUNK_BYTES, "PutLogRequest.data")?,
        })
    }
}

impl From<TextAsked> for v1::ReadLogRequest {
    fn from(asked: TextAsked) -> Self {
        Self { run: asked.run.into(), text: Some(asked.text.into()) }
    }
}

impl TryFrom<v1::ReadLogRequest> for TextAsked {
    type Error = Invalid;

    fn try_from(message: v1::ReadLogRequest) -> Checked<Self> {
        Ok(Self {
            run: scalar::id(message.run, "ReadLogRequest.run")?,
            text: scalar::required(message.text, "ReadLogRequest.text")?.try_into()?,
        })
    }
}

impl From<Word> for v1::JudgeRequest {
    fn from(word: Word) -> Self {
        let message = |error| SuiteError { text: None, ..error }.into();
        let errors = |errors: Vec<_>| errors.into_iter().take(limits::JUDGED_ERRORS).map(message).collect();
        let judgement = word.errors.map(|all| v1::Judgement { errors: errors(all) });
        Self { run: word.run.into(), judgement }
    }
}

impl TryFrom<v1::JudgeRequest> for Word {
    type Error = Invalid;

    fn try_from(message: v1::JudgeRequest) -> Checked<Self> {
        let error = |message: v1::SuiteError| match message.text {
            None => message.try_into(),
            Some(_) => Err(Invalid::new("Judgement.errors", "have texts")),
        };
        let errors = |judgement: v1::Judgement| {
            scalar::list(judgement.errors, limits::JUDGED_ERRORS, "Judgement.errors", error)
        };
        Ok(Self {
            run: scalar::id(message.run, "JudgeRequest.run")?,
            errors: message.judgement.map(errors).transpose()?,
        })
    }
}

impl From<RunDescription> for v1::RunDescription {
    fn from(description: RunDescription) -> Self {
        Self { spec: Some(description.spec.into()) }
    }
}

impl TryFrom<v1::RunDescription> for RunDescription {
    type Error = Invalid;

    fn try_from(message: v1::RunDescription) -> Checked<Self> {
        Ok(Self { spec: scalar::required(message.spec, "RunDescription.spec")?.try_into()? })
    }
}
