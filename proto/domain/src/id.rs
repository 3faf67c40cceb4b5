//! Newtype ids. Text ids are bounded and made of safe characters, so that they can stand in paths, logs and URLs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Text that is not a valid id; says what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidId {
    pub kind: &'static str,
    pub text: String,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid {} {:?}: 1 to {MAX_TEXT_ID} letters, digits, '.', '_' or '-', not beginning with '.'",
            self.kind, self.text
        )
    }
}

impl std::error::Error for InvalidId {}

const MAX_TEXT_ID: usize = 100;

fn is_safe(text: &str) -> bool {
    let characters = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    characters && !text.is_empty() && text.len() <= MAX_TEXT_ID && !text.starts_with('.')
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::try_from(text.to_owned())
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                if is_safe(&text) { Ok(Self(text)) } else { Err(InvalidId { kind: $kind, text }) }
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($number:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $number);

        impl $name {
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

text_id!(
    /// One execution of one manifest for one revision; chosen by the client.
    RunId,
    "run id"
);
text_id!(
    /// The agent process on one machine.
    ExecutorId,
    "executor id"
);
text_id!(
    /// One life of an executor's process: a restarted executor has a new one.
    BootId,
    "boot id"
);
number_id!(
    /// One execution on a slot, of kind discover or run. Unique in its scheduler.
    AttemptId(u64)
);
number_id!(
    /// Tests packed together. Unique in its run.
    BundleId(u32)
);
number_id!(
    /// A version of something that is replaced as a whole: a manifest, the contents of an attempt's bundle.
    Generation(u32)
);
number_id!(
    /// A test's place in the manifest: its name everywhere but at the edges.
    TestIndex(u32)
);
number_id!(
    /// Which of its executor's slots, from 0.
    SlotIndex(u16)
);
number_id!(
    /// The number a slot has in one run, unique among the run's live workers: what xdist calls `gwN`.
    SlotNumber(u32)
);
number_id!(
    /// The number of a durable fact in its journal, from 1.
    Seq(u64)
);
number_id!(
    /// The number of an environment among its suite's, see [`crate::Suite::environment`]; 0 is what tests need that name
    /// none.
    EnvironmentNumber(u16)
);
number_id!(
    /// How often a journal was opened. An answer of an older epoch is ignored.
    Epoch(u64)
);

/// A BLAKE3 digest, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId { kind: "digest", text: text.chars().take(80).collect() };
        if text.len() != 64 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(invalid());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| invalid())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| invalid())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ids_refuse_what_could_leave_a_directory() {
        for bad in ["", ".", "..", "a/b", "a b", ".hidden", "é", &"x".repeat(101)] {
            assert!(bad.parse::<RunId>().is_err(), "{bad:?} was taken");
        }
        for good in ["r", "2026-11-24.1", "A_b-c", &"x".repeat(100)] {
            assert_eq!(good.parse::<RunId>().unwrap().to_string(), good);
        }
    }

    #[test]
    fn a_digest_reads_back_what_it_prints() {
        let digest = Digest(std::array::from_fn(|i| (i * 7) as u8));
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!("0".repeat(63).parse::<Digest>().is_err());
        assert!("G".repeat(64).parse::<Digest>().is_err());
    }
}
