//! `seagull history`: what a test came to, and how long it took, over runs.

use seagull_proto::convert::HistoryAsked;
use seagull_results::Found;

use super::{Reach, form, not_one};
use crate::cli;
use crate::commands::print;
use crate::report::around;

pub async fn run(args: cli::History) -> anyhow::Result<u8> {
    let reach = Reach::new(&args.from).await?;
    let asked = HistoryAsked { project: reach.project.clone(), test: args.test.clone(), runs: args.runs };
    let history = reach.client.history(asked).await?;
    if history.matching != 1 {
        let found = Found { ids: history.tests, matching: history.matching };
        return Err(not_one(&args.test, &found, &format!("project {}", reach.project)));
    }
    print(|out| around::history(out, form(&args.form), &history))?;
    Ok(0)
}
