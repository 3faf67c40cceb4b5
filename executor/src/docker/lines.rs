//! Lines for the shell in the container of a service.
#![expect(clippy::disallowed_methods, reason = "a shell: what does not end is waited for so long")]

use std::time::Duration;

use super::engine::Engine;
use super::error::{Error, LINES};

/// How long one may take.
const LIMIT: Duration = Duration::from_secs(600);

/// Where they are run, and what for.
pub struct Lines<'a> {
    pub engine: &'a Engine,
    pub container: &'a str,
    pub service: &'a str,
    /// What the service is by them: `prepared`.
    pub be: &'static str,
    /// Their variables besides the container's.
    pub env: &'a [String],
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
