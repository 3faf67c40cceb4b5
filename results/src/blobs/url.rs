//! How a store is named: by a URL, read and checked here alone.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A store of objects. Its text is what messages call it; there are no secrets in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A directory, by its absolute path.
    File(PathBuf),
    S3(Box<Bucket>),
}

/// A bucket, and how its server is spoken to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bucket {
    pub name: String,
    /// Without slashes at its ends; may be empty.
    pub prefix: String,
    /// Another server than AWS's.
    pub endpoint: Option<String>,
    pub region: Option<String>,
    /// The bucket stands in the path, not in the host's name.
    pub path_style: bool,
    pub encryption: Encryption,
    /// A PEM file with authorities that are trusted besides the system's.
    pub ca: Option<PathBuf>,
    /// The file with credentials, in the form of `~/.aws/credentials`.
    pub credentials: Option<PathBuf>,
    /// The section of that file.
    pub profile: Option<String>,
}

/// How the server is asked to encrypt what it keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Encryption {
    /// As the bucket has it.
    #[default]
    Default,
    /// By the server's own key.
    Own,
    /// By the key management service's default key for it, or the named one.
    Kms(Option<String>),
}

/// What is wrong with the URL of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidUrl {
    what: String,
    hint: &'static str,
}

const FORMS: &str =
    "file:/absolute/path, or s3://BUCKET/PREFIX?region=REGION; seagull docs storage has all of it";
const SETTINGS: &str = "endpoint, region, path-style, sse, kms-key, ca, credentials and profile can be set";
const CREDENTIALS: &str = "credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws/credentials, or the machine's role";
const BUCKETS: &str = "a bucket's name has 3 to 63 of a-z, 0-9, '.' and '-'";
const PREFIXES: &str = "a prefix has letters, digits, '.', '_', '-' and '/', at most 500";

impl InvalidUrl {
    fn new(what: impl Into<String>, hint: &'static str) -> InvalidUrl {
        InvalidUrl { what: what.into(), hint }
    }
}

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nhint: {}", self.what, self.hint)
    }
}

impl std::error::Error for InvalidUrl {}

impl FromStr for StoreUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<StoreUrl, InvalidUrl> {
        if let Some(path) = text.strip_prefix("file:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.starts_with('/') {
                Ok(StoreUrl::File(path.into()))
            } else {
                Err(InvalidUrl::new("the path of a file: URL is not absolute", FORMS))
            };
        }
        let rest = text.strip_prefix("s3://").ok_or_else(|| InvalidUrl::new("no URL of a store", FORMS))?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (name, prefix) = place.split_once('/').unwrap_or((place, ""));
        // What it says is not repeated: it may be a secret.
        if name.contains('@') || name.contains(':') {
            return Err(InvalidUrl::new("there are credentials or a port before the bucket", CREDENTIALS));
        }
        let mut bucket = Bucket { name: bucket_name(name)?, prefix: prefix_of(prefix)?, ..Bucket::default() };
        for setting in query.split('&').filter(|setting| !setting.is_empty()) {
            bucket.set(setting)?;
        }
        bucket.check()?;
        Ok(StoreUrl::S3(Box::new(bucket)))
    }
}

fn bucket_name(name: &str) -> Result<String, InvalidUrl> {
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
    if (3..=63).contains(&name.len()) && name.bytes().all(known) {
        Ok(name.to_owned())
    } else {
        Err(InvalidUrl::new(format!("{name:?} is no bucket's name"), BUCKETS))
    }
}

fn prefix_of(prefix: &str) -> Result<String, InvalidUrl> {
    let prefix = prefix.trim_matches('/');
    let known = |part: &str| {
        let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        !part.is_empty() && part.bytes().all(safe) && !part.bytes().all(|b| b == b'.')
    };
    if prefix.is_empty() || (prefix.len() <= 500 && prefix.split('/').all(known)) {
        Ok(prefix.to_owned())
    } else {
        Err(InvalidUrl::new(format!("{prefix:?} is no prefix"), PREFIXES))
    }
}

impl Bucket {
    fn set(&mut self, setting: &str) -> Result<(), InvalidUrl> {
        let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
        let value = decoded(value).filter(|value| !value.is_empty() && !value.contains(char::is_control));
        let Some(value) = value else {
            return Err(InvalidUrl::new(format!("{key} has no value, or none that can be read"), SETTINGS));
        };
        match key {
            "endpoint" => {
                let host = value.strip_prefix("http://").or(value.strip_prefix("https://"));
                let host = host.map(|host| host.trim_end_matches('/'));
                if host.is_none_or(|host| host.is_empty() || host.contains(['@', '/', '?', '#'])) {
                    return Err(InvalidUrl::new(
                        "the endpoint is not http://HOST:PORT or https://HOST:PORT",
                        CREDENTIALS,
                    ));
                }
                self.endpoint = Some(value);
            }
            "region" => self.region = Some(value),
            "path-style" => {
                self.path_style =
                    value.parse().map_err(|_| InvalidUrl::new("path-style is true or false", SETTINGS))?;
            }
            "sse" => {
                self.encryption = match value.as_str() {
                    "AES256" => Encryption::Own,
                    "aws:kms" => Encryption::Kms(None),
                    _ => return Err(InvalidUrl::new("sse is AES256 or aws:kms", SETTINGS)),
                }
            }
            "kms-key" => self.encryption = Encryption::Kms(Some(value)),
            "ca" => self.ca = Some(value.into()),
            "credentials" => self.credentials = Some(value.into()),
            "profile" => self.profile = Some(value),
            // The value is not repeated: it may be a secret.
            _ => return Err(InvalidUrl::new(format!("there is no setting {key:?}"), SETTINGS)),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), InvalidUrl> {
        let plain = self.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        if plain && self.ca.is_some() {
            return Err(InvalidUrl::new("ca is for an endpoint that speaks https", SETTINGS));
        }
        Ok(())
    }
}

/// Without `%XX`; None where that is broken off or no text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Where it is, without its settings.
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreUrl::File(path) => write!(f, "file:{}", path.display()),
            StoreUrl::S3(bucket) => bucket.fmt(f),
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        write!(f, "s3://{}{slash}{}", self.name, self.prefix)?;
        self.endpoint.as_ref().map_or(Ok(()), |endpoint| write!(f, " at {endpoint}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_all_of_a_store() {
        for text in ["file:/var/store", "file:///var/store"] {
            assert_eq!(text.parse(), Ok(StoreUrl::File("/var/store".into())));
        }
        let all = "s3://ci-results/team/a/?endpoint=https%3A%2F%2Fminio:9000&region=eu-central-1&path-style=true\
                   &kms-key=arn:aws:kms:x&ca=/etc/ca.pem&credentials=/etc/keys&profile=ci";
        let bucket = Bucket {
            name: "ci-results".into(),
            prefix: "team/a".into(),
            endpoint: Some("https://minio:9000".into()),
            region: Some("eu-central-1".into()),
            path_style: true,
            encryption: Encryption::Kms(Some("arn:aws:kms:x".into())),
            ca: Some("/etc/ca.pem".into()),
            credentials: Some("/etc/keys".into()),
            profile: Some("ci".into()),
        };
        let url: StoreUrl = all.parse().unwrap();
        assert_eq!(url.to_string(), "s3://ci-results/team/a at https://minio:9000");
        assert_eq!(url, StoreUrl::S3(Box::new(bucket)));
        let plain: StoreUrl = "s3://ci-results".parse().unwrap();
        assert_eq!(plain.to_string(), "s3://ci-results");
    }

    #[test]
    fn what_is_wrong_is_said_with_a_hint_and_without_secrets() {
        for (text, says) in [
            ("", "no URL of a store"),
            ("/var/store", "no URL of a store"),
            ("file:store", "not absolute"),
            ("s3://", "no bucket's name"),
            ("s3://Bucket", "no bucket's name"),
            ("s3://key:hush@bucket", "credentials"),
            ("s3://bucket/a/../b", "no prefix"),
            ("s3://bucket/a?secret=hush", "no setting \"secret\""),
            ("s3://bucket?endpoint=minio:9000", "the endpoint is not"),
            ("s3://bucket?endpoint=http://key:hush@minio", "the endpoint is not"),
            ("s3://bucket?endpoint=http://minio&ca=/ca.pem", "https"),
            ("s3://bucket?path-style=yes", "true or false"),
            ("s3://bucket?sse=none", "AES256"),
            ("s3://bucket?region", "has no value"),
            ("s3://bucket?region=%F", "none that can be read"),
        ] {
            let error = text.parse::<StoreUrl>().unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("\nhint: "), "{text}: {error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
