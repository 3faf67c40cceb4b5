//! What we install in an Elasticsearch, and how we know it again: a template for each kind of document, whose indices are
//! strict. Pure.

use serde_json::{Value, json};

use crate::index::address::{ElasticAddress, Period};
use crate::index::document::Kind;

/// Of every mapping. With another one the names of templates and indices are others: old indices stay as they are, and are
/// read no more once retention has dropped them.
pub const VERSION: u32 = 1;
/// Above the templates that come with Elasticsearch.
const PRIORITY: u32 = 500;
/// Of ids; what is longer is kept and not searched.
pub const LONGEST_KEYWORD: u32 = 8191;

/// The template of a kind, and how the names of its indices begin.
pub fn name(address: &ElasticAddress, kind: Kind) -> String {
    format!("{}-{}-v{VERSION}", address.prefix, kind.word())
}

/// The index for documents of a kind of that moment.
pub fn index(address: &ElasticAddress, kind: Kind, at: u64) -> String {
    match kind {
        Kind::Timings => format!("{}-all", name(address, kind)),
        _ => format!("{}-{}", name(address, kind), address.period.of(at)),
    }
}

/// All indices of a kind.
pub fn pattern(address: &ElasticAddress, kind: Kind) -> String {
    format!("{}-*", name(address, kind))
}

/// Whether all that is in an index of ours, by its name, is of before then.
pub fn is_over(address: &ElasticAddress, kind: Kind, index: &str, before: u64) -> bool {
    let period = index.strip_prefix(&name(address, kind)).and_then(|rest| rest.strip_prefix('-'));
    // Names of one length sort as their times do; of two lengths, as the shorter.
    let now = |period: &str| match period.len() {
        7 => Some(Period::Month.of(before)),
        10 => Some(Period::Day.of(before)),
        _ => None,
    };
    period.is_some_and(|period| now(period).is_some_and(|now| period < now.as_str()))
}

pub fn template(address: &ElasticAddress, kind: Kind) -> Value {
    let replicas = match address.replicas {
        Some(replicas) => ("number_of_replicas", json!(replicas)),
        None => ("auto_expand_replicas", json!("0-1")),
    };
    let mut settings = json!({
        "number_of_shards": address.shards,
        "refresh_interval": "5s",
        "codec": "best_compression",
    });
    settings[replicas.0] = replicas.1;
    json!({
        "index_patterns": [pattern(address, kind)],
        "priority": PRIORITY,
        "_meta": meta(kind),
        "template": {
            "settings": {"index": settings},
            "mappings": {"dynamic": "strict", "_meta": meta(kind), "properties": properties(kind)},
        },
    })
}

fn meta(kind: Kind) -> Value {
    json!({"seagull": {"kind": kind.word(), "mapping": VERSION}})
}

/// Why a mapping, or a template, is not ours; None where it is.
pub fn foreign(found: &Value, kind: Kind) -> Option<String> {
    let ours = meta(kind);
    let found = found.get("_meta").and_then(|meta| meta.get("seagull"));
    match found {
        Some(found) if *found == ours["seagull"] => None,
        Some(found) => Some(format!("says {found}, this release has {}", ours["seagull"])),
        None => Some("was not made by seagull".to_owned()),
    }
}

fn properties(kind: Kind) -> Value {
    let keyword = || json!({"type": "keyword", "ignore_above": LONGEST_KEYWORD});
    let integer = || json!({"type": "integer"});
    let long = || json!({"type": "long"});
    let unsearched = || json!({"type": "object", "enabled": false});
    let moment = || json!({"type": "date", "format": "epoch_millis"});
    let of = [
        ("key", keyword()),
        ("project", keyword()),
        ("run", keyword()),
        ("submitted_at", moment()),
        ("at", moment()),
    ];
    let own = match kind {
        Kind::Runs => vec![
            ("owner", keyword()),
            ("rev", keyword()),
            ("revision", keyword()),
            ("rerun_of", keyword()),
            ("tests", integer()),
            ("verdict", keyword()),
            ("ended_at", moment()),
            ("exit_code", integer()),
            ("suite_errors", integer()),
            ("total", integer()),
            ("passed", integer()),
            ("failed", integer()),
            ("skipped", integer()),
            ("flaky", integer()),
            ("quarantined", integer()),
            ("not_executed", integer()),
        ],
        Kind::Bundles => {
            vec![
                ("bundle", long()),
                ("tests", integer()),
                ("predicted", long()),
                ("anew", json!({"type": "boolean"})),
            ]
        }
        Kind::Attempts => vec![
            ("attempt", long()),
            ("bundle", long()),
            ("executor", keyword()),
            ("slot", integer()),
            ("tests", integer()),
            ("left", integer()),
            ("end", keyword()),
            ("lost", json!({"type": "boolean"})),
        ],
        Kind::Results => vec![
            ("test", keyword()),
            ("position", integer()),
            ("revision", keyword()),
            ("verdict", keyword()),
            ("why", keyword()),
            ("results", integer()),
            ("failed", integer()),
            ("micros", long()),
            ("executor", keyword()),
            ("message", keyword()),
            ("location", keyword()),
            ("stack", json!({"type": "text", "index": false})),
            ("fingerprint", keyword()),
            (
                "words",
                json!({"type": "text", "analyzer": "whitespace", "norms": false, "index_options": "docs"}),
            ),
            ("executions", unsearched()),
        ],
        Kind::Timings => {
            return json!({"project": keyword(), "part": integer(), "learned": unsearched()});
        }
    };
    Value::Object(of.into_iter().chain(own).map(|(name, field)| (name.to_owned(), field)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Address;
    use crate::index::document::tests::one_of_each;

    fn address(text: &str) -> ElasticAddress {
        let Address::Elastic(address) = text.parse().unwrap() else { panic!("{text}") };
        address
    }

    #[test]
    fn every_field_of_every_document_is_mapped_and_no_other() {
        let address = address("es+http://es:9200");
        for document in one_of_each() {
            let mapped = template(&address, document.kind());
            let mapped = mapped["template"]["mappings"]["properties"].as_object().unwrap().clone();
            let source: Value = serde_json::from_slice(&document.source()).unwrap();
            let fields: Vec<_> = source.as_object().unwrap().keys().cloned().collect();
            let names: Vec<_> = mapped.keys().cloned().collect();
            assert_eq!(names, fields, "{:?}", document.kind());
        }
        assert_eq!(one_of_each().len(), Kind::ALL.len());
    }

    #[test]
    fn what_is_ours_is_known_again() {
        let address = address("es+http://es:9200/p?replicas=2&period=day");
        let ours = template(&address, Kind::Results);
        assert_eq!(ours["index_patterns"], json!(["p-results-v1-*"]));
        assert_eq!(ours["template"]["settings"]["index"]["number_of_replicas"], json!(2));
        assert_eq!(foreign(&ours, Kind::Results), None);
        assert_eq!(foreign(&ours["template"]["mappings"], Kind::Results), None);
        assert!(foreign(&ours, Kind::Runs).is_some());
        assert_eq!(foreign(&json!({}), Kind::Runs).as_deref(), Some("was not made by seagull"));
        let newer = json!({"_meta": {"seagull": {"kind": "runs", "mapping": 2}}});
        assert!(foreign(&newer, Kind::Runs).unwrap().contains("\"mapping\":2"));
        assert_eq!(index(&address, Kind::Runs, 0), "p-runs-v1-1970.01.01");
        assert_eq!(index(&address, Kind::Timings, 0), "p-timings-v1-all");
        let november = 1_795_737_600_000; // 2026-11-27
        for (name, expected) in [
            ("p-runs-v1-2026.10", true),
            ("p-runs-v1-2026.11", false),
            ("p-runs-v1-2026.11.26", true),
            ("p-runs-v1-2026.11.27", false),
            ("p-runs-v1-old", false),
            ("p-runs-v2-2020.01", false),
            ("p-results-v1-2020.01", false),
        ] {
            assert_eq!(is_over(&address, Kind::Runs, name, november), expected, "{name}");
        }
    }
}
