//! What to do after a run, and where its reports are.

use std::io::{self, Write};

use seagull_domain::{Framework, RunSpec, RunVerdict};

use super::Page;
use crate::framework;
use crate::report::Closing;
use crate::report::text::clean;

impl<W: Write> Page<'_, W> {
    pub(super) fn next_steps(&mut self, closing: &Closing) -> io::Result<()> {
        let (counts, run) = (self.tally.counts, &self.tally.run);
        writeln!(self.out)?;
        if counts.total == 0 {
            self.no_tests(closing)?;
        }
        if counts.total == 0 && self.tally.end == Some(RunVerdict::Incomplete) && !self.is_by_last_run() {
            writeln!(self.out, "find out what is wrong: {}", closing.again.doctor())?;
        }
        if let Some(command) = closing.again.failed(run).filter(|_| counts.failed > 0) {
            writeln!(self.out, "rerun what failed:      {command}")?;
        }
        if let Some(command) = closing.again.not_passed(run).filter(|_| counts.not_executed > 0) {
            writeln!(self.out, "run what did not pass:  {command}")?;
        }
        if self.tally.end.is_none() {
            writeln!(self.out, "let it go on:           the same command with --run-id {run}")?;
        }
        for (name, path) in closing.written {
            writeln!(self.out, "{:<24}{}", format!("{name} report:"), path.display())?;
        }
        Ok(())
    }

    /// Whether only what tests came to before selects them.
    fn is_by_last_run(&self) -> bool {
        let by_last_run = |text: &String| text == "last-failed" || text == "not-passed";
        let select = self.tally.spec.as_ref().map_or(&[][..], |spec| &spec.select);
        !select.is_empty() && select.iter().all(by_last_run)
    }

    /// Why there may be no tests, where nothing else says it.
    fn no_tests(&mut self, closing: &Closing) -> io::Result<()> {
        let tally = self.tally;
        match (tally.end, &tally.spec) {
            (Some(RunVerdict::Passed), _) => writeln!(
                self.out,
                "nothing to run: the selection goes by the last run, which left nothing for it"
            ),
            (Some(RunVerdict::Incomplete), Some(spec)) if tally.plan.is_some() && self.is_by_last_run() => {
                writeln!(
                    self.out,
                    "nothing to run: no test is selected by {}\n\
                     hint: seagull runs lists the runs before, and seagull explain RUN says why one did not pass",
                    spec.select.join(" or ")
                )
            }
            (Some(RunVerdict::Incomplete), Some(spec)) if tally.plan.is_some() => {
                let select = if spec.select.is_empty() { "" } else { "--select, " };
                let (look, command) = (decides(spec), clean(&closing.again.listing(spec)));
                writeln!(
                    self.out,
                    "nothing to run\nhint: look at {select}{look}\nwhat is discovered:     {command}"
                )?;
                closing.again.sign_of_another.map_or(Ok(()), |sign| {
                    writeln!(self.out, "hint: there is a {sign}: {}", framework::BY_COMMAND)
                })
            }
            _ => Ok(()),
        }
    }
}

/// What decides which tests there are.
fn decides(spec: &RunSpec) -> &'static str {
    match &spec.suite.framework {
        Framework::Pytest => "the paths, the arguments after --, and pytest's testpaths, addopts and rootdir",
        Framework::Cargo | Framework::Built(_) => {
            "the filter, which is a part of tests' names and no path, the arguments after --, and the packages that cargo test takes here"
        }
        Framework::Command(_) => "what [command] discover in seagull.toml writes, an id a line",
    }
}
