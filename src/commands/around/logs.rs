//! `seagull logs`: what a test printed, in each of its executions.

use super::{Reach, Told, form, not_one};
use crate::cli::{self, RunName};
use crate::commands::print;
use crate::errors::{say, usage};
use crate::report::around::{self, Story};

pub async fn run(args: cli::Logs) -> anyhow::Result<u8> {
    let (run, test) = args.of.parts().map_err(usage)?;
    let reach = Reach::new(&args.from).await?;
    let story = story(&reach, &run, test).await?;
    let form = form(&args.form);
    if story.executions.is_empty() {
        say!("{} was not executed in run {}", story.id, story.run);
    }
    for execution in &story.executions {
        let text = match execution.result.text {
            Some(text) => Some(reach.client.text(&story.run, text).await?),
            None => None,
        };
        print(|out| around::log(out, form, &story, execution, text.as_deref()))?;
    }
    Ok(0)
}

/// What the stream of a run says of the test that is meant.
pub async fn story(reach: &Reach, run: &RunName, test: &str) -> anyhow::Result<Story> {
    let run = reach.run(run).await?;
    let mut teller = around::Teller::new(run.clone(), test);
    let told = |told| match told {
        Told::Manifest(manifest) => teller.manifest(&manifest),
        Told::Item(item) => teller.item(item),
    };
    reach.tell(&run, told).await?;
    match teller.close() {
        Ok(story) => Ok(story),
        Err(None) => Err(usage(format!(
            "no tests of run {run} are known\n\
             hint: seagull explain {run} says why, and seagull runs lists others, which are given before the test"
        ))),
        Err(Some(found)) => Err(not_one(test, &found, &format!("run {run}"))),
    }
}
