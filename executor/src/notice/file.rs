//! A file that appears: for whatever can run a command before a machine goes.
#![expect(clippy::disallowed_methods, reason = "a shell: it looks again and again")]

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use super::{Notice, POLL};

/// What is read of it.
const BYTES: u64 = 64;
/// A file that promises more promises nothing.
const MOST_SECONDS: u64 = 7 * 24 * 3600;

/// Its first line may say how many seconds are left.
pub(super) async fn notice(path: &Path, limit: Duration) -> Notice {
    loop {
        if path.exists() {
            let within = seconds(&beginning(path)).unwrap_or(limit);
            return Notice::spot(format!("the file {}", path.display()), within);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Of anything but a file, nothing: reading a pipe might wait for ever.
fn beginning(path: &Path) -> String {
    let mut text = Vec::new();
    if let Some(Ok(file)) = path.is_file().then(|| File::open(path)) {
        let _ = file.take(BYTES).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds: u64 = text.lines().next()?.trim().parse().ok()?;
    (seconds <= MOST_SECONDS).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(7);

    #[tokio::test]
    async fn a_file_that_appears_is_a_notice_and_may_say_how_much_time_there_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notice");
        let waits = notice(&path, LIMIT);
        // It has been looked for in vain once when it is made.
        let makes = async { fs::write(&path, "90\n").unwrap() };
        let (told, ()) = tokio::join!(biased; waits, makes);
        assert_eq!(told, Notice::spot(format!("the file {}", path.display()), Duration::from_secs(90)));
        for text in ["", "soon", "-1", "99999999999999999999", "604801"] {
            fs::write(&path, text).unwrap();
            assert_eq!(notice(&path, LIMIT).await.within, LIMIT, "{text}");
        }
        assert_eq!(notice(directory.path(), LIMIT).await.within, LIMIT);
    }
}
