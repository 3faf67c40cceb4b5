//! Unpacking what an attacker would send.

use std::io::Write;
use std::os::unix::fs::MetadataExt;

use tar::Header;
use tempfile::TempDir;

use super::*;

const LIMITS: Limits = Limits { bytes: 1 << 20, entries: 100 };

/// Writes headers as they are, past the library's own checks.
#[derive(Default)]
struct Hostile(Vec<u8>);

impl Hostile {
    fn add(mut self, kind: EntryType, name: &[u8], link: &[u8], contents: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name);
        header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link);
        header.set_entry_type(kind);
        header.set_mode(0o7777);
        header.set_mtime(1);
        header.set_size(contents.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(contents);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str) -> Self {
        self.add(EntryType::Regular, name.as_bytes(), b"", b"contents")
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.add(EntryType::Symlink, name.as_bytes(), target.as_bytes(), b"")
    }

    fn compressed(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        zstd::encode_all(&self.0[..], 1).unwrap()
    }
}

/// Unpacks; whatever comes of it, nothing but the directory may be there.
fn unpacked(archive: &[u8]) -> (TempDir, Result<Unpacked, UnpackError>) {
    let top = tempfile::tempdir().unwrap();
    let parent = top.path().join("parent");
    fs::create_dir(&parent).unwrap();
    let outcome = unpack(archive, &parent.join("out"), LIMITS);
    let left = |path: &Path| fs::read_dir(path).unwrap().count();
    assert_eq!((left(top.path()), left(&parent)), (1, usize::from(outcome.is_ok())), "{outcome:?}");
    (top, outcome)
}

fn refused(archive: Hostile) -> UnpackError {
    unpacked(&archive.compressed()).1.unwrap_err()
}

#[test]
fn harmless_archives_unpack_without_what_their_modes_ask_for() {
    let archive =
        Hostile::default().add(EntryType::Directory, b"d/", b"", b"").file("d/e/f").link("d/l", "../d/e/f");
    let (top, outcome) = unpacked(&archive.compressed());
    assert_eq!(outcome.unwrap(), Unpacked { bytes: 8, entries: 3 });
    let out = top.path().join("parent/out");
    assert_eq!(fs::read_to_string(out.join("d/l")).unwrap(), "contents");
    let metadata = fs::metadata(out.join("d/e/f")).unwrap();
    assert_eq!((metadata.mode() & 0o7022, metadata.mtime()), (0, 1));
}

#[test]
fn paths_that_leave_are_refused() {
    for name in ["../x", "/x", "d/../../x", "d/../x", "..", ".", "", "./x", "a/../../../../x"] {
        assert!(matches!(refused(Hostile::default().file(name)), UnpackError::Path(_)), "{name:?} was taken");
    }
    let long = Hostile::default().add(EntryType::GNULongName, b"L", b"", b"../../x\0").file("x");
    assert!(matches!(refused(long), UnpackError::Path(_)));
    let deep = "d/".repeat(DEPTH + 1);
    let deep = Hostile::default().add(EntryType::GNULongName, b"L", b"", deep.as_bytes()).file("x");
    assert!(matches!(refused(deep), UnpackError::Path(_)));
}

#[test]
fn links_that_leave_are_refused() {
    for (name, target) in [("l", ".."), ("l", "/etc"), ("d/l", "../.."), ("l", "d/../.."), ("l", "")] {
        let error = refused(Hostile::default().link(name, target));
        assert!(matches!(error, UnpackError::Link(..)), "{name} -> {target} was taken");
    }
    // A link to the root itself, and through it out.
    let two = Hostile::default().link("here", ".").link("out", "here/..");
    assert!(matches!(refused(two), UnpackError::Link(..)));
    let long = Hostile::default().add(EntryType::GNULongLink, b"K", b"", b"../../etc\0").link("l", "x");
    assert!(matches!(refused(long), UnpackError::Link(..)));
}

#[test]
fn nothing_is_written_through_links_or_over_what_is_there() {
    let through_directory = Hostile::default().file("d/x").link("l", "d").file("l/y");
    let through_file = Hostile::default().file("f").link("l", "f").file("l");
    let link_over_directory = Hostile::default().file("d/x").link("d", "e");
    let twice = Hostile::default().file("f").file("f");
    let below_file = Hostile::default().file("f").file("f/g");
    for archive in [through_directory, through_file, link_over_directory, twice, below_file] {
        assert!(matches!(refused(archive), UnpackError::Io(_)));
    }
}

#[test]
fn only_files_directories_and_links_are_taken() {
    for kind in [
        EntryType::Link,
        EntryType::Char,
        EntryType::Block,
        EntryType::Fifo,
        EntryType::Continuous,
        EntryType::GNUSparse,
        EntryType::XHeader,
        EntryType::XGlobalHeader,
    ] {
        let archive = Hostile::default().add(kind, b"x", b"y", b"");
        assert!(matches!(refused(archive), UnpackError::Kind(_)), "{kind:?} was taken");
    }
}

#[test]
fn bombs_are_bounded() {
    let bytes = Hostile::default().add(EntryType::Regular, b"x", b"", &vec![0; LIMITS.bytes as usize]);
    let archive = bytes.compressed();
    assert!(archive.len() < 10_000);
    assert!(matches!(unpacked(&archive).1, Err(UnpackError::Limit(_))));
    let many = (0..=LIMITS.entries).fold(Hostile::default(), |archive, n| archive.file(&n.to_string()));
    assert!(matches!(refused(many), UnpackError::Limit(_)));
    let name = Hostile::default().add(EntryType::GNULongName, b"L", b"", &[b'x'; 5000]).file("x");
    assert!(matches!(refused(name), UnpackError::Limit(_)));
}

#[test]
fn damaged_archives_are_errors() {
    let whole = Hostile::default().file("a").file("b").compressed();
    assert!(unpacked(&whole[..whole.len() / 2]).1.is_err());
    assert!(unpacked(b"no archive").1.is_err());
    // A file that claims more than there is.
    let mut short = Hostile::default().add(EntryType::Regular, b"x", b"", &[1; 4096]);
    short.0.truncate(1024);
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(&short.0).unwrap();
    assert!(unpacked(&encoder.finish().unwrap()).1.is_err());
    let mut wrong = Hostile::default().file("a");
    wrong.0[0] = b'b';
    assert!(matches!(refused(wrong), UnpackError::Io(_)));
}
