//! Packing: real directories and real git repositories.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use tempfile::TempDir;

use super::*;
use crate::artifact::{Limits, unpack};

static NOTHING: Patterns = Patterns::NONE;
static NOT_BUILT: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();

fn options<'a>(root: &'a Path, scratch: &'a Path) -> PackOptions<'a> {
    PackOptions {
        root,
        directory: Path::new(""),
        scratch,
        exclude: &[],
        include: &NOTHING,
        omit: &NOTHING,
        built: &NOT_BUILT,
        large: false,
        checkout: false,
    }
}

/// A directory to pack, beside one for what is made of it.
struct Bench {
    top: TempDir,
    root: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("root");
        fs::create_dir(&root).unwrap();
        Self { top, root }
    }

    fn repository() -> Self {
        let bench = Self::new();
        bench.git(&["init", "-q"]);
        bench
    }

    fn git(&self, arguments: &[&str]) {
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.root).args(["-c", "user.name=a", "-c", "user.email=a@example.com"]);
        command.args(["-c", "protocol.file.allow=always"]).args(arguments);
        assert!(command.output().unwrap().status.success(), "git {arguments:?}");
    }

    fn write(&self, files: &[&str]) {
        for name in files {
            let path = self.root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("contents of {name}")).unwrap();
        }
    }

    fn options(&self) -> PackOptions<'_> {
        options(&self.root, self.top.path())
    }

    fn pack(&self) -> Packed {
        pack(&self.options()).unwrap()
    }

    /// The packed paths.
    fn packed(&self) -> Vec<String> {
        paths(&self.pack())
    }
}

fn paths(packed: &Packed) -> Vec<String> {
    let archive = zstd::Decoder::new(File::open(packed.file.path()).unwrap()).unwrap();
    let mut archive = tar::Archive::new(archive);
    let path = |entry: io::Result<tar::Entry<'_, _>>| entry.unwrap().path().unwrap().display().to_string();
    archive.entries().unwrap().map(path).collect()
}

fn left_out(packed: &Packed) -> Vec<(&str, Reason)> {
    packed.left_out.iter().map(|left| (left.path.to_str().unwrap(), left.reason)).collect()
}

#[test]
fn tracked_and_untracked_files_are_packed_ignored_ones_are_not() {
    let bench = Bench::repository();
    bench.write(&[
        "b.py",
        "a/b c.py",
        "a/é.py",
        "gone.py",
        "out/x.o",
        "new\nline.py",
        ".seagull/db",
        "a/.seagull/db",
    ]);
    fs::write(bench.root.join(".gitignore"), "out/\n*.log\n").unwrap();
    bench.git(&["add", "b.py", "gone.py", ".gitignore"]);
    fs::remove_file(bench.root.join("gone.py")).unwrap();
    bench.write(&["debug.log"]);
    bench.git(&["add", "-f", "debug.log"]);
    assert_eq!(bench.packed(), [".gitignore", "a/b c.py", "a/é.py", "b.py", "debug.log", "new\nline.py"]);
}

#[test]
fn untracked_secrets_are_left_out_and_said() {
    let bench = Bench::repository();
    bench.write(&["id_map.py", "test.pem", "a.py"]);
    bench.git(&["add", "."]);
    bench.write(&[".env", "d/server.pem", "d/id_rsa", "env"]);
    let packed = bench.pack();
    assert_eq!(paths(&packed), ["a.py", "env", "id_map.py", "test.pem"]);
    let secret = |path| (path, Reason::Secret);
    assert_eq!(left_out(&packed), [secret(".env"), secret("d/id_rsa"), secret("d/server.pem")]);
}

#[test]
fn patterns_add_what_git_ignores_and_take_away_what_it_does_not() {
    let bench = Bench::repository();
    bench.write(&[
        "a.py",
        "big/data.bin",
        "out/lib.so",
        "out/log.txt",
        "out/key.pem",
        "out/my.pem",
        "new.py",
    ]);
    fs::write(bench.root.join(".gitignore"), "out/\n").unwrap();
    bench.git(&["add", "a.py", "big", ".gitignore"]);
    let include = Patterns::parse("", &["out", "out/my.pem", "none/*"]).unwrap();
    let omit = Patterns::parse("", &["big", "**/*.txt", "new.py"]).unwrap();
    let packed = pack(&PackOptions { include: &include, omit: &omit, ..bench.options() }).unwrap();
    assert_eq!(paths(&packed), [".gitignore", "a.py", "out/lib.so", "out/my.pem"]);
    assert_eq!(left_out(&packed), [("out/key.pem", Reason::Secret)]);
    assert_eq!(packed.unmatched, ["none/*"]);
}

#[test]
fn what_only_stands_for_a_large_file_is_said() {
    let bench = Bench::new();
    bench.write(&["a.bin", "b"]);
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    fs::write(bench.root.join("data.bin"), pointer).unwrap();
    fs::write(bench.root.join("long.md"), pointer.repeat(100)).unwrap();
    let packed = bench.pack();
    assert_eq!(packed.pointers, [Path::new("data.bin")]);
    let out = bench.top.path().join("out");
    let limits = Limits { bytes: 1 << 20, entries: 100 };
    unpack(File::open(packed.file.path()).unwrap(), &out, limits).unwrap();
    assert_eq!(fs::read_to_string(out.join("data.bin")).unwrap(), pointer);
}

#[test]
fn links_that_lead_out_are_left_out() {
    let bench = Bench::new();
    bench.write(&["d/file"]);
    symlink("file", bench.root.join("d/inside")).unwrap();
    symlink("../d", bench.root.join("d/up")).unwrap();
    symlink("/etc/passwd", bench.root.join("absolute")).unwrap();
    symlink("../..", bench.root.join("d/out")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(bench.root.join("socket")).unwrap();
    let packed = bench.pack();
    assert_eq!(paths(&packed), ["d/file", "d/inside", "d/up"]);
    let expected = [("absolute", Reason::LinkOut), ("d/out", Reason::LinkOut), ("socket", Reason::Special)];
    assert_eq!(left_out(&packed), expected);
}

#[test]
fn what_lies_behind_a_link_is_not_packed() {
    let bench = Bench::repository();
    bench.write(&["d/secret", "a"]);
    bench.git(&["add", "."]);
    fs::rename(bench.root.join("d"), bench.top.path().join("elsewhere")).unwrap();
    symlink("../elsewhere", bench.root.join("d")).unwrap();
    assert_eq!(bench.packed(), ["a"]);
}

#[test]
fn submodules_and_repositories_inside_are_followed() {
    let library = Bench::repository();
    library.write(&["lib.py", "ignored.o"]);
    fs::write(library.root.join(".gitignore"), "*.o\n").unwrap();
    library.git(&["add", "lib.py", ".gitignore"]);
    library.git(&["commit", "-q", "-m", "x"]);
    let bench = Bench::repository();
    bench.git(&["submodule", "--quiet", "add", library.root.to_str().unwrap(), "vendor/lib"]);
    fs::write(bench.root.join("vendor/lib/new.py"), "").unwrap();
    fs::write(bench.root.join("vendor/lib/new.o"), "").unwrap();
    let expected = [".gitmodules", "vendor/lib/.gitignore", "vendor/lib/lib.py", "vendor/lib/new.py"];
    assert_eq!(bench.packed(), expected);

    bench.git(&["submodule", "--quiet", "deinit", "--force", "vendor/lib"]);
    let packed = bench.pack();
    assert_eq!(paths(&packed), [".gitmodules"]);
    assert_eq!(left_out(&packed), [("vendor/lib", Reason::Submodule)]);
}

#[test]
fn what_python_keeps_stays_behind_unless_it_is_tracked() {
    let bench = Bench::repository();
    bench.write(&["a.py", "__pycache__/tracked.pyc"]);
    bench.git(&["add", "."]);
    bench.write(&["__pycache__/a.pyc", "d/__pycache__/b.pyc", "d/c.pyc"]);
    assert_eq!(bench.packed(), ["__pycache__/tracked.pyc", "a.py", "d/c.pyc"]);
}

#[test]
fn a_root_inside_a_repository_is_listed_and_an_ignored_one_walked() {
    let mut bench = Bench::repository();
    bench.write(&["top.py", "sub/a.py", "sub/b.o", "venv/lib/c.o", "venv/__pycache__/c.pyc"]);
    fs::write(bench.root.join(".gitignore"), "*.o\nvenv/\n").unwrap();
    let top = bench.root.clone();
    bench.root = top.join("sub");
    assert_eq!(bench.packed(), ["a.py"]);
    bench.root = top.join("venv");
    assert_eq!(bench.packed(), ["lib/c.o"]);
}

#[test]
fn the_same_files_make_the_same_bytes() {
    let (one, two) = (Bench::new(), Bench::new());
    one.write(&["a", "b/c", "d"]);
    two.write(&["d", "b/c", "a"]);
    two.write(&["state/db"]);
    let long = format!("{}/{}", "n".repeat(120), "m".repeat(120));
    for bench in [&one, &two] {
        bench.write(&[&long]);
    }
    fs::set_permissions(two.root.join("d"), fs::Permissions::from_mode(0o600)).unwrap();
    let exclude = [two.root.join("state")];
    let packed = [one.pack(), pack(&PackOptions { exclude: &exclude, ..two.options() }).unwrap()];
    assert_eq!(packed[0].digest, packed[1].digest);
    let bytes = fs::read(packed[0].file.path()).unwrap();
    assert_eq!(Digest(*blake3::hash(&bytes).as_bytes()), packed[0].digest);
    assert_eq!((packed[0].bytes, packed[0].entries), (bytes.len() as u64, 4));
    fs::set_permissions(two.root.join("d"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_ne!(pack(&PackOptions { exclude: &exclude, ..two.options() }).unwrap().digest, packed[0].digest);
}

#[test]
fn what_is_packed_unpacks_to_the_same() {
    let bench = Bench::new();
    let long = format!("{}/{}/x", "n".repeat(120), "m".repeat(120));
    bench.write(&["a.py", "d/run.sh", &long]);
    fs::set_permissions(bench.root.join("d/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../a.py", bench.root.join("d/link")).unwrap();
    symlink(&long, bench.root.join("long")).unwrap();
    let packed = bench.pack();
    let out = bench.top.path().join("out");
    let limits = Limits { bytes: 1 << 20, entries: 100 };
    let unpacked = unpack(File::open(packed.file.path()).unwrap(), &out, limits).unwrap();
    assert_eq!(unpacked.bytes, packed.unpacked_bytes);
    assert_eq!(fs::read_to_string(out.join("d/link")).unwrap(), "contents of a.py");
    assert_eq!(fs::read_to_string(out.join("long")).unwrap(), format!("contents of {long}"));
    assert_eq!(fs::metadata(out.join("d/run.sh")).unwrap().mode() & 0o111, 0o111);
    assert_eq!(fs::metadata(out.join("a.py")).unwrap().mtime(), MODIFIED as i64);
    let again = pack(&PackOptions { root: &out, ..bench.options() }).unwrap();
    assert_eq!(again.digest, packed.digest);
}

#[test]
fn a_directory_of_which_nothing_is_sent_can_start_no_suite() {
    let bench = Bench::repository();
    bench.write(&["a.py", "ignored/test_a.py"]);
    fs::write(bench.root.join(".gitignore"), "ignored/\n").unwrap();
    fs::create_dir(bench.root.join("empty")).unwrap();
    for directory in ["ignored", "empty"] {
        let options = PackOptions { directory: Path::new(directory), ..bench.options() };
        let error = pack(&options).unwrap_err();
        assert!(matches!(&error, PackError::NothingThere(there) if there.ends_with(directory)), "{error}");
        let include = Patterns::parse("", &["ignored/*".to_owned()]).unwrap();
        assert_eq!(pack(&PackOptions { include: &include, ..options }).is_ok(), directory == "ignored");
    }
}

#[test]
fn what_was_built_goes_below_a_name_that_no_file_of_the_users_has() {
    let bench = Bench::repository();
    bench.write(&["a.rs", ".seagull-built/mine", "d/.seagull-built/mine"]);
    let there = bench.top.path().join("program.pem");
    fs::write(&there, "built").unwrap();
    fs::set_permissions(&there, fs::Permissions::from_mode(0o755)).unwrap();
    let built = BTreeMap::from([("target/it".into(), there.clone()), ("a".into(), there)]);
    let packed = || pack(&PackOptions { built: &built, ..bench.options() }).unwrap();
    let (one, two) = (packed(), packed());
    assert_eq!((one.digest, one.left_out.len()), (two.digest, 0));
    let out = bench.top.path().join("out");
    unpack(File::open(one.file.path()).unwrap(), &out, Limits { bytes: 1 << 20, entries: 100 }).unwrap();
    assert_eq!(fs::read_to_string(out.join(".seagull-built/target/it")).unwrap(), "built");
    assert_eq!(fs::metadata(out.join(".seagull-built/a")).unwrap().mode() & 0o111, 0o111);
    assert!(!out.join(".seagull-built/mine").exists() && !out.join("d").exists());
    let gone = BTreeMap::from([("a".into(), bench.top.path().join("gone"))]);
    let error = pack(&PackOptions { built: &gone, ..bench.options() }).unwrap_err();
    assert!(matches!(error, PackError::Read { .. }), "{error}");
}

#[test]
fn too_much_is_refused_with_the_largest_named_unless_meant() {
    let bench = Bench::new();
    bench.write(&["small"]);
    // Sparse: the size is there, the disk is not.
    let large = File::create(bench.root.join("large")).unwrap();
    large.set_len(MAX_BYTES).unwrap();
    let error = pack(&bench.options()).unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, PackError::TooLarge { .. })
            && text.contains("large")
            && text.contains("\n         17 B  small"),
        "{text}"
    );
    large.set_len(1_000_000).unwrap();
    assert_eq!(check_size(&[], false).unwrap(), 0);
    assert_eq!(bench.packed(), ["large", "small"]);
    let item = || Item::File {
        path: "large".into(),
        source: "large".into(),
        bytes: MAX_BYTES + 1,
        executable: false,
    };
    assert!(check_size(&[item()], false).is_err());
    assert_eq!(check_size(&[item()], true).unwrap(), MAX_BYTES + 1);
}

#[test]
fn homes_and_nothing_are_refused() {
    let bench = Bench::new();
    assert!(matches!(pack(&bench.options()), Err(PackError::Empty(_))));
    let root = bench.root.canonicalize().unwrap();
    assert!(refuse_home(&root, Some(&root)).is_err());
    fs::create_dir(root.join("user")).unwrap();
    assert!(refuse_home(&root, Some(&root.join("user"))).is_err());
    assert!(refuse_home(&root.join("user"), Some(&root)).is_ok());
    assert!(refuse_home(&root, None).is_ok());
}
