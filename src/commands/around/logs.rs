//! `seagull logs`: what tests printed, in each of their executions, and what they print while they run.

use anyhow::anyhow;
use seagull_domain::RunId;
use seagull_proto::convert::Printed;

use super::{Reach, Told, form, neither, not_one, unread};
use crate::cli::{self, RunName};
use crate::client::Notice;
use crate::commands::print;
use crate::errors::{say, usage, warn};
use crate::report::around::{self, Execution, Printing, Story};
use crate::report::{count, number};

pub async fn run(args: cli::Logs) -> anyhow::Result<u8> {
    let reach = Reach::new(&args.from).await?;
    let (run, test) = reach.meant(&args.what, args.test.as_deref()).await?;
    match test {
        Some(test) if !args.follow => show_test(&reach, &args, &run, test).await,
        _ => show(&reach, &args, &reach.run(&run).await?, test).await,
    }
    .map_err(
        |error| if args.test.is_none() && test.is_some() { neither(&args.what, error) } else { error },
    )?;
    Ok(0)
}

async fn show_test(reach: &Reach, args: &cli::Logs, run: &RunName, test: &str) -> anyhow::Result<()> {
    let story = story(reach, run, test).await?;
    if story.executions.is_empty() {
        say!("{} was not executed in run {}", story.id, story.run);
    }
    let mut shown = 0;
    for execution in &story.executions {
        shown += usize::from(show_execution(reach, args, (&story.run, &story.id), execution).await?);
    }
    match story.executions.len() - shown {
        0 => Ok(()),
        _ if shown == 0 => Err(usage(not_kept(&format!("what {} printed in run {}", story.id, story.run)))),
        gone => {
            warn(not_kept(&format!("what {} printed", count(number(gone), "execution"))));
            Ok(())
        }
    }
}

fn not_kept(what: &str) -> String {
    format!(
        "{what} is not kept any more\nhint: [retention] in seagull.toml says how long it is: seagull docs storage"
    )
}

/// Whether what it printed is kept; it is shown then.
async fn show_execution(
    reach: &Reach,
    args: &cli::Logs,
    (run, id): (&RunId, &str),
    execution: &Execution,
) -> anyhow::Result<bool> {
    let text = match execution.result.text {
        Some(text) => match reach.client.text(run, text).await {
            Err(error) if error.is_not_found() => return Ok(false),
            text => Some(text?),
        },
        None => None,
    };
    print(|out| around::log(out, form(&args.form), (run, id), execution, text.as_deref()))?;
    Ok(true)
}

/// What tests of a run print, as far as there is anything; to its end, if it is followed.
async fn show(reach: &Reach, args: &cli::Logs, run: &RunId, test: Option<&str>) -> anyhow::Result<()> {
    let mut notices = match args.follow {
        true => reach.client.watch(run.clone(), true),
        false => reach.client.look_at(run.clone()),
    };
    let mut printing = Printing::new(test);
    let (mut before, mut any): (Option<Printed>, bool) = (None, false);
    let mut gone = 0;
    while let Some(notice) = notices.recv().await {
        match notice {
            Notice::Manifest(manifest) => printing
                .manifest(&manifest)
                .map_err(|found| not_one(test.unwrap_or_default(), &found, &format!("run {run}")))?,
            Notice::Items(items) => {
                for (id, execution) in
                    items.into_iter().filter_map(|item| printing.item(item)).collect::<Vec<_>>()
                {
                    gone += usize::from(!show_execution(reach, args, (run, &id), &execution).await?);
                    (before, any) = (None, true);
                }
            }
            Notice::Printed(printed) if printing.shows(&printed) => {
                print(|out| around::printed(out, form(&args.form), run, &printed, before.as_ref()))?;
                (before, any) = (Some(printed), true);
            }
            Notice::Failed(error) => return Err(unread(run, error)),
            Notice::Disconnected(why) if args.follow => say!("reconnecting: {why}"),
            Notice::Disconnected(why) => return Err(anyhow!("{why}")),
            Notice::Waiting(word) => say!("{word}"),
            Notice::Said(word) if args.follow => say!("the scheduler says: {word}"),
            Notice::Printed(_)
            | Notice::Expected(_)
            | Notice::Live(_)
            | Notice::Said(_)
            | Notice::Reconnected => {}
        }
        if printing.is_over() {
            break;
        }
    }
    if gone > 0 {
        warn(not_kept(&format!("what {} printed", count(number(gone), "execution"))));
    }
    if !any {
        say!("nothing was printed in run {run}");
    }
    Ok(())
}

/// What the stream of a run says of the test that is meant.
pub async fn story(reach: &Reach, run: &RunName, test: &str) -> anyhow::Result<Story> {
    let run = reach.run(run).await?;
    let mut teller = around::Teller::new(run.clone(), test);
    let told = |told| match told {
        Told::Manifest(manifest) => teller.manifest(&manifest),
        Told::Item(item) => teller.item(*item),
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
