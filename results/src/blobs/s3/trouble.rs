//! What an SDK's error means.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::super::trouble::{Trouble, Why};

pub(super) fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// There is no such object, in words; that there is no such bucket is another matter, and so is a page that is not there.
pub(super) fn is_nothing<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    status(error) == Some(404) && error.code().is_some_and(|code| code != "NoSuchBucket")
}

/// It was asked something that it does not do, and can say why.
pub(super) fn is_refused<E>(error: &SdkError<E>) -> bool {
    matches!(status(error), Some(300..=499))
}

/// The object was not to be there and is.
pub(super) fn existed<E>(error: &SdkError<E>) -> bool {
    status(error) == Some(412)
}

/// The same request may well succeed now.
pub(super) fn is_of_the_moment<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    matches!(status(error), Some(409 | 429)) || error.code().is_some_and(is_damage)
}

/// What the server has is not what was sent.
fn is_damage(code: &str) -> bool {
    matches!(
        code,
        "BadDigest" | "XAmzContentChecksumMismatch" | "XAmzContentSHA256Mismatch" | "IncompleteBody"
    )
}

pub(super) fn of<E>(error: &SdkError<E>) -> Trouble
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    if let Some(lacking) = find::<CredentialsError>(error) {
        return Trouble { why: Why::NoCredentials, said: words(lacking) };
    }
    let Some(status) = status(error) else {
        let is_silent = matches!(error, SdkError::TimeoutError(_));
        let said = match words(error) {
            _ if is_silent => "it does not answer".to_owned(),
            // No library has a kind for it.
            said if said.contains("InvalidContentType") => "TLS is not spoken there".to_owned(),
            said => said,
        };
        let why = if said.contains("certificate") { Why::Certificate } else { Why::Away };
        return Trouble { why, said };
    };
    let said = match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => format!("it answers with status {status}"),
    };
    let code = error.code().unwrap_or_default();
    // MinIO has no code of its own for it.
    let is_of_keys = code.starts_with("KMS.") || said.contains("KMS is not configured");
    Trouble { why: if is_of_keys { Why::Encryption } else { why(status, code) }, said }
}

fn why(status: u16, code: &str) -> Why {
    match (status, code) {
        (_, "RequestTimeTooSkewed") => Why::Clock,
        (_, "NoSuchBucket") => Why::NoBucket,
        (
            _,
            "InvalidAccessKeyId"
            | "InvalidTokenId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "TokenRefreshRequired",
        ) => Why::Credentials,
        // Another has completed it, or this one has and was not told.
        (_, "NoSuchUpload") => Why::Busy,
        (301 | 307, _) | (_, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
            Why::Region
        }
        (_, code) if is_damage(code) => Why::Corrupt,
        (401 | 403, _) => Why::Denied,
        (408 | 429 | 500.., _) => Why::Busy,
        // What claims to have succeeded and cannot be read, sends elsewhere, or has no words of S3's for what is wrong.
        (200..=299 | 302 | 303 | 308, _) | (400 | 404 | 405, "") => Why::Foreign,
        _ => Why::Refused,
    }
}

fn find<'a, T: Error + 'static>(mut error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    loop {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        error = error.source()?;
    }
}

/// The end of its chain of causes says most; the SDK's own layers say little.
fn words(mut error: &(dyn Error + 'static)) -> String {
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_a_meaning() {
        for (status, code, expected) in [
            (403, "AccessDenied", Why::Denied),
            (403, "", Why::Denied),
            (403, "InvalidAccessKeyId", Why::Credentials),
            (400, "ExpiredToken", Why::Credentials),
            (403, "RequestTimeTooSkewed", Why::Clock),
            (404, "NoSuchBucket", Why::NoBucket),
            (301, "PermanentRedirect", Why::Region),
            (400, "BadDigest", Why::Corrupt),
            (200, "", Why::Foreign),
            (302, "", Why::Foreign),
            (404, "", Why::Foreign),
            (429, "", Why::Busy),
            (503, "SlowDown", Why::Busy),
            (507, "XMinioStorageFull", Why::Busy),
            (400, "EntityTooLarge", Why::Refused),
        ] {
            assert_eq!(why(status, code), expected, "{status} {code}");
        }
    }
}
