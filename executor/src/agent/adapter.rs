//! The adapter protocol: what workers are told and what they say, as JSON lines. Specified in `docs/adapter-protocol.md`.

use std::collections::BTreeMap;

use seagull_domain::{Asked, Framework, Outcome, TestCause};
use serde::{Deserialize, Serialize};

/// The longest line an adapter may send.
pub(crate) const LINE_BYTES: usize = 16 << 20;
/// Bytes that a worker and its controller may have for each other.
const NODE_BYTES: usize = 1 << 20;

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub(crate) enum Command {
    Configure(Box<Configure>),
    Run {
        tests: Vec<(u32, String)>,
        /// Of their files, what hooks made of the tests in the discovery, where they changed any.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        hooked: BTreeMap<String, String>,
    },
    /// To a worker: what its controller has for it, as that wrote it.
    Node {
        input: Option<String>,
    },
    ConfigureNode {
        node: u32,
    },
    NodeReady {
        node: u32,
    },
    NodeDown {
        node: u32,
        error: Option<String>,
        output: Option<String>,
    },
    Finish,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Configure {
    pub args: Vec<String>,
    pub slot: u32,
    pub slots: u32,
    pub run: String,
    pub seed: u32,
    pub basetemp: String,
    pub cache_dir: String,
    pub discover: bool,
    pub whole: bool,
    /// How many tests the suite has; 0 where that is not known.
    #[serde(default)]
    pub tests: u32,
    /// Bytes of text kept for one test.
    pub output_limit: usize,
    #[serde(default)]
    pub framework: Framework,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Whether there is a controller; a worker finds out if the suite does not say.
    #[serde(default)]
    pub controller: Option<bool>,
    /// Whether the run may have workers on several executors.
    #[serde(default)]
    pub spread: bool,
    /// The image that it runs in, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Of a discovery on the machine, an environment whose tests run in an image, and that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<(String, String)>,
}

/// What the process is, if it is no worker.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    Controller,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    Hello {
        #[serde(default)]
        pid: Option<u32>,
        #[serde(default)]
        dump_signal: Option<i32>,
        #[serde(default)]
        batch_ms: Option<u64>,
        #[serde(default)]
        found_with: String,
    },
    Warning {
        message: String,
    },
    File {
        path: String,
        suffixes: Vec<String>,
    },
    Relation {
        tests: Vec<String>,
        #[serde(default)]
        ordered: bool,
    },
    /// The tests name the environment that they need.
    Needs {
        tests: Vec<String>,
        environment: String,
    },
    /// Hooks have changed tests of the file.
    Hooked {
        path: String,
        digest: String,
    },
    Asks(Asked),
    Skipped {
        path: String,
        #[serde(default)]
        reason: String,
    },
    Uncollected {},
    /// A discovery is at this file.
    Importing {
        path: String,
    },
    Duplicate {
        id: String,
    },
    Discovered {
        #[serde(default)]
        deselected: u32,
    },
    DiscoveryFailed {
        message: String,
        #[serde(default)]
        text: String,
    },
    Next {
        #[serde(default)]
        failed: bool,
        #[serde(default)]
        rss: u64,
    },
    /// The worker waits for `Command::Node`.
    Node {},
    NodeInput {
        node: u32,
        input: String,
    },
    NodeReady {},
    NodeOutput {
        output: String,
    },
    Collecting {},
    Collected {},
    Started {
        test: u32,
    },
    Finished(Box<Finished>),
    Missing {
        test: u32,
        reason: String,
    },
    Interrupted {
        test: Option<u32>,
        #[serde(default)]
        message: String,
        #[serde(default)]
        location: String,
        #[serde(default)]
        text: String,
    },
    SuiteError {
        title: String,
        #[serde(default)]
        message: String,
        #[serde(default)]
        text: String,
    },
    /// What was measured of the suite's coverage since the last time; for whoever combines it, not for us.
    Coverage {
        data: String,
    },
    Finishing {},
    Ended {
        #[serde(default)]
        exit: Option<i32>,
    },
}

/// What the core keeps as it is must not be too long. The error is a sentence.
pub(crate) fn bounded(event: &Event) -> Result<(), String> {
    match event {
        Event::NodeInput { input: text, .. } | Event::NodeOutput { output: text }
            if text.len() > NODE_BYTES =>
        {
            Err(format!("its adapter said over {} MiB of a node", NODE_BYTES >> 20))
        }
        _ => Ok(()),
    }
}

impl Event {
    /// What people read of it; ids are as they are, for tests go by them.
    pub fn texts(&mut self) -> Vec<&mut String> {
        match self {
            Event::Warning { message } => vec![message],
            Event::Interrupted { message, location, text, .. } => vec![message, location, text],
            Event::Skipped { reason, .. } | Event::Missing { reason, .. } => vec![reason],
            Event::DiscoveryFailed { message, text } => vec![message, text],
            Event::SuiteError { title, message, text } => vec![title, message, text],
            Event::Finished(finished) => {
                let Finished { detail, message, location, text, .. } = &mut **finished;
                vec![detail, message, location, text]
            }
            _ => Vec::new(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Finished {
    pub test: u32,
    #[serde(default)]
    pub ordinal: u16,
    pub last: bool,
    pub outcome: Outcome,
    #[serde(default)]
    pub detail: String,
    #[serde(default)]
    pub cause: Option<TestCause>,
    /// Seconds.
    pub setup: f64,
    pub call: f64,
    pub teardown: f64,
    #[serde(default)]
    pub rss: u64,
    /// Seconds.
    #[serde(default)]
    pub cpu: f64,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub location: String,
    #[serde(default)]
    pub text: String,
    /// When it began, in Unix seconds, if its adapter says so; who hears of it does so later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<f64>,
    /// The directory, beside the one that tests are told of, that its adapter has put aside what the test left in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<u32>,
}

impl Finished {
    /// The last execution of a test, of which nothing else is known.
    pub fn new(test: u32, outcome: Outcome) -> Finished {
        let [setup, call, teardown, cpu] = [0.0; 4];
        let [detail, message, location, text] = [const { String::new() }; 4];
        let (ordinal, last, cause, rss) = (0, true, None, 0);
        Finished {
            test,
            ordinal,
            last,
            outcome,
            detail,
            cause,
            setup,
            call,
            teardown,
            rss,
            cpu,
            message,
            location,
            text,
            began: None,
            attached: None,
        }
    }

    /// Microseconds of setup, call and teardown; nonsense counts as nothing.
    pub fn phases(&self) -> [u64; 3] {
        [self.setup, self.call, self.teardown].map(micros)
    }

    /// Microseconds on a core.
    pub fn cpu_us(&self) -> u64 {
        micros(self.cpu)
    }
}

fn micros(seconds: f64) -> u64 {
    (seconds.clamp(0.0, 1e6) * 1e6) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_adapters_say_is_read_with_fields_we_do_not_know() {
        let line =
            r#"{"event":"hello","pid":1,"python":"3.11.7","pytest":"9.2.0","rootdir":"/x","dump_signal":45}"#;
        assert!(matches!(serde_json::from_str(line).unwrap(), Event::Hello { dump_signal: Some(45), .. }));
        let line = r#"{"event":"finished","test":3,"ordinal":0,"last":true,"outcome":"passed","setup":1e-05,"call":0.5,"teardown":0,"rss":9}"#;
        let Event::Finished(finished) = serde_json::from_str(line).unwrap() else { panic!("another event") };
        assert_eq!(finished.phases(), [10, 500_000, 0]);
        assert!(serde_json::from_str::<Event>(r#"{"event":"nonsense"}"#).is_err());
    }

    #[test]
    fn what_a_node_and_its_controller_have_for_each_other_is_bounded() {
        let most = "x".repeat(1 << 20);
        assert_eq!(bounded(&Event::NodeOutput { output: most.clone() }), Ok(()));
        let over = bounded(&Event::NodeInput { node: 0, input: most + "x" }).unwrap_err();
        assert_eq!(over, "its adapter said over 1 MiB of a node");
    }

    #[test]
    fn commands_are_flat_objects() {
        let run = Command::Run { tests: vec![(1, "a.py::t".into())], hooked: BTreeMap::new() };
        assert_eq!(serde_json::to_string(&run).unwrap(), r#"{"command":"run","tests":[[1,"a.py::t"]]}"#);
        assert_eq!(serde_json::to_string(&Command::Finish).unwrap(), r#"{"command":"finish"}"#);
    }
}
