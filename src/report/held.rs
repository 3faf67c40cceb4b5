//! Services that a failed test's sandbox keeps: whose they are, how long they stay, and how they are had.

use seagull_domain::{ExecutorId, Hold, TestIndex};

use super::tally::Tally;
use super::text::one_line;

const ID_WIDTH: usize = 200;

pub fn told(tally: &Tally, test: Option<TestIndex>, hold: &Hold, executor: &ExecutorId) -> String {
    let id = test.map_or("a test".to_owned(), |test| one_line(&tally.names.id(test), ID_WIDTH));
    let lasts = tally.spec.as_ref().and_then(|spec| spec.hold_ms).map(crate::duration::written);
    let lasts = lasts.map(|lasts| format!(" for {lasts}")).unwrap_or_default();
    let Hold { environment, sandbox, .. } = hold;
    let of = tally.spec.as_ref().and_then(|spec| spec.suite.environments.get(environment));
    // They publish no ports: who is beside tests in an image reaches them.
    let had = match of.is_some_and(|environment| environment.container.is_some()) {
        true => "docker exec -it CONTAINER sh is in one of them, ".to_owned(),
        false => format!("seagull services shell {environment} has them, "),
    };
    format!(
        "the services of {id} stay on {executor}{lasts}: there, {had}\
         docker ps --filter label=seagull.sandbox={sandbox} lists them, seagull services down {environment} removes them"
    )
}
