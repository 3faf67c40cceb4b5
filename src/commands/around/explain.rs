//! `seagull explain`: why a run or a test has its verdict.

use seagull_proto::convert::TestAsked;

use super::results::tally;
use super::{Reach, form, logs, neither};
use crate::again::access_of;
use crate::cli::{self, RunName};
use crate::commands::print;
use crate::errors::{Usage, usage};
use crate::report::{Form, around};

pub async fn run(args: cli::Explain) -> anyhow::Result<u8> {
    let reach = Reach::new(&args.from).await?;
    let form = form(&args.form);
    match (args.what.parse::<RunName>(), &args.test) {
        (Ok(run), Some(test)) => explain_test(&reach, &args, &run, test).await,
        (Err(expected), Some(_)) => Err(usage(format!("{}: {expected}", args.what))),
        (Err(_), None) => explain_test(&reach, &args, &RunName::Last, &args.what).await,
        (Ok(run), None) => match explain_run(&reach, form, &run).await {
            // No run is called so: a test may be.
            Err(error) if run != RunName::Last && error.is::<Usage>() => {
                let explained = explain_test(&reach, &args, &RunName::Last, &args.what).await;
                explained.map_err(|of_test| neither(&args.what, of_test))
            }
            explained => explained,
        },
    }
}

async fn explain_run(reach: &Reach, form: Form, run: &RunName) -> anyhow::Result<u8> {
    let run = reach.run(run).await?;
    let mut tally = tally(reach, &run).await?;
    if tally.end.is_none() && reach.state.is_none() {
        tally.slots_there = reach.client.about().await?.slots;
    }
    if tally.end.is_none() {
        tally.standing = reach.client.standing(&run).await?;
    }
    print(|out| around::explain_run(out, form, &tally))?;
    Ok(0)
}

async fn explain_test(reach: &Reach, args: &cli::Explain, run: &RunName, test: &str) -> anyhow::Result<u8> {
    let mut story = logs::story(reach, run, test).await?;
    story.broken_off = story.end.is_none() && reach.has_broken_off(&story.run, &story.spec.project).await?;
    if story.verdict.is_none() && story.end.is_none() {
        let asked = TestAsked { run: story.run.clone(), test: story.test };
        story.whereabouts = reach.client.find(asked).await?;
        if let Some(holder) = story.whereabouts.as_ref().and_then(around::holder) {
            let standing = reach.client.standing(&story.run).await?.unwrap_or_default();
            story.silent = standing.silent.into_iter().find(|silent| silent.executor == *holder);
        }
        story.is_of_another_process = reach.state.is_some();
    }
    let access = access_of(&args.from);
    print(|out| around::explain_test(out, form(&args.form), &story, &access))?;
    Ok(0)
}
