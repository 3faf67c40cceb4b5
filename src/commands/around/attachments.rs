//! `seagull attachments`: the files that tests of a run have left.

use seagull_domain::TestIndex;

use super::results::tally;
use super::{Reach, form, not_one};
use crate::cli;
use crate::commands::print;
use crate::errors::{say, warn};
use crate::report::{Tally, around};

pub async fn run(args: cli::Attachments) -> anyhow::Result<u8> {
    let reach = Reach::new(&args.from).await?;
    let (run, test) = reach.meant(&args.what, args.test.as_deref()).await?;
    let run = reach.run(&run).await?;
    let tally = tally(&reach, &run).await?;
    let meant = test.map(|test| id(&tally, test)).transpose()?;
    let wanted = |left: &around::Left| meant.is_none() || left.test == meant;
    let (mut any, mut failed) = (false, false);
    for left in around::left(&tally).filter(wanted) {
        any = true;
        let path = match &args.to {
            Some(_) if left.attached.file.blob.is_none() => {
                failed = true;
                warn(around::named(left.attached));
                continue;
            }
            Some(directory) => {
                match reach.client.attachment(&run, &left.attached.file, &directory.join(left.place())).await
                {
                    Ok(path) => Some(path),
                    Err(error) => {
                        failed = true;
                        warn(format!("{}: {error:#}", around::named(left.attached)));
                        continue;
                    }
                }
            }
            None => None,
        };
        print(|out| around::attachment(out, form(&args.form), run.as_str(), &left, path.as_deref()))?;
    }
    if !any {
        match meant {
            Some(test) => say!("{test} has left nothing in run {run}"),
            None => say!(
                "nothing was left in run {run}\nhint: seagull docs attachments says how tests leave files"
            ),
        }
    }
    Ok(u8::from(failed))
}

/// The id of the test that is meant.
fn id(tally: &Tally, text: &str) -> anyhow::Result<String> {
    let found: Result<TestIndex, _> = around::find(text, &tally.names.manifest);
    found
        .map(|test| tally.names.id(test))
        .map_err(|found| not_one(text, &found, &format!("run {}", tally.run)))
}
