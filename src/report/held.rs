//! Services that a failed test's sandbox keeps: whose they are, how long they stay, and how they are had.

use seagull_domain::{ExecutorId, Hold, TestIndex};

use super::tally::Tally;
use super::text::one_line;

const ID_WIDTH: usize = 200;

pub fn told(tally: &Tally, test: Option<TestIndex>, hold: &Hold, executor: &ExecutorId) -> String {
    let id = test.map_or("a test".to_owned(), |test| one_line(&tally.names.id(test), ID_WIDTH));
    let lasts = tally.spec.as_ref().and_then(|spec| spec.hold_ms).map(crate::duration::written);
    let lasts = lasts.map(|lasts| format!(" for {lasts}")).unwrap_or_default();
    let of = tally.spec.as_ref().and_then(|spec| spec.suite.environments.get(&hold.environment));
    let had = had(hold, of.is_some_and(|environment| environment.container.is_some()));
    format!("the services of {id} stay on {executor}{lasts}: there, {had}")
}

/// How what is held is had. Beside tests in an image it publishes no ports: it is reached from within.
pub fn had(hold: &Hold, in_image: bool) -> String {
    let Hold { sandbox, .. } = hold;
    let had = match in_image {
        true => format!(
            "docker exec -it CONTAINER sh is in one of them, docker ps --filter label=seagull.sandbox={sandbox} lists them"
        ),
        false => format!("seagull services shell {sandbox} has them"),
    };
    format!(
        "{had}, seagull services logs {sandbox} has what they say, seagull services down {sandbox} removes them"
    )
}
