//! What `cargo nextest archive` has packed, as what was built here is sent. The layout is that of cargo-nextest 0.9.151.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::build::target_name;
use super::built::{Entry, List, Moved, Place};
use super::export::{Exported, walk};

const TARGET: &str = "target";
const BINARIES: &str = "target/nextest/binaries-metadata.json";
const WORKSPACE: &str = "target/nextest/cargo-metadata.json";
/// Rust's own libraries, of this machine's kind and of others'.
const LIBRARIES: [&str; 2] = ["target/nextest/libdirs/host", "target/nextest/libdirs/target/0"];
/// Bytes of either file.
const METADATA_BYTES: u64 = 256 << 20;
/// Kinds of targets that cargo tells of the programs of their package.
const TOLD: [&str; 2] = ["test", "bench"];

/// An archive that is unpacked.
#[derive(Debug)]
pub struct Archive {
    directory: PathBuf,
    binaries: Binaries,
    workspace: Workspace,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Binaries {
    rust_build_meta: Meta,
    rust_binaries: BTreeMap<String, Binary>,
}

/// Paths are relative to the target directory.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Meta {
    target_directory: PathBuf,
    base_output_directories: Vec<PathBuf>,
    /// By package, as is what follows.
    #[serde(default)]
    non_test_binaries: BTreeMap<String, Vec<Program>>,
    #[serde(default)]
    build_script_out_dirs: BTreeMap<String, PathBuf>,
    #[serde(default)]
    build_script_info: Option<BTreeMap<String, Script>>,
    #[serde(default)]
    linked_paths: Vec<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Program {
    name: String,
    kind: String,
    path: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Script {
    /// Variables that a build script sets.
    #[serde(default)]
    envs: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Binary {
    package_id: String,
    binary_name: String,
    kind: String,
    binary_path: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Workspace {
    workspace_root: PathBuf,
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    manifest_path: PathBuf,
    #[serde(default)]
    authors: Vec<String>,
    description: Option<String>,
    homepage: Option<String>,
    license: Option<String>,
    license_file: Option<String>,
    readme: Option<String>,
    repository: Option<String>,
    rust_version: Option<String>,
}

impl Archive {
    /// The error is a sentence.
    pub fn read(directory: &Path) -> Result<Archive, String> {
        let (binaries, workspace): (Binaries, Workspace) =
            (read(&directory.join(BINARIES))?, read(&directory.join(WORKSPACE))?);
        let archive = Archive { directory: directory.to_owned(), binaries, workspace };
        for binary in archive.binaries.rust_binaries.values() {
            archive.place(binary)?;
        }
        Ok(archive)
    }

    /// The packages that have tests: their names, and where they are in the workspace.
    pub fn packages(&self) -> BTreeMap<&str, PathBuf> {
        let binaries = self.binaries.rust_binaries.values();
        binaries.filter_map(|binary| self.place(binary).ok()).collect()
    }

    /// What is sent; binaries get these arguments.
    pub fn export(&self, arguments: &[String]) -> Result<Exported, String> {
        let mut targets = BTreeMap::new();
        for (name, binary) in &self.binaries.rust_binaries {
            let (package, directory) = self.place(binary)?;
            let program = binary.binary_path.strip_prefix(&self.binaries.rust_build_meta.target_directory);
            let program = program.map_err(|_| format!("{name} is not in the archive's target directory"))?;
            let id = format!("{package}::{}", target_name(&binary.kind, &binary.binary_name));
            let entry = Entry {
                program: Path::new(TARGET).join(program),
                arguments: arguments.to_vec(),
                directory,
                environment: self.environment(binary)?,
            };
            if targets.insert(id.clone(), entry).is_some() {
                return Err(format!("the archive has two binaries that are called {id}"));
            }
        }
        let target = self.binaries.rust_build_meta.target_directory.clone();
        let list = List {
            moved: vec![
                Moved { from: self.workspace.workspace_root.clone(), to: Place::Tree(PathBuf::new()) },
                Moved { from: target, to: Place::Built(TARGET.into()) },
            ],
            libraries: self.libraries(),
            targets,
        };
        Ok(Exported { list: list.to_json()?, files: self.files()?, ..Exported::default() })
    }

    /// A binary's package, and where that is in the workspace.
    fn place(&self, binary: &Binary) -> Result<(&str, PathBuf), String> {
        let package = self.package(binary)?;
        let directory = package.manifest_path.parent().unwrap_or(Path::new(""));
        let inside = directory.strip_prefix(&self.workspace.workspace_root);
        let inside = inside.map_err(|_| format!("the package {} is not in its workspace", package.name))?;
        Ok((&package.name, inside.to_owned()))
    }

    fn package(&self, binary: &Binary) -> Result<&Package, String> {
        let package = self.workspace.packages.iter().find(|package| package.id == binary.package_id);
        package.ok_or_else(|| format!("the archive has no package {}", binary.package_id))
    }

    /// What nextest gives a test that cargo would give it too, with paths of the machine that built.
    fn environment(&self, binary: &Binary) -> Result<BTreeMap<String, String>, String> {
        let meta = &self.binaries.rust_build_meta;
        let built = |path: &Path| meta.target_directory.join(path).to_string_lossy().into_owned();
        let package = self.package(binary)?;
        let scripts = meta.build_script_info.as_ref().and_then(|scripts| scripts.get(&binary.package_id));
        let mut variables = scripts.map(|script| script.envs.clone()).unwrap_or_default();
        variables.extend(package.variables());
        if let Some(out) = meta.build_script_out_dirs.get(&binary.package_id) {
            variables.insert("OUT_DIR".to_owned(), built(out));
        }
        let programs = meta.non_test_binaries.get(&binary.package_id).into_iter().flatten();
        for program in programs.filter(|program| program.kind == "bin-exe" && TOLD.contains(&&*binary.kind)) {
            let Program { name, path, .. } = program;
            for name in [
                format!("CARGO_BIN_EXE_{name}"),
                format!("NEXTEST_BIN_EXE_{name}"),
                format!("NEXTEST_BIN_EXE_{}", name.replace('-', "_")),
            ] {
                variables.insert(name, built(path));
            }
        }
        Ok(variables)
    }

    /// In the order that nextest has them in.
    fn libraries(&self) -> Vec<PathBuf> {
        let meta = &self.binaries.rust_build_meta;
        let outputs = meta.base_output_directories.iter().flat_map(|base| [base.clone(), base.join("deps")]);
        let built = meta.linked_paths.iter().cloned().chain(outputs);
        let built = built.map(|directory| Path::new(TARGET).join(directory));
        let all = built.chain(LIBRARIES.map(PathBuf::from));
        all.filter(|directory| self.directory.join(directory).is_dir()).collect()
    }

    fn files(&self) -> Result<BTreeMap<PathBuf, PathBuf>, String> {
        let found = walk(&self.directory.join(TARGET)).map_err(|error| error.to_string())?;
        let inside = |path: PathBuf| Some((path.strip_prefix(&self.directory).ok()?.to_owned(), path));
        Ok(found.into_iter().filter_map(inside).collect())
    }
}

impl Package {
    fn variables(&self) -> impl Iterator<Item = (String, String)> {
        let (core, rest) = self.version.split_at(self.version.find(['-', '+']).unwrap_or(self.version.len()));
        let pre = rest.split('+').next().unwrap_or_default().trim_start_matches('-');
        let mut numbers = core.split('.').map(str::to_owned);
        let mut number = || numbers.next().unwrap_or_default();
        let said = |value: &Option<String>| value.clone().unwrap_or_default();
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let variables = [
            ("CARGO_MANIFEST_DIR", path(self.manifest_path.parent().unwrap_or(Path::new("")))),
            ("CARGO_MANIFEST_PATH", path(&self.manifest_path)),
            ("CARGO_PKG_AUTHORS", self.authors.join(":")),
            ("CARGO_PKG_DESCRIPTION", said(&self.description)),
            ("CARGO_PKG_HOMEPAGE", said(&self.homepage)),
            ("CARGO_PKG_LICENSE", said(&self.license)),
            ("CARGO_PKG_LICENSE_FILE", said(&self.license_file)),
            ("CARGO_PKG_NAME", self.name.clone()),
            ("CARGO_PKG_README", said(&self.readme)),
            ("CARGO_PKG_REPOSITORY", said(&self.repository)),
            ("CARGO_PKG_RUST_VERSION", said(&self.rust_version)),
            ("CARGO_PKG_VERSION", self.version.clone()),
            ("CARGO_PKG_VERSION_MAJOR", number()),
            ("CARGO_PKG_VERSION_MINOR", number()),
            ("CARGO_PKG_VERSION_PATCH", number()),
            ("CARGO_PKG_VERSION_PRE", pre.to_owned()),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).into_iter()
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let name = path.file_name().unwrap_or_default().display();
    let file = File::open(path).map_err(|error| format!("{name}: {error}"))?;
    let mut text = String::new();
    file.take(METADATA_BYTES).read_to_string(&mut text).map_err(|error| format!("{name}: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const BINARIES_OF_ONE: &str = r#"{
        "rust-build-meta": {
            "target-directory": "/ci/ws/target", "base-output-directories": ["debug"],
            "non-test-binaries": {"tool 1": [
                {"name": "my-tool", "kind": "bin-exe", "path": "debug/my-tool", "build-platform": "target"},
                {"name": "part", "kind": "dylib", "path": "debug/libpart.so", "build-platform": "target"}
            ]},
            "build-script-out-dirs": {"tool 1": "debug/build/tool-1/out"},
            "build-script-info": {"tool 1": {"envs": {"MADE": "/ci/ws/target/debug/build/tool-1/out/x"}}},
            "linked-paths": ["debug/build/tool-1/out", "gone"]
        },
        "rust-binaries": {"my-tool::it": {
            "binary-id": "my-tool::it", "binary-name": "it", "package-id": "tool 1", "kind": "test",
            "binary-path": "/ci/ws/target/debug/deps/it-1", "build-platform": "target"
        }}
    }"#;
    const WORKSPACE_OF_ONE: &str = r#"{"workspace_root": "/ci/ws", "packages": [{
        "id": "tool 1", "name": "my-tool", "version": "1.2.3-rc.1+b", "manifest_path": "/ci/ws/tool/Cargo.toml",
        "authors": ["A", "B"], "description": null
    }]}"#;

    fn unpacked(binaries: &str, workspace: &str) -> (tempfile::TempDir, Result<Archive, String>) {
        let top = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = top.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(BINARIES, binaries);
        write(WORKSPACE, workspace);
        write("target/debug/deps/it-1", "");
        write("target/debug/build/tool-1/out/x", "");
        let archive = Archive::read(top.path());
        (top, archive)
    }

    #[test]
    fn an_archive_is_started_as_nextest_does() {
        let (_top, archive) = unpacked(BINARIES_OF_ONE, WORKSPACE_OF_ONE);
        let archive = archive.unwrap();
        assert_eq!(archive.packages(), BTreeMap::from([("my-tool", "tool".into())]));
        let exported = archive.export(&["--ignored".to_owned()]).unwrap();
        assert!(exported.files.contains_key(Path::new("target/debug/build/tool-1/out/x")));
        let List { moved, libraries, targets } = serde_json::from_str(&exported.list).unwrap();
        assert_eq!(moved.len(), 2);
        let libraries: Vec<_> = libraries.iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(libraries, ["target/debug/build/tool-1/out", "target/debug", "target/debug/deps"]);
        let entry = &targets["my-tool::test/it"];
        assert_eq!(
            (entry.program.to_str(), entry.directory.to_str()),
            (Some("target/debug/deps/it-1"), Some("tool"))
        );
        assert_eq!(entry.arguments, ["--ignored"]);
        let table = [
            ("CARGO_MANIFEST_DIR", "/ci/ws/tool"),
            ("CARGO_PKG_AUTHORS", "A:B"),
            ("CARGO_PKG_DESCRIPTION", ""),
            ("CARGO_PKG_VERSION_PATCH", "3"),
            ("CARGO_PKG_VERSION_PRE", "rc.1"),
            ("CARGO_BIN_EXE_my-tool", "/ci/ws/target/debug/my-tool"),
            ("NEXTEST_BIN_EXE_my_tool", "/ci/ws/target/debug/my-tool"),
            ("OUT_DIR", "/ci/ws/target/debug/build/tool-1/out"),
            ("MADE", "/ci/ws/target/debug/build/tool-1/out/x"),
        ];
        for (name, value) in table {
            assert_eq!(entry.environment.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!entry.environment.contains_key("CARGO_BIN_EXE_part"));
    }

    /// What cargo-nextest 0.9.148 wrote for itoa 1.0.19: other paths, and of the packages only that one.
    #[test]
    fn what_nextest_itself_has_packed_is_read() {
        let (_top, archive) = unpacked(
            include_str!("../../../tests/nextest/binaries-metadata.json"),
            include_str!("../../../tests/nextest/cargo-metadata.json"),
        );
        let archive = archive.unwrap();
        assert_eq!(archive.packages(), BTreeMap::from([("itoa", PathBuf::new())]));
        let List { targets, .. } = serde_json::from_str(&archive.export(&[]).unwrap().list).unwrap();
        assert_eq!(targets.keys().collect::<Vec<_>>(), ["itoa::lib", "itoa::test/test"]);
        let entry = &targets["itoa::test/test"];
        assert_eq!(entry.program, Path::new("target/debug/deps/test-0bd839bf8a48126d"));
        assert_eq!(entry.environment["CARGO_PKG_RUST_VERSION"], "1.68");
    }

    #[test]
    fn what_is_no_archive_or_leads_out_of_one_is_refused() {
        let table = [
            ("{}", WORKSPACE_OF_ONE, "binaries-metadata.json: missing field"),
            (BINARIES_OF_ONE, "", "cargo-metadata.json: EOF"),
            (BINARIES_OF_ONE, &WORKSPACE_OF_ONE.replace("tool 1", "other"), "has no package tool 1"),
            (BINARIES_OF_ONE, &WORKSPACE_OF_ONE.replace("/ci/ws/tool", "/etc"), "is not in its workspace"),
        ];
        for (binaries, workspace, expected) in table {
            let refusal = unpacked(binaries, workspace).1.unwrap_err();
            assert!(refusal.contains(expected), "{refusal}");
        }
        let elsewhere = BINARIES_OF_ONE.replace("/ci/ws/target/debug/deps", "/bin");
        let (_top, archive) = unpacked(&elsewhere, WORKSPACE_OF_ONE);
        assert!(
            archive.unwrap().export(&[]).err().unwrap().contains("is not in the archive's target directory")
        );
        for (inside, outside) in
            [("/ci/ws/target/debug/deps", "/ci/ws/target/../deps"), ("\"gone\"", "\"../..\"")]
        {
            let outside = BINARIES_OF_ONE.replace(inside, outside);
            let refusal = unpacked(&outside, WORKSPACE_OF_ONE).1.unwrap().export(&[]).err().unwrap();
            assert!(refusal.ends_with("leads out of what was built"), "{refusal}");
        }
        assert!(Archive::read(Path::new("/nowhere")).unwrap_err().contains("binaries-metadata.json"));
    }
}
