//! Bulk requests: how documents are framed, and what an answer means for each of them. Pure.

use serde_json::Value;

use super::document::Document;

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

/// A document as two lines of a bulk request. `index` is where it goes; neither it nor ids have anything that JSON escapes.
pub fn lines(document: &Document, index: &str) -> Vec<u8> {
    let (id, version) = (document.id(), document.version);
    let action = format!(
        r#"{{"index":{{"_index":"{index}","_id":"{id}","version":{version},"version_type":"external_gte"}}}}"#
    );
    [action.as_bytes(), b"\n", &document.source(), b"\n"].concat()
}

/// A bulk request under way: the lines of its documents, and where those of each end.
pub struct Frame {
    bound: usize,
    body: Vec<u8>,
    ends: Vec<usize>,
}

impl Frame {
    /// Of at most so many bytes, but for one document, which always finds room.
    pub fn new(bound: usize) -> Frame {
        Frame { bound, body: Vec::with_capacity(bound), ends: Vec::new() }
    }

    /// Adds a document if there is room for it; says whether there was.
    pub fn add(&mut self, lines: &[u8]) -> bool {
        if !self.ends.is_empty() && self.body.len().saturating_add(lines.len()) > self.bound {
            return false;
        }
        self.body.extend(lines);
        self.ends.push(self.body.len());
        true
    }

    pub fn documents(&self) -> usize {
        self.ends.len()
    }

    /// The lines of the first so many documents.
    pub fn first(&self, documents: usize) -> &[u8] {
        let end = documents.checked_sub(1).and_then(|last| self.ends.get(last)).copied();
        &self.body[..end.unwrap_or(0)]
    }
}

/// What a bulk answer says of each of `sent` documents. None where it is no such answer.
pub fn fates(answer: &Value, sent: usize) -> Option<Vec<Fate>> {
    let items = answer.get("items")?.as_array()?;
    if items.len() != sent {
        return None;
    }
    items.iter().map(fate).collect()
}

fn fate(item: &Value) -> Option<Fate> {
    let (_, outcome) = item.as_object()?.iter().next()?;
    let status = outcome.get("status")?.as_u64()?;
    let error = outcome.get("error");
    let kind = error.and_then(|error| error.get("type")).and_then(Value::as_str).unwrap_or_default();
    let reason = || match error {
        Some(error) => reason(error),
        None => format!("status {status}"),
    };
    Some(match status {
        200..=299 | 409 => Fate::Written,
        _ if is_of_the_document(status, kind) => Fate::Rejected(reason()),
        _ => Fate::Again(reason()),
    })
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

    fn item(status: u64, kind: &str) -> Value {
        json!({"index": {"status": status, "error": {"type": kind, "reason": "because"}}})
    }

    #[test]
    fn requests_are_filled_by_bytes_and_never_empty() {
        let table = [(&[10, 10, 10][..], 20, 2), (&[10, 10], 100, 2), (&[30, 10], 20, 1), (&[10, 30], 20, 1)];
        for (sizes, bound, expected) in table {
            let mut frame = Frame::new(bound);
            let taken = sizes.iter().take_while(|size| frame.add(&vec![b'x'; **size])).count();
            assert_eq!((taken, frame.documents()), (expected, expected), "{sizes:?} in {bound}");
            assert_eq!(frame.first(expected).len(), sizes[..expected].iter().sum::<usize>());
            assert_eq!((frame.first(1).len(), frame.first(0).len()), (sizes[0], 0));
        }
    }

    #[test]
    fn a_document_is_two_lines_of_json() {
        for document in crate::index::document::tests::one_of_each() {
            let text = String::from_utf8(lines(&document, "p-runs-v1-2026.11")).unwrap();
            let [action, source] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
            let action: Value = serde_json::from_str(action).unwrap();
            let expected = json!({"_index": "p-runs-v1-2026.11", "_id": document.id(), "version": 3,
                "version_type": "external_gte"});
            assert_eq!(action, json!({"index": expected}));
            assert!(serde_json::from_str::<Value>(source).unwrap().is_object());
        }
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
        let decided = fates(&json!({"errors": true, "items": items}), sent).unwrap();
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
            assert_eq!(fates(&answer, 1), None, "{answer}");
        }
    }
}
