//! A report in a file.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::Context;

/// Writes a report beside its place, then moves it there: a reader sees all of it or none.
pub fn write(text: &str, path: &Path) -> anyhow::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory {
        fs::create_dir_all(directory)?;
    }
    let name = path.file_name().context("it names no file")?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(temporary);
    let written = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to tell of.
        let _ = fs::remove_file(&temporary);
    }
    Ok(written?)
}
