//! Files that tests have left: which there are, and where each is put.

use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

use super::{Form, line};
use crate::memory::kib;
use crate::report::record::Attached;
use crate::report::tally::Tally;
use crate::report::text::one_line;

const WIDTH: usize = 200;
/// Characters of a directory's name.
const NAME: usize = 120;

/// A file, and the id of the test that left it, if that is known.
pub struct Left<'a> {
    pub test: Option<String>,
    pub attached: &'a Attached,
}

impl Left<'_> {
    /// Where it is put: with what its test has left, in an attempt.
    pub fn place(&self) -> PathBuf {
        let safe = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let test = self.test.as_ref().map(|id| {
            let name: String = id.replace("::", "-").chars().map(safe).collect();
            let skipped = name.chars().count().saturating_sub(NAME);
            let hash = &blake3::hash(id.as_bytes()).to_hex()[..8];
            format!("{}-{hash}", name.chars().skip(skipped).collect::<String>())
        });
        let attempt = format!("attempt-{}", self.attached.attempt);
        test.map(PathBuf::from).unwrap_or_default().join(attempt).join(&self.attached.file.name)
    }
}

/// All that was left, in the order of the tests, then what is nobody's.
pub fn left(tally: &Tally) -> impl Iterator<Item = Left<'_>> {
    let of_tests = tally.records().flat_map(move |(test, record)| {
        record.attached.iter().map(move |attached| Left { test: Some(tally.names.id(test)), attached })
    });
    of_tests.chain(tally.attached.iter().map(|attached| Left { test: None, attached }))
}

#[derive(Serialize)]
struct LeftObject<'a> {
    run: &'a str,
    test: Option<&'a str>,
    #[serde(flatten)]
    file: FileObject<'a>,
    /// Where it was put.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

#[derive(Serialize)]
pub struct FileObject<'a> {
    attempt: u64,
    name: &'a str,
    bytes: u64,
    kept: bool,
}

impl<'a> FileObject<'a> {
    pub fn of(attached: &'a Attached) -> FileObject<'a> {
        let Attached { attempt, file } = attached;
        FileObject { attempt: attempt.0, name: &file.name, bytes: file.bytes, kept: file.blob.is_some() }
    }
}

/// `shots/login.png, 20 KiB`
pub fn named(attached: &Attached) -> String {
    let file = &attached.file;
    let left_out = if file.blob.is_none() { ", left out: it was too much" } else { "" };
    format!("{}, {}{left_out}", one_line(&file.name, WIDTH), kib(file.bytes.div_ceil(1024)))
}

/// One file, and where it was put, if it was.
pub fn attachment(
    out: &mut impl Write,
    form: Form,
    run: &str,
    left: &Left,
    path: Option<&std::path::Path>,
) -> io::Result<()> {
    let test = left.test.as_deref();
    if form.json {
        let path = path.map(|path| path.display().to_string());
        return line(out, &LeftObject { run, test, file: FileObject::of(left.attached), path });
    }
    if let Some(path) = path {
        return writeln!(out, "{}", one_line(&path.display().to_string(), 4 * WIDTH));
    }
    let attempt = form.paint.dim(format!("attempt {}", left.attached.attempt));
    let test = one_line(test.unwrap_or("of no test that is known"), WIDTH);
    writeln!(out, "{test}: {}, {attempt}", named(left.attached))
}
