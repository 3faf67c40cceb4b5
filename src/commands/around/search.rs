//! `seagull search`: failures by the words of their messages and stacks.

use seagull_proto::convert::SearchAsked;

use super::{Reach, form};
use crate::cli;
use crate::commands::print;
use crate::errors::say;
use crate::report::around;

pub async fn run(args: cli::Search) -> anyhow::Result<u8> {
    let reach = Reach::new(&args.from).await?;
    let (project, text) = (reach.project.clone(), args.words.join(" "));
    let asked = SearchAsked { project, text, days: args.window.days, limit: args.window.limit };
    let groups = reach.client.search(asked).await?;
    if groups.is_empty() {
        say!(
            "no failure of project {} has that\nhint: words are whole; --days looks further back",
            reach.project
        );
    }
    print(|out| around::failures(out, form(&args.form), &groups))?;
    Ok(0)
}
