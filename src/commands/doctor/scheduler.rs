//! A scheduler elsewhere: whether it is there, takes the token, and has the same time.
#![expect(clippy::disallowed_methods, reason = "a shell: it waits for an answer")]

use std::time::Duration;

use tonic::Code;
use tonic::transport::Uri;

use super::finding::{Finding, Findings};
use crate::again::{access, quoted};
use crate::cli::{TlsArgs, TokenArgs};
use crate::client;
use crate::fresh;
use crate::report::count;

const CHECK: &str = "scheduler";
const PATIENCE: Duration = Duration::from_secs(15);
/// Milliseconds that clocks may differ before it is worth a word.
const DRIFT: u64 = 2000;

pub async fn examine(url: &Uri, args: (&TokenArgs, &TlsArgs), findings: &mut Findings) -> anyhow::Result<()> {
    let token = match crate::commands::token(args.0) {
        Ok(token) => token,
        Err(error) => return findings.tell(Finding::error("token", &error)),
    };
    let client = match crate::commands::client(url, &token, args.1) {
        Ok(client) => client,
        Err(error) => return findings.tell(Finding::error(CHECK, &error)),
    };
    let asked = fresh::unix_millis();
    let answer = tokio::time::timeout(PATIENCE, client.about());
    let Ok(answer) = findings.during("scheduler", answer).await else {
        let silent = Finding::problem(CHECK, format!("{} does not answer", client::name(url)));
        return findings.tell(silent.hint("is it a scheduler of seagull that listens there?"));
    };
    let took = fresh::unix_millis().saturating_sub(asked);
    let about = match answer {
        Ok(about) => about,
        Err(error) => {
            let refused = error.status().is_some_and(|status| status.code() == Code::Unauthenticated);
            let finding = if refused {
                Finding::problem("token", "the scheduler does not take it")
                    .hint("it is in the file `token` of the scheduler's state directory; copy it anew")
            } else {
                Finding::error(CHECK, &error.into())
            };
            return findings.tell(finding);
        }
    };
    let said =
        format!("{} answers in {took} ms and takes the token; release {}", client::name(url), about.version);
    findings.tell(Finding::ok(CHECK, said))?;
    if let Some(slots) = about.slots {
        let executor = ["seagull", "executor"].map(str::to_owned).into_iter();
        let joins = quoted(executor.chain(access(Some(url), args.0, args.1, None)));
        findings.tell(executors(slots, &joins))?;
    }
    findings.tell(clock(asked + took / 2, about.unix_millis, took))
}

fn executors(slots: u32, joins: &str) -> Finding {
    const CHECK: &str = "executors";
    match slots {
        0 => Finding::problem(CHECK, "there is none, so no test would run")
            .hint(format!("on each machine that is to run tests: {joins}")),
        slots => Finding::ok(
            CHECK,
            format!("they have {}; what is installed for them only a run shows", count(slots, "slot")),
        ),
    }
}

/// What the clocks say of the same moment, known to half of `took`.
fn clock(here: u64, there: u64, took: u64) -> Finding {
    const CHECK: &str = "clock";
    let differs = here.abs_diff(there).saturating_sub(took / 2);
    let seconds = here.abs_diff(there) as f64 / 1000.0;
    match there {
        0 => Finding::warning(CHECK, "the scheduler does not say its time")
            .hint("it is of an older release: renew it"),
        _ if differs > DRIFT => {
            let word = if there > here { "ahead of" } else { "behind" };
            Finding::warning(CHECK, format!("the scheduler's is {seconds:.1} s {word} this machine's")).hint(
                "let both keep time by NTP, or times in lists and reports mislead; no verdict depends on it",
            )
        }
        _ => Finding::ok(CHECK, format!("the scheduler's differs by {seconds:.1} s")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn where_no_test_would_run_that_is_a_problem() {
        assert_eq!(executors(0, "seagull executor").state, State::Problem);
        assert_eq!(executors(2, "").state, State::Ok);
    }

    #[test]
    fn clocks_that_differ_are_warned_of() {
        let table = [
            (10_000, State::Ok),
            (11_900, State::Ok),
            (13_000, State::Warning),
            (7_000, State::Warning),
            (0, State::Warning),
        ];
        for (there, state) in table {
            assert_eq!(clock(10_000, there, 10).state, state, "{there}");
        }
        // A slow answer says nothing exact.
        assert_eq!(clock(10_000, 13_000, 4000).state, State::Ok);
    }
}
