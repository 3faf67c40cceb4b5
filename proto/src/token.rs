//! The token that every call carries, on both sides.

use std::fmt;
use std::str::FromStr;

use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// The metadata key that carries the token.
pub const METADATA_KEY: &str = "authorization";
/// What stands before the token in the value.
pub const SCHEME: &str = "Bearer ";

const MAX_TOKEN_BYTES: usize = 512;

/// A secret that clients and executors share with their scheduler. Never printed, not even by `Debug`.
#[derive(Clone)]
pub struct Token(MetadataValue<Ascii>);

/// A text that cannot be a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidToken;

/// Adds the token to every call of a client.
#[derive(Debug, Clone)]
pub struct AddToken(Token);

/// Refuses calls without the token, before anything of them is read.
#[derive(Debug, Clone)]
pub struct RequireToken(Token);

/// Whether two secrets are equal, in a time that tells nothing about where they differ: their digests are compared,
/// and BLAKE3's equality takes constant time.
pub fn same_secret(given: &[u8], expected: &[u8]) -> bool {
    blake3::hash(given) == blake3::hash(expected)
}

impl Token {
    /// Whether a call with this metadata carries the token.
    pub fn admits(&self, metadata: &MetadataMap) -> bool {
        metadata.get(METADATA_KEY).is_some_and(|given| self.is_header(given.as_bytes()))
    }

    /// Whether this is the value of the `authorization` header of a call that may pass; for plain HTTP requests.
    pub fn is_header(&self, value: &[u8]) -> bool {
        same_secret(value, self.0.as_bytes())
    }
}

impl FromStr for Token {
    type Err = InvalidToken;

    /// Reads a token as it stands in a file: white space around it does not count.
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let token = text.trim();
        let visible = token.bytes().all(|byte| byte.is_ascii_graphic());
        if token.is_empty() || token.len() > MAX_TOKEN_BYTES || !visible {
            return Err(InvalidToken);
        }
        let mut value = MetadataValue::try_from(format!("{SCHEME}{token}")).map_err(|_| InvalidToken)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl fmt::Display for InvalidToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid token: 1 to {MAX_TOKEN_BYTES} visible ASCII characters are expected")
    }
}

impl std::error::Error for InvalidToken {}

impl AddToken {
    pub fn new(token: Token) -> Self {
        Self(token)
    }
}

impl Interceptor for AddToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(METADATA_KEY, self.0.0.clone());
        Ok(request)
    }
}

impl RequireToken {
    pub fn new(token: Token) -> Self {
        Self(token)
    }
}

impl Interceptor for RequireToken {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        if self.0.admits(request.metadata()) {
            return Ok(request);
        }
        Err(Status::unauthenticated(
            "missing or wrong token\nhint: pass the scheduler's own with --token-file",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_token_passes() {
        let token: Token = " s3cret-Token\n".parse().unwrap();
        let added = AddToken::new(token.clone()).call(Request::new(())).unwrap();
        assert!(RequireToken::new(token.clone()).call(added).is_ok());
        assert!(token.is_header(b"Bearer s3cret-Token"));
        for wrong in [
            "",
            "s3cret-Token",
            "Bearer ",
            "Bearer s3cret-Toke",
            "Bearer s3cret-Token ",
            "bearer s3cret-Token",
        ] {
            assert!(!token.is_header(wrong.as_bytes()), "{wrong:?} passed");
        }
        assert!(RequireToken::new(token).call(Request::new(())).is_err());
    }

    #[test]
    fn a_token_is_not_printed() {
        let token: Token = "s3cret-Token".parse().unwrap();
        let request = AddToken::new(token.clone()).call(Request::new(())).unwrap();
        let printed = format!("{token:?} {:?} {request:?}", RequireToken::new(token.clone()));
        assert!(!printed.contains("s3cret"), "{printed}");
    }

    #[test]
    fn what_cannot_be_a_token_is_refused() {
        for bad in ["", " \n", "two words", "two\nlines", "naïve", &"x".repeat(513)] {
            assert!(bad.parse::<Token>().is_err(), "{bad:?} was taken");
        }
    }
}
