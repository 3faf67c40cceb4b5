//! What a person reads when a run is over: everything that is not green, where the time went, what to do next, and the
//! verdict on the last line.

mod next;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::io::{self, Write};

use seagull_domain::{ExecutorId, PlanSummary, SuiteError, TestCause, TestIndex, Verdict};

use super::ci::{Annotation, Kind, Lines, Log};
use super::record::{Execution, TestRecord};
use super::tally::Tally;
use super::text::{Paint, clean, count, duration, message, micros, millis, number, one_line, parts, times};
use super::{Closing, Texts};
use super::{held, left};
use crate::memory;

/// So many failures are shown with what they printed; the rest in a line each.
pub const IN_FULL: usize = 20;
/// So many are shown at all.
const IN_SHORT: usize = 500;
const SLOWEST: usize = 10;
/// Microseconds of setup or teardown that are worth a word.
const WORTH_A_WORD: u64 = 100_000;
/// Of each list of tests, and of skipped modules.
const LISTED: usize = 10;
/// Of what tests have left.
const LEFT: usize = 3;
/// Lines of captured output of one test: so many of its beginning, so many of its end.
pub const HEAD_LINES: usize = 60;
pub const TAIL_LINES: usize = 60;
const ID_WIDTH: usize = 200;
const MESSAGE_WIDTH: usize = 500;

pub fn write(
    out: &mut impl Write,
    paint: Paint,
    ci: Option<&Log>,
    tally: &Tally,
    closing: &Closing,
) -> io::Result<()> {
    let mut page = Page { out: Lines::new(out, ci), paint, ci, tally };
    page.discovery_failures()?;
    page.failures(closing.texts)?;
    page.suite_errors(closing.texts)?;
    page.not_executed()?;
    page.flaky()?;
    page.skipped_modules()?;
    page.slowest()?;
    page.plan()?;
    page.renewals()?;
    page.losses()?;
    page.left()?;
    page.held()?;
    page.annotations()?;
    page.next_steps(closing)?;
    page.verdict()
}

/// Everything that a run's verdict may rest on, without what tests printed.
pub fn reasons(out: &mut impl Write, paint: Paint, tally: &Tally) -> io::Result<()> {
    let mut page = Page { out: Lines::new(out, None), paint, ci: None, tally };
    page.discovery_failures()?;
    page.failures(&|_| None)?;
    page.suite_errors(&|_| None)?;
    page.not_executed()?;
    page.flaky()?;
    page.skipped_modules()?;
    page.plan()?;
    page.renewals()?;
    page.losses()
}

struct Page<'a, W> {
    out: Lines<'a, W>,
    paint: Paint,
    /// Who shows it, if it is the log of a CI service.
    ci: Option<&'a Log>,
    tally: &'a Tally,
}

impl<'a, W: Write> Page<'a, W> {
    fn heading(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "\n{}", self.paint.bold(format!("── {text} ──")))
    }

    fn id(&self, test: TestIndex) -> String {
        one_line(&self.tally.names.id(test), ID_WIDTH)
    }

    fn failures(&mut self, texts: Texts) -> io::Result<()> {
        let tally = self.tally;
        let failed: Vec<_> = tally.records().filter(|(_, record)| record.is_failure()).collect();
        if failed.is_empty() {
            return Ok(());
        }
        self.heading(&format!("failed: {}", count(number(failed.len()), "test")))?;
        for (test, record) in failed.iter().take(IN_FULL) {
            self.failure(*test, record, texts)?;
        }
        for (test, record) in failed.iter().take(IN_SHORT).skip(IN_FULL) {
            let note = record.failures().last().and_then(|run| run.note.as_ref());
            let said = note.map_or(String::new(), |note| message(&note.message, MESSAGE_WIDTH));
            writeln!(self.out, "{} {}: {said}", self.paint.bad("FAILED"), self.id(*test))?;
        }
        self.more(failed.len(), IN_SHORT)
    }

    fn failure(&mut self, test: TestIndex, record: &TestRecord, texts: Texts) -> io::Result<()> {
        writeln!(self.out, "{} {}", self.paint.bad("FAILED"), self.paint.bold(self.id(test)))?;
        let Some(run) = record.failures().last() else { return Ok(()) };
        let mut facts = run_facts(run);
        if record.runs.len() > 1 {
            facts.push(format!("the last of {} runs", record.runs.len()));
        }
        if record.verdict.is_none() && self.tally.end.is_none() {
            facts.push("not decided yet".to_owned());
        }
        writeln!(self.out, "    {}", self.paint.dim(facts.join(", ")))?;
        let Some(note) = run.note.as_deref() else { return Ok(()) };
        for line in [&note.message, &note.location] {
            if !line.is_empty() {
                writeln!(self.out, "    {}", message(line, MESSAGE_WIDTH))?;
            }
        }
        let Some(text) = note.text.and_then(texts) else { return Ok(()) };
        let fold = self.ci.and_then(|log| log.fold("traceback and output", test.0));
        let Some((begin, end)) = fold else { return self.captured(Some(&text)) };
        self.out.command(&begin)?;
        self.captured(Some(&text))?;
        self.out.command(&end)
    }

    /// What a CI service shows beside the code.
    fn annotations(&mut self) -> io::Result<()> {
        let Some(log) = self.ci else { return Ok(()) };
        let annotation = |(test, record): (TestIndex, &'a TestRecord)| {
            let note = record.failures().last().and_then(|run| run.note.as_deref());
            Annotation {
                title: self.id(test),
                location: note.map_or("", |note| note.location.as_str()),
                message: note.map_or(String::new(), |note| message(&note.message, MESSAGE_WIDTH)),
            }
        };
        let failed = self.tally.records().filter(|(_, record)| record.is_failure()).take(IN_SHORT);
        let mut errors: Vec<_> = failed.map(annotation).collect();
        errors.extend(distinct(&self.tally.suite_errors).iter().take(IN_FULL).map(|(error, _)| Annotation {
            title: one_line(&error.title, ID_WIDTH),
            location: "",
            message: message(&error.message, MESSAGE_WIDTH),
        }));
        let flaky: Vec<_> = self.tally.with_verdict("flaky").take(IN_SHORT).map(annotation).collect();
        let lines = [log.annotate(Kind::Error, &errors), log.annotate(Kind::Warning, &flaky)].concat();
        lines.iter().try_for_each(|line| self.out.command(line))
    }

    fn captured(&mut self, text: Option<&str>) -> io::Result<()> {
        let Some(text) = text.map(clean) else { return Ok(()) };
        let lines: Vec<&str> = text.trim_end().lines().collect();
        let left_out = lines.len().saturating_sub(HEAD_LINES + TAIL_LINES);
        for (place, line) in lines.iter().enumerate() {
            if left_out > 0 && place == HEAD_LINES {
                let note = format!("… {} left out", count(number(left_out), "line"));
                writeln!(self.out, "    {} {}", self.paint.dim("│"), self.paint.dim(note))?;
            }
            if left_out == 0 || !(HEAD_LINES..HEAD_LINES + left_out).contains(&place) {
                let line: String = line.chars().take(MESSAGE_WIDTH).collect();
                writeln!(self.out, "{}", format!("    {} {line}", self.paint.dim("│")).trim_end())?;
            }
        }
        Ok(())
    }

    fn discovery_failures(&mut self) -> io::Result<()> {
        let tally = self.tally;
        for message in &tally.discovery_failures {
            self.heading("discovery failed")?;
            writeln!(self.out, "tried on {}", in_turn(&tally.losses.discoveries))?;
            self.captured(Some(message))?;
        }
        Ok(())
    }

    fn suite_errors(&mut self, texts: Texts) -> io::Result<()> {
        let tally = self.tally;
        if tally.suite_errors.is_empty() {
            return Ok(());
        }
        self.heading(&count(number(tally.suite_errors.len()), "suite error"))?;
        let errors = distinct(&tally.suite_errors);
        for (error, number) in errors.iter().take(IN_FULL) {
            let title = self.paint.bad(one_line(&error.title, ID_WIDTH));
            let often = if *number > 1 { format!(", {}", times(*number)) } else { String::new() };
            writeln!(self.out, "{title}{often}\n    {}", message(&error.message, MESSAGE_WIDTH))?;
            self.captured(error.text.and_then(texts).as_deref())?;
        }
        self.more(errors.len(), IN_FULL)
    }

    fn not_executed(&mut self) -> io::Result<()> {
        let mut by_cause: BTreeMap<_, Vec<TestIndex>> = BTreeMap::new();
        for (test, record) in self.tally.records() {
            if let Some(Verdict::NotExecuted(cause)) = record.verdict {
                by_cause.entry(cause).or_default().push(test);
            }
        }
        for (cause, tests) in by_cause {
            self.heading(&format!("not executed, {cause}: {}", count(number(tests.len()), "test")))?;
            let mut told: Vec<_> = tests.into_iter().map(|test| (test, self.tally.why_lost(test))).collect();
            // Of a run that stopped, those that ran are what is looked for.
            told.sort_by_key(|(_, why)| why.is_none());
            for (test, why) in told.iter().take(LISTED) {
                let why = why.as_ref();
                let why = why.map(|why| format!(": {}", message(why, MESSAGE_WIDTH))).unwrap_or_default();
                writeln!(self.out, "{}{why}", self.id(*test))?;
            }
            self.more(told.len(), LISTED)?;
        }
        Ok(())
    }

    fn flaky(&mut self) -> io::Result<()> {
        let flaky: Vec<_> = self.tally.with_verdict("flaky").collect();
        if flaky.is_empty() {
            return Ok(());
        }
        self.heading(&format!("flaky: {}", count(number(flaky.len()), "test")))?;
        let losses = &self.tally.losses;
        let sick: Vec<_> = flaky.iter().filter_map(|(_, record)| losses.sick(record.failed_on())).collect();
        if !sick.is_empty() {
            let (of_them, executors) = (sick.len(), sick.iter().flatten().collect::<BTreeSet<_>>());
            let executors = executors.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            writeln!(
                self.out,
                "{of_them} of them failed only where an executor was cordoned (tests fail there): {executors}"
            )?;
        }
        for (test, record) in flaky.iter().take(LISTED) {
            let (failed, runs) = (record.failures().count(), record.runs.len());
            let note = record.failures().last().and_then(|run| run.note.as_ref());
            let said = note.map_or(String::new(), |note| message(&note.message, MESSAGE_WIDTH));
            let cordoned =
                losses.sick(record.failed_on()).map_or("", |_| " (only where an executor was cordoned)");
            writeln!(self.out, "{}: failed {failed} of {runs} runs{cordoned}: {said}", self.id(*test))?;
        }
        self.more(flaky.len(), LISTED)
    }

    fn skipped_modules(&mut self) -> io::Result<()> {
        let modules = &self.tally.names.manifest.skipped_modules;
        if modules.is_empty() {
            return Ok(());
        }
        self.heading(&format!("skipped whole: {}", count(number(modules.len()), "module")))?;
        for module in modules.iter().take(LISTED) {
            let path = one_line(&module.path, ID_WIDTH);
            writeln!(self.out, "{path}: {}", message(&module.reason, MESSAGE_WIDTH))?;
        }
        self.more(modules.len(), LISTED)
    }

    fn slowest(&mut self) -> io::Result<()> {
        let slowest = self.tally.slowest(SLOWEST);
        if slowest.is_empty() {
            return Ok(());
        }
        self.heading("slowest")?;
        for (test, run) in slowest {
            let most = fixtures(run).map(|most| self.paint.dim(format!("  ({most})"))).unwrap_or_default();
            writeln!(self.out, "{:>12}  {}{most}", micros(run.micros()), self.id(test))?;
        }
        Ok(())
    }

    /// The plan against what happened. No schedule is shorter than the mean load of a slot or than the longest test:
    /// the slots are the plan's, more where others joined. A run that stopped has not carried out its plan.
    fn plan(&mut self) -> io::Result<()> {
        let tally = self.tally;
        let carried_out = tally.stopping.is_none();
        let Some(plan) = tally.plan.as_ref().filter(|plan| plan.bundles > 0 && carried_out) else {
            return Ok(());
        };
        self.heading("plan against what happened")?;
        let work = &tally.work;
        let slots = plan.slots.max(number(work.slots.len())).max(1);
        let bound = (work.total_us / u64::from(slots)).max(work.longest_us);
        writeln!(self.out, "            predicted      happened")?;
        writeln!(self.out, "makespan    {:<13}  {}", millis(plan.makespan_ms), self.makespan())?;
        writeln!(self.out, "all tests   {:<13}  {}", millis(plan.total_ms), micros(work.total_us))?;
        writeln!(self.out, "longest     {:<13}  {}", millis(plan.longest_ms), micros(work.longest_us))?;
        let least = predicted_bound(plan);
        writeln!(self.out, "at least    {:<13}  {}", millis(least), micros(bound))?;
        if plan.lower_bound == 0 {
            return Ok(());
        }
        let fewest = match plan.bundles.saturating_sub(plan.lower_bound) {
            0 => String::new(),
            gap => format!(" than {}: a gap of {gap}", plan.lower_bound),
        };
        let bound = one_line(&plan.bound, ID_WIDTH);
        writeln!(self.out, "bundles     {:<13}  no plan has fewer{fewest} ({bound})", plan.bundles)
    }

    fn makespan(&self) -> String {
        let clock = self.tally.clock;
        match clock.working {
            _ if !clock.live => {
                let least = if self.tally.work.is_partly_untimed { "at least " } else { "" };
                self.tally
                    .elapsed()
                    .map_or("not known".to_owned(), |took| format!("{least}{}", duration(took)))
            }
            Some(working) => duration(clock.ended.unwrap_or(clock.now) - working),
            None => "nothing ran".to_owned(),
        }
    }

    /// Once, however often: it may be every test.
    fn renewals(&mut self) -> io::Result<()> {
        let tally = self.tally;
        let limit = tally.spec.as_ref().and_then(|spec| spec.worker_memory_kib);
        let (Some(limit), Some((most, test))) = (limit, tally.work.most_memory) else { return Ok(()) };
        self.heading("workers renewed for their memory")?;
        let (limit, most) = (memory::kib(limit), memory::kib(most));
        let tests = count(tally.work.over_memory, "test");
        writeln!(
            self.out,
            "after {tests} a worker had more than {limit}; most after {}: {most}",
            self.id(test)
        )
    }

    /// What is still there of the run.
    fn held(&mut self) -> io::Result<()> {
        let tally = self.tally;
        if tally.held.is_empty() {
            return Ok(());
        }
        self.heading("held")?;
        for (test, hold, executor) in tally.held.iter().take(LISTED) {
            writeln!(self.out, "{}", held::told(tally, *test, hold, executor))?;
        }
        self.more(tally.held.len(), LISTED)
    }

    /// What would have outlived the run.
    fn left(&mut self) -> io::Result<()> {
        let (worst, all) = left::worst(self.tally, LEFT);
        if all == 0 {
            return Ok(());
        }
        self.heading("left running, and killed")?;
        worst.iter().try_for_each(|told| writeln!(self.out, "{told}"))?;
        self.more(all, worst.len())
    }

    fn losses(&mut self) -> io::Result<()> {
        let losses = &self.tally.losses;
        if losses.is_empty() {
            return Ok(());
        }
        self.heading("lost")?;
        let executors =
            grouped(losses.executors.iter().map(|(executor, cause)| (executor, *cause)), |lost| lost);
        for ((executor, cause), often) in executors.iter().take(LISTED) {
            let often = if *often > 1 { format!(", {}", times(*often)) } else { String::new() };
            writeln!(self.out, "{executor}: {cause}{often}")?;
        }
        self.more(executors.len(), LISTED)?;
        // Those that went with their executors are told of with these.
        let known = |executor, cause| executors.iter().any(|(of, _)| *of == (executor, cause));
        let attempts = losses.attempts.iter().filter(|((executor, cause), _)| !known(executor, *cause));
        let attempts: Vec<_> = attempts.collect();
        for ((executor, cause), lost) in attempts.iter().take(LISTED) {
            let how = if cause.is_charged() { "lost" } else { "given back" };
            let said = message(&lost.said, MESSAGE_WIDTH);
            let said = if said.is_empty() { said } else { format!(": {said}") };
            writeln!(self.out, "{executor}: {} {how} ({cause}){said}", count(lost.attempts, "attempt"))?;
        }
        self.more(attempts.len(), LISTED)?;
        for (executor, (sickness, is_cordoned)) in losses.cordoned.iter().take(LISTED) {
            let back = if *is_cordoned { "" } else { ", and came back" };
            writeln!(self.out, "{executor}: was cordoned ({sickness} there){back}")?;
        }
        self.more(losses.cordoned.len(), LISTED)?;
        self.consequences()
    }

    /// What the losses did to tests: no loss is a failure, but that of a test that kills its executors is.
    fn consequences(&mut self) -> io::Result<()> {
        let tally = self.tally;
        let lost = tally.losses.lost_attempts();
        let mut told = Vec::new();
        if lost > 0 {
            told.push(format!("{} lost, which is no failure of a test", count(lost, "attempt")));
        }
        if tally.given_up > 0 {
            told.push(format!("{} given up without a result", count(tally.given_up, "test")));
        }
        let is_poison =
            |run: &Execution| run.note.as_ref().is_some_and(|note| note.cause == Some(TestCause::Poison));
        let poison = tally.tests.iter().filter(|test| test.failures().any(is_poison)).count();
        if poison > 0 {
            told.push(format!(
                "{} failed as poison: executors are lost by it",
                count(number(poison), "test")
            ));
        }
        told.extend(tally.limit().map(|limit| format!("the run stopped, for {limit}")));
        if told.is_empty() { Ok(()) } else { writeln!(self.out, "{}", told.join("; ")) }
    }

    /// `passed: 6908 tests in 61 s (6874 passed, 34 skipped) on 2 slots`
    fn verdict(&mut self) -> io::Result<()> {
        let tally = self.tally;
        let counts = tally.counts;
        let parts = parts(&counts, "without a verdict");
        let mut text = count(counts.total, "test");
        if let Some(elapsed) = tally.elapsed() {
            text += &format!(" in {}", duration(elapsed));
        }
        if !parts.is_empty() {
            text += &format!(" ({parts})");
        }
        if !tally.suite_errors.is_empty() {
            text += &format!(" and {}", count(number(tally.suite_errors.len()), "suite error"));
        }
        if !tally.work.slots.is_empty() {
            text += &format!(" on {}", count(number(tally.work.slots.len()), "slot"));
        }
        writeln!(self.out, "{}: {text}", self.paint.run_verdict(tally.end))
    }

    fn more(&mut self, all: usize, shown: usize) -> io::Result<()> {
        match all.checked_sub(shown) {
            None | Some(0) => Ok(()),
            Some(more) => writeln!(self.out, "{}", self.paint.dim(format!("+{more} more"))),
        }
    }
}

/// Suite errors with how often each was told: workers that end alike tell the same.
fn distinct(errors: &[SuiteError]) -> Vec<(&SuiteError, u32)> {
    grouped(errors, |error| (&error.title, &error.message))
}

/// The first of each key with how often that is there, in the order in which they came.
fn grouped<T: Copy, K: Eq + Hash>(items: impl IntoIterator<Item = T>, key: impl Fn(T) -> K) -> Vec<(T, u32)> {
    let mut groups = Vec::new();
    let mut places = HashMap::new();
    for item in items {
        let place = *places.entry(key(item)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, often)) => *often += 1,
            None => groups.push((item, 1)),
        }
    }
    groups
}

/// `a, b (2 times)`
fn in_turn(executors: &[ExecutorId]) -> String {
    let often = |often| if often > 1 { format!(" ({})", times(often)) } else { String::new() };
    let each = grouped(executors, |executor| executor)
        .into_iter()
        .map(|(executor, number)| format!("{executor}{}", often(number)));
    each.collect::<Vec<_>>().join(", ")
}

fn predicted_bound(plan: &PlanSummary) -> u64 {
    (plan.total_ms / u64::from(plan.slots.max(1))).max(plan.longest_ms)
}

fn run_facts(run: &Execution) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some(note) = run.note.as_deref() {
        facts.extend(note.cause.map(|cause| cause.to_string()));
        facts.extend(Some(one_line(&note.detail, ID_WIDTH)).filter(|detail| !detail.is_empty()));
        facts.push(format!("{} on {}", micros(run.micros()), note.executor));
    }
    facts
}

/// The fixtures' share of an execution, where that is most of it: then it is not the test that is slow.
fn fixtures(run: &Execution) -> Option<String> {
    let [setup, _, teardown] = run.phases;
    let (word, most) = if setup >= teardown { ("setup", setup) } else { ("teardown", teardown) };
    (most >= WORTH_A_WORD && most > run.micros() / 2).then(|| format!("{word} {}", micros(most)))
}
