//! What cargo would start: a test binary, or the examples in a crate's documentation.

use std::collections::{BTreeMap, HashMap};
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::note::Note;

/// By the beginning of their ids.
pub(super) type Targets = BTreeMap<String, Target>;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Whether it is the examples in a crate's documentation.
    pub doc: bool,
    pub program: OsString,
    pub arguments: Vec<OsString>,
    pub directory: PathBuf,
    /// The whole of it.
    pub environment: Vec<(OsString, OsString)>,
}

impl Target {
    /// None if cargo does not start targets so.
    pub fn of(note: Note) -> Option<Target> {
        let Note { directory, words, environment } = note;
        let mut words = words.into_iter();
        let doc = words.next()? == "doc";
        let program =
            if doc { env::var_os("RUSTDOC").unwrap_or_else(|| "rustdoc".into()) } else { words.next()? };
        Some(Target { doc, program, arguments: words.collect(), directory, environment })
    }

    pub fn package(&self) -> &str {
        let package = self.environment.iter().find(|(name, _)| name == "CARGO_PKG_NAME");
        package.map_or("", |(_, value)| value.to_str().unwrap_or_default())
    }

    /// `package::lib`, `package::test/name`, `package::doc`.
    pub fn id(&self, names: &HashMap<PathBuf, String>) -> String {
        let program = Path::new(&self.program);
        let target = match names.get(program) {
            _ if self.doc => "doc".into(),
            Some(name) => name.into(),
            None => program.file_name().unwrap_or_default().to_string_lossy(),
        };
        format!("{}::{target}", self.package())
    }

    fn command(&self, arguments: &[OsString]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(&self.directory);
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn whole(&self) -> Command {
        self.command(&self.arguments)
    }

    /// Asks which tests there are, of those that the user's arguments choose.
    pub fn list(&self) -> Command {
        let mut command = self.whole();
        command.args(if self.doc { &["--test-args", "--list"][..] } else { &["--list"] });
        command
    }

    /// Of the user's arguments only that ignored tests are wanted matters to one test; a filter would select others.
    pub fn one(&self, name: &str) -> Command {
        let ignored = |argument: &OsString| argument == "--ignored" || argument == "--include-ignored";
        let mut command = self.command(&[]);
        if self.arguments.iter().any(ignored) {
            command.arg("--include-ignored");
        }
        command.args(["--exact", "--nocapture", name]);
        command
    }
}

/// No two are called the same: one of them would not run.
pub(super) fn enter(targets: &mut Targets, id: String, target: Target) -> Result<(), String> {
    if targets.contains_key(&id) {
        let message = format!("cargo test starts two binaries that are called {id}");
        return Err(message + "\nhint: one --target at a time");
    }
    targets.insert(id, target);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::build::named;
    use super::*;

    #[test]
    fn a_note_says_how_cargo_starts_a_binary_and_its_messages_say_what_it_is() {
        let said = r#"{"target":{"kind":["test"],"name":"ui"},"profile":{"test":true},"executable":"/t/ui-1"}
            {"target":{"kind":["proc-macro"],"name":"m"},"profile":{"test":true},"executable":"/t/m-1"}
            {"target":{"kind":["bin"],"name":"b"},"profile":{"test":false},"executable":"/t/b"}
            {"reason":"build-finished","success":true}"#;
        let names = named(said);
        assert_eq!(names.len(), 2);
        let noted = |words: &[&str]| {
            let environment = vec![("CARGO_PKG_NAME".into(), "a".into())];
            let words = words.iter().map(Into::into).collect();
            Target::of(Note { directory: "/p".into(), words, environment })
        };
        let target = noted(&["test", "/t/ui-1", "--skip"]).unwrap();
        assert_eq!((target.id(&names).as_str(), target.doc), ("a::test/ui", false));
        assert_eq!((target.arguments, target.directory), (vec!["--skip".into()], "/p".into()));
        assert_eq!(noted(&["test", "/t/m-1"]).unwrap().id(&names), "a::lib");
        let doc = noted(&["doc", "--test"]).unwrap();
        assert_eq!((doc.id(&names).as_str(), doc.arguments), ("a::doc", vec!["--test".into()]));
        assert_eq!((noted(&[]), noted(&["test"])), (None, None));

        let mut targets = BTreeMap::new();
        let mut entered = |program| {
            let target = noted(&["test", program]).unwrap();
            enter(&mut targets, target.id(&names), target)
        };
        assert_eq!((entered("/t/ui-1"), entered("/t/m-1")), (Ok(()), Ok(())));
        assert!(entered("/t/ui-1").unwrap_err().contains("called a::test/ui"));
    }
}
