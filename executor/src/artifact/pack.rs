//! From a directory to an artifact: the same files make the same bytes, and so the same digest.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use seagull_domain::Digest;
use tar::{EntryType, Header};
use tempfile::NamedTempFile;

use super::files::{BUILT, LeftOut, Reason, candidates, is_internal, is_secret};
use super::link::stays_inside;
use super::patterns::Patterns;

/// Above it the client must say that it means it.
pub const MAX_BYTES: u64 = 500_000_000;
/// How many of the largest files an artifact that is too large names.
const NAMED: usize = 10;
/// 2000-01-01. Not from the files, that git gives another time in every clone; not 0, because tests that zip their
/// own files need a year after 1980.
const MODIFIED: u64 = 946_684_800;
const LEVEL: i32 = 3;
/// What stands, in so few bytes, for a file of Git LFS that was not fetched. From the specification of Git LFS.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";
const POINTER_BYTES: u64 = 1024;

#[derive(Debug, Clone, Copy)]
pub struct PackOptions<'a> {
    /// The top of the work tree, or the root that is configured.
    pub root: &'a Path,
    /// Where the suite is started, relative to the root: there has to be something.
    pub directory: &'a Path,
    /// Where the packed file is put.
    pub scratch: &'a Path,
    /// Directories that never belong to it, such as the state directory, absolute.
    pub exclude: &'a [PathBuf],
    /// What belongs to it though git ignores it.
    pub include: &'a Patterns,
    /// What does not, though it would.
    pub omit: &'a Patterns,
    /// Files from elsewhere, which go below [`BUILT`]: where there, and where they are.
    pub built: &'a BTreeMap<PathBuf, PathBuf>,
    /// More than [`MAX_BYTES`] are meant.
    pub large: bool,
    /// The root was written for this: all of it is tracked, whatever repository is around it.
    pub checkout: bool,
}

/// An artifact in a file that vanishes with it.
#[derive(Debug)]
pub struct Packed {
    pub digest: Digest,
    pub file: NamedTempFile,
    /// The length of the file.
    pub bytes: u64,
    /// What it holds.
    pub entries: u64,
    pub unpacked_bytes: u64,
    pub left_out: Vec<LeftOut>,
    /// Patterns of `include` that name nothing.
    pub unmatched: Vec<String>,
    /// Files that only stand for others, of Git LFS.
    pub pointers: Vec<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error(
        "{} is a home directory or above one\nhint: set [artifact] root to a directory with the suite alone",
        .0.display()
    )]
    Home(PathBuf),
    #[error("the artifact is empty: no file in {}", .0.display())]
    Empty(PathBuf),
    #[error(
        "nothing in {} belongs to the artifact: it is empty, or git ignores what is there\n\
         hint: [artifact] include in seagull.toml names what goes along all the same",
        .0.display()
    )]
    NothingThere(PathBuf),
    #[error("git cannot list the files: {}{}", .0, hint(.0))]
    Git(String),
    #[error(
        "git cannot be started: {0}\nhint: is it installed? it says which files of a repository belong to the artifact"
    )]
    NoGit(io::Error),
    #[error(
        "the artifact has {}, the largest files are{}\nhint: ignore what the tests do not need, or pass --yes",
        size(*.bytes), list(.largest)
    )]
    TooLarge { bytes: u64, largest: Vec<(PathBuf, u64)> },
    #[error("{} changed while it was packed", .0.display())]
    Changed(PathBuf),
    #[error("cannot read {}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write the artifact")]
    Write(#[from] io::Error),
}

fn list(largest: &[(PathBuf, u64)]) -> String {
    largest.iter().map(|(path, bytes)| format!("\n  {:>11}  {}", size(*bytes), path.display())).collect()
}

/// `12.3 MB`, or `45 kB` or `120 B` where that says more.
pub fn size(bytes: u64) -> String {
    match bytes {
        ..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{} kB", bytes / 1000),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// Something that goes into the archive.
enum Item {
    File { path: PathBuf, source: PathBuf, bytes: u64, executable: bool },
    Link { path: PathBuf, target: PathBuf },
}

impl Item {
    fn path(&self) -> &Path {
        match self {
            Item::File { path, .. } | Item::Link { path, .. } => path,
        }
    }
}

/// What an artifact would have.
#[derive(Debug)]
pub struct Measured {
    pub files: usize,
    /// As they lie in the tree.
    pub bytes: u64,
    /// The largest files, the largest first.
    pub largest: Vec<(PathBuf, u64)>,
    pub left_out: Vec<LeftOut>,
    /// Patterns of `include` that name nothing.
    pub unmatched: Vec<String>,
}

/// Measures what [`pack`] would pack, however much it is; reads no file.
pub fn measure(options: &PackOptions<'_>) -> Result<Measured, PackError> {
    let Found { items, left_out, unmatched, .. } = find(options)?;
    let (bytes, largest) = sizes(&items);
    Ok(Measured { files: items.len(), bytes, largest, left_out, unmatched })
}

/// Where git says itself what to do, there is nothing to add.
fn hint(said: &str) -> &'static str {
    if said.contains("safe.directory") { "" } else { "\nhint: run `git status` there" }
}

/// Packs what belongs to the root. Directories without files are not part of it.
pub fn pack(options: &PackOptions<'_>) -> Result<Packed, PackError> {
    let Found { items, left_out, unmatched } = find(options)?;
    let unpacked_bytes = check_size(&items, options.large)?;
    let file = tempfile::Builder::new().prefix(".artifact-").tempfile_in(options.scratch)?;
    let Written { digest, bytes, pointers } = write(&items, file.as_file())?;
    let entries = items.len() as u64;
    Ok(Packed { digest, file, bytes, entries, unpacked_bytes, left_out, unmatched, pointers })
}

/// What belongs to an artifact, and what of its root stays behind.
#[derive(Default)]
struct Found {
    items: Vec<Item>,
    left_out: Vec<LeftOut>,
    unmatched: Vec<String>,
}

fn find(options: &PackOptions<'_>) -> Result<Found, PackError> {
    let read_error = |source| PackError::Read { path: options.root.to_owned(), source };
    let root = options.root.canonicalize().map_err(read_error)?;
    refuse_home(&root, std::env::home_dir().as_deref())?;
    let mut found = look(&root, options)?;
    if found.items.is_empty() {
        return Err(PackError::Empty(root));
    }
    if !found.items.iter().any(|item| item.path().starts_with(options.directory)) {
        return Err(PackError::NothingThere(root.join(options.directory)));
    }
    for (path, source) in options.built {
        found.take(source, Path::new(BUILT).join(path))?;
    }
    Ok(found)
}

fn refuse_home(root: &Path, home: Option<&Path>) -> Result<(), PackError> {
    let home = home.and_then(|home| home.canonicalize().ok());
    match home {
        Some(home) if home.starts_with(root) => Err(PackError::Home(root.to_owned())),
        _ => Ok(()),
    }
}

fn look(root: &Path, options: &PackOptions<'_>) -> Result<Found, PackError> {
    let exclude: Vec<PathBuf> = options.exclude.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let named = options.include.find(root)?;
    let mut found = Found { unmatched: named.unmatched, ..Found::default() };
    let mut links = BTreeMap::new();
    let mut candidates = candidates(root, options.checkout)?;
    for (path, exact) in named.files {
        *candidates.entry(path).or_default() |= exact;
    }
    for (path, meant) in candidates {
        let absolute = root.join(&path);
        let excluded = exclude.iter().any(|directory| absolute.starts_with(directory));
        let excluded = excluded || is_internal(&path) || options.omit.is_match(&path);
        if excluded || is_behind_link(root, path.parent(), &mut links) {
            continue;
        }
        if !meant && is_secret(&path) {
            found.left_out.push(LeftOut { path, reason: Reason::Secret });
            continue;
        }
        match found.take(&absolute, path) {
            // Tracked, but deleted in the work tree; perhaps with the directory it was in.
            Err(PackError::Read { source, .. }) if is_missing(&source) => {}
            taken => taken?,
        }
    }
    Ok(found)
}

impl Found {
    /// Takes the file or link at `source`, to be at `path`.
    fn take(&mut self, source: &Path, path: PathBuf) -> Result<(), PackError> {
        match item(source, &path) {
            Ok(Ok(item)) => self.items.push(item),
            Ok(Err(reason)) => self.left_out.push(LeftOut { path, reason }),
            Err(error) => return Err(PackError::Read { path: source.to_owned(), source: error }),
        }
        Ok(())
    }
}

/// Whether a link has taken the place of the directory, or of one above it: git still names what it tracked there.
fn is_behind_link(root: &Path, directory: Option<&Path>, known: &mut BTreeMap<PathBuf, bool>) -> bool {
    let Some(directory) = directory.filter(|directory| !directory.as_os_str().is_empty()) else {
        return false;
    };
    if let Some(behind) = known.get(directory) {
        return *behind;
    }
    let behind = root.join(directory).is_symlink() || is_behind_link(root, directory.parent(), known);
    known.insert(directory.to_owned(), behind);
    behind
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn item(absolute: &Path, path: &Path) -> io::Result<Result<Item, Reason>> {
    let metadata = absolute.symlink_metadata()?;
    let path = path.to_owned();
    if metadata.is_symlink() {
        let target = fs::read_link(absolute)?;
        let inside = stays_inside(&path, &target);
        return Ok(if inside { Ok(Item::Link { path, target }) } else { Err(Reason::LinkOut) });
    }
    if metadata.is_dir() {
        return Ok(Err(Reason::Submodule));
    }
    let executable = metadata.mode() & 0o100 != 0;
    let file = Item::File { path, source: absolute.to_owned(), bytes: metadata.len(), executable };
    Ok(if metadata.is_file() { Ok(file) } else { Err(Reason::Special) })
}

/// The bytes of all files, and the largest files, the largest first.
fn sizes(items: &[Item]) -> (u64, Vec<(PathBuf, u64)>) {
    let files = items.iter().filter_map(|item| match item {
        Item::File { path, bytes, .. } => Some((path, *bytes)),
        Item::Link { .. } => None,
    });
    let mut files: Vec<_> = files.collect();
    files.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let largest = files.iter().take(NAMED).map(|(path, bytes)| ((*path).clone(), *bytes)).collect();
    (files.iter().map(|(_, bytes)| bytes).sum(), largest)
}

fn check_size(items: &[Item], large: bool) -> Result<u64, PackError> {
    let (bytes, largest) = sizes(items);
    if bytes > MAX_BYTES && !large { Err(PackError::TooLarge { bytes, largest }) } else { Ok(bytes) }
}

struct Written {
    digest: Digest,
    bytes: u64,
    pointers: Vec<PathBuf>,
}

fn write(items: &[Item], file: &File) -> Result<Written, PackError> {
    let hashing = Hashing { file: BufWriter::new(file), hasher: Box::default(), bytes: 0 };
    let mut archive = tar::Builder::new(zstd::Encoder::new(hashing, LEVEL)?);
    let mut pointers = Vec::new();
    for item in items {
        match item {
            Item::File { path, source, bytes, executable } => {
                let is_pointer = append_file(&mut archive, path, source, *bytes, *executable)?;
                pointers.extend(is_pointer.then(|| path.clone()));
            }
            Item::Link { path, target } => append_link(&mut archive, path, target)?,
        }
    }
    let mut hashing = archive.into_inner()?.finish()?;
    hashing.file.flush()?;
    let digest = Digest(*hashing.hasher.finalize().as_bytes());
    Ok(Written { digest, bytes: hashing.bytes, pointers })
}

/// Whether the file only stands for another.
fn append_file(
    archive: &mut tar::Builder<impl Write>,
    path: &Path,
    source: &Path,
    bytes: u64,
    executable: bool,
) -> Result<bool, PackError> {
    let failed = |error| PackError::Read { path: source.to_owned(), source: error };
    let mut file = File::open(source).map_err(failed)?;
    let mut start = Vec::new();
    if bytes <= POINTER_BYTES {
        (&mut file).take(POINTER.len() as u64).read_to_end(&mut start).map_err(failed)?;
    }
    let mut header = header(if executable { 0o755 } else { 0o644 });
    header.set_size(bytes);
    let mut contents = start.as_slice().chain(file).take(bytes);
    archive.append_data(&mut header, path, &mut contents)?;
    if contents.limit() > 0 { Err(PackError::Changed(source.to_owned())) } else { Ok(start == POINTER) }
}

fn append_link(archive: &mut tar::Builder<impl Write>, path: &Path, target: &Path) -> Result<(), PackError> {
    let mut header = header(0o777);
    header.set_size(0);
    header.set_entry_type(EntryType::Symlink);
    Ok(archive.append_link(&mut header, path, target)?)
}

fn header(mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_mtime(MODIFIED);
    header.set_mode(mode);
    header
}

/// Knows the digest of what it passes on.
struct Hashing<W> {
    file: W,
    hasher: Box<blake3::Hasher>,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.file.write(data)?;
        self.hasher.update(&data[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
#[path = "pack_tests.rs"]
mod tests;
