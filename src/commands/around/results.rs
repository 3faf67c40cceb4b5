//! `seagull results`: what each test of a run came to.

use anyhow::anyhow;
use seagull_domain::{Instant, RunId};

use super::{Reach, Told, form};
use crate::cli;
use crate::commands::print;
use crate::errors::say;
use crate::report::{Tally, around};

pub async fn run(args: cli::Results) -> anyhow::Result<u8> {
    let reach = Reach::new(&args.from).await?;
    let run = reach.run(&args.run).await?;
    let tally = tally(&reach, &run).await?;
    let part = match (args.failed, args.not_passed) {
        (true, _) => around::Part::Failed,
        (_, true) => around::Part::NotPassed,
        _ => around::Part::All,
    };
    let slowest = args.slowest.map(|n| usize::try_from(n.get()).unwrap_or(usize::MAX));
    print(|out| around::results(out, form(&args.form), &tally, part, slowest))?;
    say!("{}", around::ended(&tally));
    Ok(0)
}

/// What a run has come to.
pub async fn tally(reach: &Reach, run: &RunId) -> anyhow::Result<Tally> {
    let mut tally = Tally::new(run.clone(), Instant(0), false);
    let told = |told| match told {
        Told::Manifest(manifest) => tally.manifest(manifest),
        Told::Item(item) => tally.apply(&item),
    };
    reach.tell(run, told).await?;
    let Some(spec) = &tally.spec else { return Err(anyhow!("the stream of run {run} has no beginning")) };
    tally.broken_off = tally.end.is_none() && reach.has_broken_off(run, &spec.project).await?;
    Ok(tally)
}
