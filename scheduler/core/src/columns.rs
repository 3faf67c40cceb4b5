//! The tests of a run in a snapshot: in columns, and what many in a row have in common only once. A snapshot of many
//! large runs is written and read while nothing else is done.

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::run::Test;

#[derive(Serialize, Deserialize)]
struct Columns {
    predicted_us: Vec<u64>,
    /// As many in a row as it says.
    limits_ms: Vec<(u32, u64)>,
    /// All but what the other columns have.
    rest: Vec<(u32, Test)>,
}

pub fn serialize<S: Serializer>(tests: &[Test], serializer: S) -> Result<S::Ok, S::Error> {
    let rest = |test: &Test| Test { predicted_us: 0, limit_ms: 0, ..test.clone() };
    let columns = Columns {
        predicted_us: tests.iter().map(|test| test.predicted_us).collect(),
        limits_ms: in_a_row(tests.iter().map(|test| test.limit_ms)),
        rest: in_a_row(tests.iter().map(rest)),
    };
    columns.serialize(serializer)
}

fn in_a_row<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<(u32, T)> {
    let mut rows: Vec<(u32, T)> = Vec::new();
    for value in values {
        match rows.last_mut() {
            Some((count, last)) if *last == value => *count += 1,
            _ => rows.push((1, value)),
        }
    }
    rows
}

fn each<T: Clone>(rows: Vec<(u32, T)>) -> impl Iterator<Item = T> {
    rows.into_iter().flat_map(|(count, value)| std::iter::repeat_n(value, count as usize))
}

/// Also test by test, as an older release wrote them.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Test>, D::Error> {
    deserializer.deserialize_any(Tests)
}

struct Tests;

impl<'de> Visitor<'de> for Tests {
    type Value = Vec<Test>;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("the tests of a run")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, tests: A) -> Result<Vec<Test>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(tests))
    }

    fn visit_map<A: MapAccess<'de>>(self, columns: A) -> Result<Vec<Test>, A::Error> {
        let columns = Columns::deserialize(MapAccessDeserializer::new(columns))?;
        let count = columns.predicted_us.len();
        let (mut limits_ms, mut rest) = (each(columns.limits_ms), each(columns.rest));
        let mut tests = Vec::with_capacity(count);
        for predicted_us in columns.predicted_us {
            let of_test = limits_ms.next().zip(rest.next());
            let (limit_ms, test) = of_test.ok_or_else(|| A::Error::custom("columns that end too soon"))?;
            tests.push(Test { predicted_us, limit_ms, ..test });
        }
        Ok(tests)
    }
}
