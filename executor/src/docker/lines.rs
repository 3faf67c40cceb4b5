//! Lines for the shell in the container of a service.
#![expect(clippy::disallowed_methods, reason = "a shell: what does not end is waited for so long")]

use std::fmt;
use std::time::Duration;

use super::engine::Engine;
use super::error::{Error, LINES};

/// How long one may take.
const LIMIT: Duration = Duration::from_secs(600);

/// What a service is by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Be {
    Prepared,
    Reset,
}

/// Where they are run, and what for.
pub struct Lines<'a> {
    pub engine: &'a Engine,
    pub container: &'a str,
    pub service: &'a str,
    pub be: Be,
    /// Their variables besides the container's.
    pub env: &'a [String],
}

impl Be {
    /// Where they are written.
    pub fn key(self) -> &'static str {
        match self {
            Be::Prepared => "prepare",
            Be::Reset => "reset",
        }
    }
}

impl fmt::Display for Be {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Be::Prepared => "prepared",
            Be::Reset => "reset",
        })
    }
}

impl Lines<'_> {
    /// Runs them in their order; none after one that fails.
    pub async fn run(&self, lines: &[String]) -> Result<(), Error> {
        for line in lines {
            self.run_one(line).await?;
        }
        Ok(())
    }

    async fn run_one(&self, line: &str) -> Result<(), Error> {
        let failed = |how: String, said: String| {
            let (service, line) = (self.service.to_owned(), line.to_owned());
            Err(Error::Line { service, be: self.be, line, how, said })
        };
        let command = ["/bin/sh", "-ec", line].map(str::to_owned);
        let running = self.engine.run(self.container, &command, self.env);
        match tokio::time::timeout(LIMIT, running).await {
            Ok(Ok(ran)) if ran.code == 0 => Ok(()),
            Ok(Ok(ran)) => failed(format!("ends with {}", ran.code), ran.said),
            Ok(Err(error)) => failed(error.to_string(), String::new()),
            Err(_) => {
                let log = self.engine.last_lines(self.container, LINES).await;
                failed(format!("has not ended after {} s", LIMIT.as_secs()), log)
            }
        }
    }
}
