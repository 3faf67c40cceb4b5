//! What is wrong with a store, in words, and what to do about it.

use std::fmt;

/// A store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub why: Why,
    /// What the store or the way to it said.
    pub said: String,
}

/// What kind of trouble it is: what a person does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Nobody answers, or the answer breaks off.
    Away,
    /// It asks to be left alone for a while, or has an error of its own.
    Busy,
    /// There is nothing to sign requests with.
    NoCredentials,
    /// It does not know who asks, or no longer.
    Credentials,
    /// It knows who asks, who may not.
    Denied,
    /// Its clock and ours differ.
    Clock,
    NoBucket,
    /// A directory that was there is gone.
    NoDirectory,
    /// The bucket is elsewhere.
    Region,
    /// Its certificate is not trusted.
    Certificate,
    /// It is asked to encrypt, and has no key for that.
    Encryption,
    /// What arrived, here or there, is not what was sent.
    Corrupt,
    /// It answers, and not as a store does.
    Foreign,
    /// Another object has the name already.
    Taken,
    /// Something else that it does not take.
    Refused,
}

impl Why {
    /// Whether it may pass by itself.
    pub fn passes(self) -> bool {
        matches!(self, Why::Away | Why::Busy | Why::NoDirectory | Why::Corrupt | Why::Foreign)
    }

    fn hint(self) -> Option<&'static str> {
        match self {
            Why::Away => Some("is the endpoint right, and can this machine reach it?"),
            Why::Busy => None,
            Why::NoCredentials => Some(
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE with ~/.aws/credentials, or give the \
                 machine or container a role",
            ),
            Why::Credentials => Some(
                "the key, the secret or the session token is wrong or has expired; renew it where it was set",
            ),
            Why::Denied => Some("its policy must allow what seagull docs storage lists"),
            Why::Clock => Some("set the clock of this machine, by NTP for instance"),
            Why::NoBucket => Some("create the bucket, or correct its name in the URL"),
            Why::NoDirectory => Some(
                "mount it again; one that is to begin anew, empty, is made by whoever starts with it next",
            ),
            Why::Region => Some("name the bucket's region in the URL: ?region=REGION"),
            Why::Certificate => Some("name the authority in the URL: ?ca=FILE, a PEM file"),
            Why::Encryption => Some(
                "leave sse out of the URL, or see to the server's key management: to MinIO's KMS, or to kms-key and its policy",
            ),
            Why::Corrupt => {
                Some("something between here and the store changes data: a proxy, a network card, memory")
            }
            Why::Foreign => Some(
                "is the endpoint right? what answers there is no S3 server: a proxy's page, or another program",
            ),
            Why::Taken => Some(
                "another run of that id was there before: of another scheduler, which needs a prefix of its own \
                     (s3://BUCKET/PREFIX), or of this one, if its state directory was restored from a copy of when that run was under way",
            ),
            Why::Refused => None,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)?;
        self.why.hint().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}
