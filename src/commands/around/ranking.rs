//! `seagull tests`: which tests fail most, are flaky, slow, or slower than before.

use seagull_domain::Ranking;
use seagull_proto::convert::RankAsked;

use super::{Reach, form};
use crate::cli;
use crate::commands::print;
use crate::errors::say;
use crate::report::around;

pub async fn run(args: cli::Tests) -> anyhow::Result<u8> {
    let reach = Reach::new(&args.from).await?;
    let ranking = match (args.flaky, args.slowest, args.slower) {
        (true, _, _) => Ranking::Flaky,
        (_, true, _) => Ranking::Slowest,
        (_, _, true) => Ranking::Slower,
        _ => Ranking::Failing,
    };
    let project = reach.project.clone();
    let asked = RankAsked { project, ranking, days: args.window.days, limit: args.window.limit };
    let ranked = reach.client.rank(asked).await?;
    if ranked.is_empty() {
        say!("no test of project {} is so\nhint: --days looks further back", reach.project);
    }
    print(|out| around::ranked(out, form(&args.form), ranking, &ranked))?;
    Ok(0)
}
