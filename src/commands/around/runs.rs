//! `seagull runs`: the newest runs.

use seagull_proto::convert::ListAsked;

use super::{Reach, form};
use crate::cli;
use crate::commands::print;
use crate::errors::say;
use crate::report::around;

pub async fn run(args: cli::Runs) -> anyhow::Result<u8> {
    let reach = Reach::new(&args.from).await?;
    let project = (!args.all).then(|| reach.project.clone());
    let asked = ListAsked { project, limit: args.limit.into(), after: None };
    let runs = reach.client.list(asked).await?;
    if runs.is_empty() {
        let of = if args.all { String::new() } else { format!(" of project {}", reach.project) };
        say!("there is no run{of}\nhint: seagull run makes one; --all lists those of every project");
    }
    print(|out| around::runs(out, form(&args.form), &runs, args.all))?;
    Ok(0)
}
