//! What the log of a CI service shows better than lines do: failures at their place in the code, and long text folded.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// GitHub shows so many annotations of each kind of a step.
const SHOWN_BY_GITHUB: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    GitHub,
    GitLab,
    Jenkins,
}

/// By which variable a service is known, and which names its checkout.
const SERVICES: [(&str, Service, &str); 3] = [
    ("GITHUB_ACTIONS", Service::GitHub, "GITHUB_WORKSPACE"),
    ("GITLAB_CI", Service::GitLab, "CI_PROJECT_DIR"),
    ("JENKINS_URL", Service::Jenkins, "WORKSPACE"),
];

/// The log of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    service: Service,
    /// Where the files are that annotations name.
    checkout: PathBuf,
    directory: PathBuf,
}

/// What is to be seen at a place in the code.
pub struct Annotation<'a> {
    pub title: String,
    /// `path:line`, or nothing.
    pub location: &'a str,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Error,
    Warning,
}

impl Log {
    /// That of the job around this process, if there is one.
    pub fn here() -> Option<Log> {
        let directory = env::current_dir().ok()?;
        Log::of(|name| env::var_os(name).filter(|value| !value.is_empty()), directory)
    }

    fn of(set: impl Fn(&str) -> Option<OsString>, directory: PathBuf) -> Option<Log> {
        let (_, service, checkout) = SERVICES.into_iter().find(|(name, ..)| set(name).is_some())?;
        let checkout = set(checkout).and_then(|path| fs::canonicalize(path).ok());
        Some(Log { service, checkout: checkout.unwrap_or_else(|| directory.clone()), directory })
    }

    /// Whether it shows colours though it is no terminal.
    pub fn has_colors(&self) -> bool {
        self.service != Service::Jenkins
    }

    /// What stands before and after text that is worth a look only on demand. The number tells folds apart.
    pub fn fold(&self, title: &str, number: u32) -> Option<(String, String)> {
        match self.service {
            Service::GitHub => Some((format!("::group::{}", data(title)), "::endgroup::".to_owned())),
            // Its times are shown as how long the section took: no time at all.
            Service::GitLab => {
                let mark = |what: &str, options: &str| {
                    format!("\x1b[0Ksection_{what}:0:seagull_{number}{options}\r\x1b[0K")
                };
                Some((mark("start", "[collapsed=true]") + title, mark("end", "")))
            }
            Service::Jenkins => None,
        }
    }

    /// The lines that put annotations where they belong; none where a service cannot show them.
    pub fn annotate(&self, kind: Kind, annotations: &[Annotation]) -> Vec<String> {
        match self.service {
            Service::GitHub => {
                annotations.iter().take(SHOWN_BY_GITHUB).map(|it| self.command(kind, it)).collect()
            }
            Service::GitLab => Vec::new(),
            Service::Jenkins => annotations.iter().filter_map(|it| self.like_a_compiler(kind, it)).collect(),
        }
    }

    fn command(&self, kind: Kind, annotation: &Annotation) -> String {
        let place = self.place_of(annotation).map_or(String::new(), |(path, line)| {
            format!("file={},line={line},", property(&path.to_string_lossy()))
        });
        let (title, message) = (property(&annotation.title), data(&annotation.message));
        format!("::{} {place}title={title}::{message}", kind.word())
    }

    fn like_a_compiler(&self, kind: Kind, annotation: &Annotation) -> Option<String> {
        let (path, line) = self.place_of(annotation)?;
        let Annotation { title, message, .. } = annotation;
        Some(format!("{}:{line}: {}: {title}: {message}", path.display(), kind.word()))
    }

    /// What the service shows of a line that is no command to it.
    fn harmless(&self, line: &str) -> String {
        // actions/runner, ActionCommand.cs: blanks before `::` do not count, and `##[` may be anywhere.
        let line = if self.service == Service::GitHub {
            line.replace("##[", "## [")
        } else {
            return line.to_owned();
        };
        let text = line.trim_start();
        let blanks = &line[..line.len() - text.len()];
        if text.starts_with("::") { format!("{blanks}│ {text}") } else { line }
    }

    /// Where there is no location, as of a crash, the file that the test is in: the first part of its id.
    fn place_of(&self, annotation: &Annotation) -> Option<(PathBuf, u32)> {
        let file = annotation.title.split("::").next().unwrap_or_default();
        self.place(annotation.location).or_else(|| self.place(&format!("{file}:1")))
    }

    /// A location's file in the checkout, and its line. Locations are relative to the suite's root, which is the
    /// directory or above it.
    fn place(&self, location: &str) -> Option<(PathBuf, u32)> {
        let (path, line) = location.rsplit_once(':')?;
        let line = line.parse().ok()?;
        let roots = self.directory.ancestors().take_while(|root| root.starts_with(&self.checkout));
        let file = roots.map(|root| root.join(path)).find(|file| file.is_file())?;
        Some((file.strip_prefix(&self.checkout).map(Path::to_owned).ok()?, line))
    }
}

/// Lines for the log of a service, if there is one: what is written into them is no command to it.
pub struct Lines<'a, W> {
    out: W,
    log: Option<&'a Log>,
    /// The beginning of a line.
    line: Vec<u8>,
}

impl<'a, W: Write> Lines<'a, W> {
    pub fn new(out: W, log: Option<&'a Log>) -> Self {
        Self { out, log, line: Vec::new() }
    }

    /// A line that the service is to obey.
    pub fn command(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{line}")
    }
}

impl<W: Write> Write for Lines<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(log) = self.log else { return self.out.write(bytes) };
        self.line.extend_from_slice(bytes);
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            self.out.write_all(log.harmless(&String::from_utf8_lossy(&line)).as_bytes())?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Error => "error",
            Kind::Warning => "warning",
        }
    }
}

/// The message of one of GitHub's commands.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of one of GitHub's commands.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The log of a job that runs in the folder `suite` of its checkout.
    pub(crate) fn log(variable: &str, checkout: &Path) -> Option<Log> {
        let set = |name: &str| match name {
            "GITHUB_WORKSPACE" | "CI_PROJECT_DIR" | "WORKSPACE" => Some(checkout.into()),
            name => (name == variable).then(|| "true".into()),
        };
        Log::of(set, checkout.canonicalize().unwrap().join("suite"))
    }

    fn annotation(location: &str) -> Annotation<'_> {
        Annotation { title: "suite/test_a.py::t[a,b]".into(), location, message: "50 %\nof it".into() }
    }

    #[test]
    fn a_service_is_known_by_its_variable() {
        let checkout = tempfile::tempdir().unwrap();
        assert_eq!(log("CI", checkout.path()), None);
        for (variable, colors) in [("GITHUB_ACTIONS", true), ("GITLAB_CI", true), ("JENKINS_URL", false)] {
            assert_eq!(
                log(variable, checkout.path()).map(|log| log.has_colors()),
                Some(colors),
                "{variable}"
            );
        }
    }

    #[test]
    fn what_is_written_is_no_command() {
        let checkout = tempfile::tempdir().unwrap();
        let lines = "    ::stop-commands::x\n::error::y\nE  a ##[error]z\na::b\n";
        let written = |variable| {
            let log = log(variable, checkout.path());
            let mut out = Vec::new();
            let mut into = Lines::new(&mut out, log.as_ref());
            let (begin, end) = lines.split_at(5);
            into.write_all(begin.as_bytes()).unwrap();
            into.write_all(end.as_bytes()).unwrap();
            into.command("::endgroup::").unwrap();
            String::from_utf8(out).unwrap()
        };
        let harmless = "    │ ::stop-commands::x\n│ ::error::y\nE  a ## [error]z\na::b\n::endgroup::\n";
        assert_eq!(written("GITHUB_ACTIONS"), harmless);
        for other in ["CI", "GITLAB_CI", "JENKINS_URL"] {
            assert_eq!(written(other), format!("{lines}::endgroup::\n"));
        }
    }

    #[test]
    fn a_place_is_a_file_of_the_checkout_wherever_the_root_is() {
        let checkout = tempfile::tempdir().unwrap();
        fs::create_dir_all(checkout.path().join("suite")).unwrap();
        fs::write(checkout.path().join("suite/test_a.py"), "").unwrap();
        let github = log("GITHUB_ACTIONS", checkout.path()).unwrap();
        let line = |location| github.annotate(Kind::Error, &[annotation(location)]).remove(0);
        let placed =
            "::error file=suite/test_a.py,line=7,title=suite/test_a.py%3A%3At[a%2Cb]::50 %25%0Aof it";
        assert_eq!(line("test_a.py:7"), placed);
        assert_eq!(line("suite/test_a.py:7"), placed);
        for nowhere in ["", "test_a.py", "/etc/passwd:1", "test_b.py:7", "test_a.py:x"] {
            assert_eq!(line(nowhere), placed.replace("line=7", "line=1"), "{nowhere}");
        }
        let elsewhere = Annotation { title: "session finish".into(), ..annotation("") };
        assert_eq!(
            github.annotate(Kind::Error, &[elsewhere]),
            ["::error title=session finish::50 %25%0Aof it"]
        );
        let many: Vec<_> = (0..99).map(|_| annotation("")).collect();
        assert_eq!(github.annotate(Kind::Warning, &many).len(), SHOWN_BY_GITHUB);
        let jenkins = log("JENKINS_URL", checkout.path()).unwrap();
        let lines = jenkins.annotate(Kind::Warning, &[annotation("test_a.py:7"), annotation("")]);
        let line =
            |number| format!("suite/test_a.py:{number}: warning: suite/test_a.py::t[a,b]: 50 %\nof it");
        assert_eq!(lines, [line(7), line(1)]);
    }
}
