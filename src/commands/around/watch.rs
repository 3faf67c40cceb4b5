//! `seagull watch`: a run that is under way, or once more one that has ended, with the reports of `seagull run`.

use std::future;

use seagull_domain::RunId;
use seagull_executor::interpreter;

use super::{Reach, unread};
use crate::again::{Again, access, quoted};
use crate::cli;
use crate::client::Error;
use crate::commands::run::{End, Interrupt, Screen, Session, follow};
use crate::errors::INTERRUPTED;
use crate::place::Place;
use crate::report::Settings;
use crate::signals::Signals;
use crate::written::Written;

const LEAVING: &str = "no longer watching; the run goes on";

pub async fn run(args: cli::Watch) -> anyhow::Result<u8> {
    let mut signals = Signals::new()?;
    let reach = Reach::new(&args.from).await?;
    let run = reach.run(&args.run).await?;
    if let Some(state) = &reach.state {
        Written::of(state).add(args.report.files().paths());
    }
    let here = reach.state.as_ref().and_then(|_| Place::here().ok());
    let python = here.and_then(|place| interpreter::find("", &place.directory).ok());
    let settings = Settings {
        output: args.report.output,
        color: args.report.color,
        files: args.report.files(),
        // Whether it began before is not known, so that nothing is said about how long it takes.
        live: false,
        again: Again::of_watched(&args.from, reach.reads_only).with_python(python),
    };
    let screen = Screen::new(run.clone(), settings);
    let joins = args.from.scheduler.is_some().then(|| {
        let words = ["seagull", "executor"].map(str::to_owned).into_iter();
        quoted(words.chain(access(args.from.scheduler.as_ref(), &args.from.token, &args.from.tls, None)))
    });
    let session = Session {
        client: reach.client.clone(),
        run: run.clone(),
        screen,
        coverage: None,
        interrupt: Interrupt::Leave(LEAVING),
        live: args.report.live,
        told: None,
        joins,
    };
    let followed = follow(session, &mut signals, future::pending()).await;
    match followed.map_err(|error| unfollowed(&run, error))? {
        End::Finished(code) => Ok(code),
        End::Abandoned => Ok(INTERRUPTED),
    }
}

fn unfollowed(run: &RunId, error: anyhow::Error) -> anyhow::Error {
    error.downcast::<Error>().map_or_else(|error| error, |error| unread(run, error))
}
