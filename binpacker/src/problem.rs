//! What is to be packed, and what makes it impossible to say what is meant.

use std::fmt;

pub use crate::risk::Risk;
pub use crate::scopes::{ScopeSet, Scopes};

/// How many tests a bundle has at most, unless said otherwise.
pub const MAX_TESTS_PER_BUNDLE: u32 = 50_000;

/// What is to be packed. The crate gives the numbers of tests and environments no meaning; they need not be dense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// In the framework's order, each test once.
    pub items: Vec<Item>,
    /// Tests that stay in one bundle. Relations that share a test are one; tests that are no item are ignored.
    pub relations: Vec<RelationItems>,
    /// What tests share, and what each bundle pays once for each of them that it uses.
    pub scopes: Scopes,
    /// A bundle, with its fixed cost and its setups, is no longer than this.
    pub cap_ms: u64,
    /// Where the number of slots is known, a short suite is cut finer than the cap, so that each has work.
    pub slots: Option<u32>,
    /// What each bundle pays once (its sandbox).
    pub fixed_ms: u64,
    pub max_tests_per_bundle: u32,
    /// How likely a bundle may exceed the cap.
    pub risk: Risk,
    /// Nothing is known of the durations: one file a bundle.
    pub uncertain: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Item {
    pub test: u32,
    /// Predicted duration: the mean.
    pub micros: u64,
    /// Its standard deviation; 0 where the duration is exact. Independent of the other tests': what all tests of a bundle
    /// have in common is [`Risk::common_permille`].
    pub sd_micros: u64,
    /// What it uses, such as its file, its class, a fixture, a service profile. Of these the one that was added first is
    /// what it stays next to in a bundle.
    pub scopes: ScopeSet,
    /// Tests of several environments are never in one bundle.
    pub environment: u32,
}

/// Tests that must share a bundle; where `ordered`, they run in the order they are listed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationItems {
    pub ordered: bool,
    pub tests: Vec<u32>,
}

/// A problem that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    DuplicateTest(u32),
    /// Each of these tests must run before the next, and the last before the first.
    OrderCycle(Vec<u32>),
    /// These two are related, but of several environments.
    MixedEnvironments(u32, u32),
    /// This test's scopes are none of the problem's.
    UnknownScopes(u32),
}

impl Problem {
    /// A problem of `items` alone, without costs or relations.
    pub fn new(items: Vec<Item>, cap_ms: u64) -> Self {
        Self {
            items,
            relations: Vec::new(),
            scopes: Scopes::default(),
            cap_ms,
            slots: None,
            fixed_ms: 0,
            max_tests_per_bundle: MAX_TESTS_PER_BUNDLE,
            risk: Risk::default(),
            uncertain: false,
        }
    }

    pub(crate) fn fixed_micros(&self) -> u64 {
        self.fixed_ms.saturating_mul(1000)
    }

    /// Below every sum that saturates, so that such a sum is over the cap.
    pub(crate) fn cap_micros(&self) -> u64 {
        self.cap_ms.saturating_mul(1000).min(u64::MAX - 1)
    }

    pub(crate) fn max_tests(&self) -> u32 {
        self.max_tests_per_bundle.max(1)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateTest(test) => write!(f, "test {test} is listed twice"),
            Self::OrderCycle(tests) => {
                f.write_str("ordered relations contradict each other: ")?;
                for test in tests {
                    write!(f, "{test} before ")?;
                }
                write!(f, "{}", tests.first().copied().unwrap_or_default())
            }
            Self::MixedEnvironments(one, other) => {
                write!(f, "tests {one} and {other} are related, but their environments differ")
            }
            Self::UnknownScopes(test) => write!(f, "the scopes of test {test} are not known"),
        }
    }
}

impl std::error::Error for Error {}
