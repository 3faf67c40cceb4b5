//! What is shown of a plan: a table and a histogram for people, an object for programs.

use std::io::{self, Write};

use seagull_binpacker::{Bundle, Plan};
use serde::Serialize;

use super::slots::{self, Slots};
use super::{Named, Planned};
use crate::commands::health;
use crate::report::{Paint, count, micros, number, one_line};

/// Bundles in the table; what is behind them is in the histogram.
const ROWS: usize = 20;
/// Of an id.
const WIDTH: usize = 80;
/// Of the histogram, in characters, and its bars.
const BAR: usize = 50;
const STEPS: usize = 10;
/// Of what stands against a smaller cap.
const BLOCKERS: usize = 3;

#[derive(Serialize)]
struct Object<'a> {
    bundle_count: usize,
    lower_bound: u32,
    /// What proves the lower bound.
    bound: String,
    gap: u32,
    proven: bool,
    /// To plan.
    seconds: f64,
    stage: String,
    /// What the solver left to greedy, where a gap is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    unsolved: Option<String>,
    repeatable: bool,
    tests: usize,
    cap_seconds: f64,
    test_seconds: f64,
    setup_seconds: f64,
    repeated_setup_seconds: f64,
    oversize: Vec<Oversize<'a>>,
    blockers: Vec<Blocker<'a>>,
    #[serde(skip_serializing_if = "<[Slots]>::is_empty")]
    slots: &'a [Slots],
    #[serde(skip_serializing_if = "Option::is_none")]
    knee: Option<u32>,
    /// Of a suite, what its history says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<&'a health::Report>,
    bundles: Vec<AsObject<'a>>,
}

#[derive(Serialize)]
struct AsObject<'a> {
    tests: Vec<&'a str>,
    /// Predicted, with what it pays before its tests.
    seconds: f64,
    setup_seconds: f64,
    sd_seconds: f64,
    /// The probability that it is longer than the cap.
    overrun: f64,
    #[serde(skip_serializing_if = "str::is_empty")]
    environment: &'a str,
}

#[derive(Serialize)]
struct Oversize<'a> {
    bundle: u32,
    tests: Vec<&'a str>,
}

#[derive(Serialize)]
struct Blocker<'a> {
    tests: Vec<&'a str>,
    seconds: f64,
    /// The smallest cap that it can have.
    cap_seconds: f64,
}

pub fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn setup(plan: &Plan) -> u64 {
    plan.bundles.iter().fold(0, |sum, bundle| sum.saturating_add(bundle.setup_micros))
}

fn of_tests(plan: &Plan) -> u64 {
    plan.bundles.iter().fold(0, |sum, bundle| sum.saturating_add(bundle.micros))
}

/// One object on a line.
pub fn object(out: &mut impl Write, planned: &Planned) -> io::Result<()> {
    let Planned { named, plan, took, slots } = planned;
    let bundle = |bundle: &'_ Bundle| AsObject {
        tests: bundle.tests.iter().map(|&test| named.test(test)).collect(),
        seconds: seconds(bundle.total_micros()),
        setup_seconds: seconds(bundle.setup_micros),
        sd_seconds: seconds(bundle.sd_micros),
        overrun: f64::from(bundle.overrun_ppm) / 1e6,
        environment: named.environment(bundle),
    };
    let object = Object {
        bundle_count: plan.bundles.len(),
        lower_bound: plan.lower_bound,
        bound: plan.bound.to_string(),
        gap: plan.gap(),
        proven: plan.is_proven(),
        seconds: took.as_secs_f64(),
        stage: plan.stage.to_string(),
        unsolved: plan.unsolved.map(|why| why.to_string()),
        repeatable: plan.repeatable,
        tests: named.tests.len(),
        cap_seconds: seconds(plan.cap_micros),
        test_seconds: seconds(of_tests(plan)),
        setup_seconds: seconds(setup(plan)),
        repeated_setup_seconds: seconds(plan.repeated_setup_micros),
        oversize: plan
            .oversize
            .iter()
            .map(|o| Oversize { bundle: o.bundle, tests: named.ids(&o.part) })
            .collect(),
        blockers: plan.blockers.iter().map(|blocker| named.blocker(blocker)).collect(),
        slots,
        knee: slots::knee(slots),
        history: named.history.as_ref(),
        bundles: plan.bundles.iter().map(bundle).collect(),
    };
    serde_json::to_writer(&mut *out, &object)?;
    out.write_all(b"\n")
}

impl Named {
    pub fn environment(&self, bundle: &Bundle) -> &str {
        self.environments.get(bundle.environment as usize).map_or("", String::as_str)
    }

    fn blocker<'a>(&'a self, blocker: &'a seagull_binpacker::Blocker) -> Blocker<'a> {
        Blocker {
            tests: self.ids(&blocker.part),
            seconds: seconds(blocker.micros),
            cap_seconds: seconds(blocker.cap_micros),
        }
    }
}

pub fn text(out: &mut impl Write, planned: &Planned, paint: Paint) -> io::Result<()> {
    let Planned { named, plan, slots, .. } = planned;
    summary(out, planned, paint)?;
    if let Some(history) = &named.history {
        writeln!(out, "history: {}", history.line())?;
        history.warnings.iter().try_for_each(|text| writeln!(out, "{} {text}", paint.odd("warning:")))?;
    }
    if !plan.bundles.is_empty() {
        writeln!(out)?;
        table(out, named, plan, paint)?;
        writeln!(out)?;
        histogram(out, plan, paint)?;
    }
    exceptions(out, named, plan, paint)?;
    if !slots.is_empty() {
        writeln!(out)?;
        of_slots(out, slots, paint)?;
    }
    Ok(())
}

/// How many bundles, how few there could be, and what they pay.
pub fn summary(out: &mut impl Write, planned: &Planned, paint: Paint) -> io::Result<()> {
    verdict(out, planned, paint)?;
    costs(out, &planned.plan)
}

/// How many bundles, and how few there could be.
fn verdict(out: &mut impl Write, planned: &Planned, paint: Paint) -> io::Result<()> {
    let Planned { named, plan, took, .. } = planned;
    let bundles = count(number(plan.bundles.len()), "bundle");
    let tests = count(number(named.tests.len()), "test");
    let cap = micros(plan.cap_micros);
    writeln!(out, "{} of {tests}, at most {cap} each", paint.bold(&bundles))?;
    let least = count(plan.lower_bound, "bundle");
    let proof = if plan.is_proven() {
        paint.good(format!("proven: no plan has fewer ({})", plan.bound))
    } else {
        paint.odd(format!("no plan has fewer than {least} ({}): a gap of {}", plan.bound, plan.gap()))
    };
    let again = if plan.repeatable { "" } else { "; stopped by the time limit, so not repeatable" };
    writeln!(out, "{proof}; found by {} in {:.3} s{again}", plan.stage, took.as_secs_f64())?;
    plan.unsolved.map_or(Ok(()), |why| writeln!(out, "{why}"))
}

fn costs(out: &mut impl Write, plan: &Plan) -> io::Result<()> {
    let (tests, setup) = (of_tests(plan), setup(plan));
    let all = tests.saturating_add(setup);
    let share = if all == 0 { 0.0 } else { setup as f64 / all as f64 * 100.0 };
    let repeated = plan.repeated_setup_micros;
    write!(out, "{} of tests, {} of setup ({share:.1} %)", micros(tests), micros(setup))?;
    match repeated {
        0 => writeln!(out),
        _ => writeln!(out, ", {} of it paid more than once", micros(repeated)),
    }
}

fn table(out: &mut impl Write, named: &Named, plan: &Plan, paint: Paint) -> io::Result<()> {
    let varies = plan.bundles.iter().any(|bundle| bundle.sd_micros > 0);
    let several = named.environments.len() > 1;
    let head = format!("{:>7}  {:>7}  {:>12}  {:>12}  {:>5}", "bundle", "tests", "seconds", "setup", "fill");
    let head = if varies { format!("{head}  {:>10}  {:>8}", "deviation", "overrun") } else { head };
    let head = if several { format!("{head}  environment") } else { head };
    writeln!(out, "{}", paint.dim(&head))?;
    for (place, bundle) in plan.bundles.iter().enumerate().take(ROWS) {
        write!(
            out,
            "{:>7}  {:>7}  {:>12.3}  {:>12.3}  {:>3.0} %",
            place + 1,
            bundle.tests.len(),
            seconds(bundle.total_micros()),
            seconds(bundle.setup_micros),
            fill(bundle, plan) * 100.0,
        )?;
        if varies {
            let overrun = f64::from(bundle.overrun_ppm) / 1e4;
            write!(out, "  {:>10.3}  {overrun:>6.1} %", seconds(bundle.sd_micros))?;
        }
        if several {
            let name = Some(named.environment(bundle)).filter(|name| !name.is_empty());
            write!(out, "  {}", one_line(name.unwrap_or("-"), WIDTH))?;
        }
        writeln!(out)?;
    }
    match plan.bundles.len().saturating_sub(ROWS) {
        0 => Ok(()),
        more => writeln!(out, "{:>7}  {more} more; --output json has them all", "…"),
    }
}

/// How much of the cap a bundle takes.
pub fn fill(bundle: &Bundle, plan: &Plan) -> f64 {
    bundle.total_micros() as f64 / (plan.cap_micros as f64).max(1.0)
}

/// How many bundles are how full.
fn histogram(out: &mut impl Write, plan: &Plan, paint: Paint) -> io::Result<()> {
    let mut steps = [0usize; STEPS + 1];
    for bundle in &plan.bundles {
        // What is exactly full belongs to the last step below it; what is longer than the cap is in one of its own.
        let step = ((fill(bundle, plan) * STEPS as f64).ceil() as usize).clamp(1, STEPS + 1);
        steps[step - 1] += 1;
    }
    let most = steps.iter().copied().max().unwrap_or_default().max(1);
    for (step, bundles) in steps.into_iter().enumerate() {
        let range = if step == STEPS {
            "over the cap".to_owned()
        } else {
            format!("{:>3} - {:>3} %", step * 100 / STEPS, (step + 1) * 100 / STEPS)
        };
        if step == STEPS && bundles == 0 {
            continue;
        }
        let bar = "█".repeat((bundles * BAR).div_ceil(most));
        let line = format!("{range:>12}  {bundles:>7}  {}", paint.dim(bar));
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// What is over the cap, and what stands against a smaller one.
pub fn exceptions(out: &mut impl Write, named: &Named, plan: &Plan, paint: Paint) -> io::Result<()> {
    for oversize in plan.oversize.iter().take(ROWS) {
        let what = name(&named.ids(&oversize.part));
        let why = "too much for a bundle by itself, with all that this pays";
        writeln!(out, "{} bundle {}: {what}: {why}", paint.odd("oversize"), oversize.bundle + 1)?;
    }
    if plan.oversize.len() > ROWS {
        writeln!(out, "{} more are oversize; --output json names them", plan.oversize.len() - ROWS)?;
    }
    for blocker in plan.blockers.iter().take(BLOCKERS) {
        let what = name(&named.ids(&blocker.part));
        writeln!(out, "a cap below {} would not do for {what}", micros(blocker.cap_micros))?;
    }
    Ok(())
}

fn name(ids: &[&str]) -> String {
    match ids {
        [one] => one_line(one, WIDTH),
        [first, rest @ ..] => format!("{} and {} tied to it", one_line(first, WIDTH), rest.len()),
        [] => String::new(),
    }
}

pub fn of_slots(out: &mut impl Write, slots: &[Slots], paint: Paint) -> io::Result<()> {
    let knee = slots::knee(slots);
    let head = format!(
        "{:>7}  {:>7}  {:>14}  {:>14}  {:>8}",
        "slots", "bundles", "makespan", "slot-seconds", "overhead"
    );
    writeln!(out, "{}", paint.dim(head))?;
    for row in slots {
        let makespan = micros((row.makespan_seconds * 1e6) as u64);
        let overhead = row.overhead * 100.0;
        let mark = if knee == Some(row.slots) { "  more hardly pay" } else { "" };
        writeln!(
            out,
            "{:>7}  {:>7}  {makespan:>14}  {:>14.0}  {overhead:>6.1} %{mark}",
            row.slots, row.bundles, row.slot_seconds,
        )?;
    }
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use std::time::Duration;

    use seagull_binpacker::{Item, Problem, RelationItems, Risk, Scopes, pack};

    use super::*;
    use crate::golden;

    pub fn planned(varies: bool) -> Planned {
        let mut scopes = Scopes::default();
        let files = [scopes.add_alone(4_000_000), scopes.add_alone(4_000_000)];
        let item = |test: u32| Item {
            test,
            micros: 20_000_000 + u64::from(test) * 3_000_000,
            sd_micros: if varies { 2_000_000 } else { 0 },
            scopes: files[test as usize / 15],
            environment: u32::from(varies && test > 25),
        };
        let mut items: Vec<Item> = (0..30).map(item).collect();
        items[7].micros = 700_000_000;
        let problem = Problem {
            scopes,
            fixed_ms: 20_000,
            relations: vec![RelationItems { ordered: false, tests: vec![28, 29] }],
            risk: if varies { Risk::of(0.1, 0.0) } else { Risk::default() },
            ..Problem::new(items, 600_000)
        };
        let plan = pack(&problem).unwrap();
        let tests = (0..30).map(|test| format!("tests/test_{}.py::test[{test}]", test / 15)).collect();
        let environments = if varies { vec![String::new(), "gpu".to_owned()] } else { Vec::new() };
        let slots = [2, 4, 8].map(|slots| {
            let problem = Problem { slots: Some(slots), ..problem.clone() };
            Slots::of(slots, &pack(&problem).unwrap())
        });
        let named = Named { problem, tests, environments, history: None };
        Planned { named, plan, took: Duration::from_millis(12), slots: slots.into() }
    }

    #[test]
    fn a_plan_is_shown_as_approved() {
        let written = |write: &dyn Fn(&mut Vec<u8>) -> io::Result<()>| {
            let mut out = Vec::new();
            write(&mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let exact = planned(false);
        golden::check("plan.txt", &written(&|out| text(out, &exact, Paint::PLAIN)));
        golden::check("plan.json", &written(&|out| object(out, &exact)));
        let varying = Planned { slots: Vec::new(), ..planned(true) };
        golden::check("plan-varying.txt", &written(&|out| text(out, &varying, Paint::PLAIN)));
    }

    #[test]
    fn nothing_is_planned_too() {
        let problem = Problem::new(Vec::new(), 600_000);
        let plan = pack(&problem).unwrap();
        let named = Named { problem, tests: Vec::new(), environments: Vec::new(), history: None };
        let planned = Planned { named, plan, took: Duration::ZERO, slots: Vec::new() };
        let mut out = Vec::new();
        text(&mut out, &planned, Paint::PLAIN).unwrap();
        assert!(String::from_utf8(out).unwrap().starts_with("0 bundles of 0 tests"));
    }
}
