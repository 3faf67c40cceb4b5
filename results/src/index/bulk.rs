//! Bulk requests: how documents are framed, and what an answer means for each of them. Pure.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::document::{Document, Of};

/// What is to become of a document that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is there, or a newer one of its id is.
    Written,
    /// It is sent again, for this reason.
    Again(String),
    /// It will never be taken, for this reason: it is set aside.
    Rejected(String),
}

/// A bulk request under way: the lines of its documents, and where those of each end.
pub struct Frame {
    bound: usize,
    body: Vec<u8>,
    ends: Vec<usize>,
    /// What the documents of the last one's run begin with.
    head: Option<(Arc<Of>, Vec<u8>)>,
}

impl Frame {
    /// Of at most so many bytes, but for one document, which always finds room.
    pub fn new(bound: usize) -> Frame {
        Frame { bound, body: Vec::with_capacity(bound), ends: Vec::new(), head: None }
    }

    /// Adds a document as two lines, if there is room for it; says whether there was. `index` is where it goes; neither it nor
    /// ids have anything that JSON escapes.
    pub fn add(&mut self, document: &Document, index: &str) -> bool {
        let (before, id, version) = (self.body.len(), document.id(), document.version);
        let head = match self.head.take().filter(|(of, _)| Arc::ptr_eq(of, &document.of)) {
            Some((_, head)) => head,
            None => document.of.head(),
        };
        let action = format_args!(
            r#"{{"index":{{"_index":"{index}","_id":"{id}","version":{version},"version_type":"external_gte"}}}}"#
        );
        writeln!(self.body, "{action}").expect("memory takes it");
        document.write(&head, &mut self.body);
        self.head = Some((document.of.clone(), head));
        self.body.push(b'\n');
        if !self.ends.is_empty() && self.body.len() > self.bound {
            self.body.truncate(before);
            return false;
        }
        self.ends.push(self.body.len());
        true
    }

    pub fn documents(&self) -> usize {
        self.ends.len()
    }

    /// The lines, and where those of each document end.
    pub fn into_lines(self) -> (Bytes, Vec<usize>) {
        (self.body.into(), self.ends)
    }
}

/// What a bulk request is answered.
#[derive(Debug, Deserialize)]
pub struct Answer {
    items: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    index: Outcome,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    status: u64,
    error: Option<Value>,
}

impl Answer {
    /// What it says of each of `sent` documents. None where it is of others.
    pub fn fates(self, sent: usize) -> Option<Vec<Fate>> {
        (self.items.len() == sent).then(|| self.items.into_iter().map(|item| item.index.fate()).collect())
    }
}

impl Outcome {
    fn fate(self) -> Fate {
        let Outcome { status, error } = self;
        let kind = error.as_ref().and_then(|error| error.get("type")).and_then(Value::as_str);
        let reason = || error.as_ref().map_or_else(|| format!("status {status}"), reason);
        match status {
            200..=299 | 409 => Fate::Written,
            _ if is_of_the_document(status, kind.unwrap_or_default()) => Fate::Rejected(reason()),
            _ => Fate::Again(reason()),
        }
    }
}

/// Whether it is the document that is wrong, and not the index, the cluster or who asks.
fn is_of_the_document(status: u64, kind: &str) -> bool {
    let of_others = ["cluster_block_exception", "security_exception", "index_closed_exception"];
    let passing = [401, 403, 404, 408, 429];
    (400..500).contains(&status) && !passing.contains(&status) && !of_others.contains(&kind)
}

/// An error of Elasticsearch in one line: what it is, why, and what that comes from.
pub fn reason(error: &Value) -> String {
    let text =
        |error: &Value, name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(text) = error.as_str() {
        return text.to_owned();
    }
    let mut line = format!("{}: {}", text(error, "type"), text(error, "reason"));
    if let Some(cause) = error.get("caused_by") {
        line.push_str(&format!(" ({}: {})", text(cause, "type"), text(cause, "reason")));
    }
    line.truncate(line.floor_char_boundary(1000));
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::index::document::Kind;
    use crate::index::document::tests::one_of_each;

    fn fates(answer: Value, sent: usize) -> Option<Vec<Fate>> {
        serde_json::from_value::<Answer>(answer).ok()?.fates(sent)
    }

    fn item(status: u64, kind: &str) -> Value {
        json!({"index": {"status": status, "error": {"type": kind, "reason": "because"}}})
    }

    /// The lines of documents, as many as there is room for.
    fn framed(documents: &[Document], bound: usize) -> (Bytes, Vec<usize>) {
        let mut frame = Frame::new(bound);
        let taken = documents.iter().take_while(|document| frame.add(document, "p-runs-v1-2026.11")).count();
        assert_eq!(frame.documents(), taken);
        frame.into_lines()
    }

    #[test]
    fn requests_are_filled_by_bytes_and_never_empty() {
        let documents = one_of_each();
        let (all, ends) = framed(&documents, 1 << 20);
        assert_eq!((ends.len(), ends.last()), (documents.len(), Some(&all.len())));
        for (bound, expected) in [(0, 1), (ends[1] - 1, 1), (ends[1], 2), (ends[2] - 1, 2), (all.len(), 5)] {
            let (lines, within) = framed(&documents, bound);
            assert_eq!((within.as_slice(), lines), (&ends[..expected], all.slice(..ends[expected - 1])));
        }
    }

    #[test]
    fn a_document_is_two_lines_of_json() {
        for document in one_of_each() {
            let (lines, _) = framed(std::slice::from_ref(&document), 0);
            let text = String::from_utf8(lines.to_vec()).unwrap();
            let [action, source] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
            let action: Value = serde_json::from_str(action).unwrap();
            let expected = json!({"_index": "p-runs-v1-2026.11", "_id": document.id(), "version": 3,
                "version_type": "external_gte"});
            assert_eq!(action, json!({"index": expected}));
            assert!(serde_json::from_str::<Value>(source).unwrap().is_object());
        }
    }

    #[test]
    fn each_document_begins_with_what_is_of_its_run() {
        let of_runs = one_of_each();
        let of_runs = of_runs.iter().filter(|document| document.kind() != Kind::Timings);
        let of_both = |document: &Document| {
            let of = Of { run: "s".parse().unwrap(), ..(*document.of).clone() };
            [document.clone(), Document { of: Arc::new(of), ..document.clone() }]
        };
        let documents: Vec<_> = of_runs.flat_map(of_both).collect();
        let (lines, _) = framed(&documents, 1 << 20);
        let text = String::from_utf8(lines.to_vec()).unwrap();
        let of_source = |source| {
            let source: Value = serde_json::from_str(source).unwrap();
            ["key", "run", "project"].map(|name| source[name].as_str().unwrap().to_owned())
        };
        let told: Vec<_> = text.lines().skip(1).step_by(2).map(of_source).collect();
        let expected = documents.iter().map(|document| {
            let Of { run, project, .. } = &*document.of;
            [document.of.key(), run.to_string(), project.clone()]
        });
        assert_eq!(told, expected.collect::<Vec<_>>());
        assert_eq!(told.len(), 8);
    }

    #[test]
    fn an_answer_decides_for_each_document_by_itself() {
        let table = [
            (json!({"index": {"status": 201}}), "written"),
            (json!({"index": {"status": 200}}), "written"),
            (item(409, "version_conflict_engine_exception"), "written"),
            (item(429, "es_rejected_execution_exception"), "again"),
            (item(500, "x"), "again"),
            (item(503, "unavailable_shards_exception"), "again"),
            (item(403, "cluster_block_exception"), "again"),
            (item(403, "security_exception"), "again"),
            (item(404, "index_not_found_exception"), "again"),
            (item(400, "index_closed_exception"), "again"),
            (item(400, "document_parsing_exception"), "rejected"),
            (item(400, "strict_dynamic_mapping_exception"), "rejected"),
            (item(413, ""), "rejected"),
        ];
        let sent = table.len();
        let items: Vec<_> = table.iter().map(|(item, _)| item.clone()).collect();
        let decided = fates(json!({"errors": true, "items": items}), sent).unwrap();
        for ((item, expected), fate) in table.iter().zip(decided) {
            let word = match fate {
                Fate::Written => "written",
                Fate::Again(why) => {
                    assert!(why.contains("because"), "{why}");
                    "again"
                }
                Fate::Rejected(_) => "rejected",
            };
            assert_eq!(word, *expected, "{item}");
        }
    }

    #[test]
    fn what_is_no_answer_decides_nothing() {
        let items = |items: Value| json!({"items": items});
        for answer in [
            json!("garbage"),
            json!({}),
            items(json!([])),
            items(json!([{"index": {}}])),
            items(json!([7])),
            items(json!([{"index": {"status": 201}}, {"index": {"status": 201}}])),
        ] {
            assert_eq!(fates(answer.clone(), 1), None, "{answer}");
        }
    }
}
