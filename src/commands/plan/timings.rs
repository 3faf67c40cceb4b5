//! Durations from a file: a line for each test, under a header that names the columns.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use csv::{ErrorKind, StringRecord};
use seagull_binpacker::{Item, Problem, RelationItems, Risk, ScopeSet, Scopes};

use super::{Named, cap_ms};
use crate::cli::CostArgs;
use crate::duration::millis;
use crate::errors::{usage, warn};
use crate::nearest::nearest;
use crate::report::{count, number, one_line};

/// Columns that are looked at, and one that lists of durations often have.
const COLUMNS: [&str; 7] = ["test_id", "seconds", "sd", "module", "group", "environment", "outcome"];
const HINT: &str =
    "hint: columns are test_id and seconds, and may be sd, module, group, environment and outcome";
/// No test takes longer than a month: it is another unit.
const MOST_SECONDS: f64 = 30.0 * 86_400.0;
/// What is shown of a field.
const SHOWN: usize = 60;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The lists of a file; what tests share is numbered by first use.
#[derive(Debug, Default)]
pub struct Timings {
    tests: Vec<String>,
    items: Vec<Item>,
    /// The module of each.
    module_of: Vec<Option<u32>>,
    modules: Names,
    environments: Names,
    groups: Names,
    /// The tests of each group.
    grouped: Vec<Vec<u32>>,
    varies: bool,
}

#[derive(Debug, Default)]
struct Names {
    numbers: HashMap<String, u32>,
    names: Vec<String>,
}

/// Which field of a line has which column.
#[derive(Debug, Clone, Copy)]
struct Columns {
    at: [Option<usize>; COLUMNS.len()],
}

pub fn read(path: &Path) -> anyhow::Result<Timings> {
    let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let cannot = |error: io::Error| {
        usage(format!(
            "cannot read {name}: {error}\nhint: --timings FILE names a list of durations, - standard input"
        ))
    };
    let file: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(cannot)?)
    };
    let mut reader = BufReader::with_capacity(1 << 16, file);
    if reader.fill_buf().map_err(cannot)?.starts_with(&GZIP) {
        return Err(usage(format!("{name} is compressed\nhint: zcat {name} | seagull plan --timings -")));
    }
    parse(reader).map_err(|error| usage(format!("{name}: {error}")))
}

/// The error names the line.
fn parse(text: impl Read) -> Result<Timings, String> {
    let mut reader = csv::ReaderBuilder::new().from_reader(text);
    let columns = Columns::of(reader.headers().map_err(|error| explain(&error))?)?;
    let mut timings = Timings::default();
    let mut lines: Vec<u64> = Vec::new();
    // The environment of each group, and the line that says so.
    let mut homes: Vec<(u32, u64)> = Vec::new();
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| explain(&error))? {
        let line = record.position().map_or(0, csv::Position::line);
        let row = Row { record: &record, columns };
        timings.add(row, line, &mut homes).map_err(|error| format!("line {line}: {error}"))?;
        lines.push(line);
    }
    timings.each_test_once(&lines)?;
    Ok(timings)
}

fn explain(error: &csv::Error) -> String {
    match error.kind() {
        ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!(
                "line {line}: {} under a header of {expected_len}\n\
                 hint: a field with a comma or a quote in it goes in quotes, as \"a,b\"",
                count(number(*len as usize), "field")
            )
        }
        ErrorKind::Utf8 { pos, .. } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!("line {line}: it is not UTF-8\nhint: iconv -t UTF-8 makes it so")
        }
        _ => error.to_string(),
    }
}

impl Columns {
    fn of(header: &StringRecord) -> Result<Self, String> {
        let mut at = [None; COLUMNS.len()];
        for (place, name) in header.iter().enumerate() {
            let name = name.trim_start_matches('\u{feff}').trim();
            let Some(column) = COLUMNS.iter().position(|column| *column == name) else {
                let shown = one_line(name, SHOWN);
                let meant = nearest(name, COLUMNS).map(|meant| format!("hint: {meant} may be meant\n"));
                return Err(format!("line 1: unknown column {shown:?}\n{}{HINT}", meant.unwrap_or_default()));
            };
            if at[column].replace(place).is_some() {
                return Err(format!("line 1: column {name} is there twice\n{HINT}"));
            }
        }
        match (0..2).find(|&column| at[column].is_none()) {
            Some(column) => Err(format!("line 1: there is no column {}\n{HINT}", COLUMNS[column])),
            None => Ok(Self { at }),
        }
    }
}

/// A line by its columns.
#[derive(Clone, Copy)]
struct Row<'r> {
    record: &'r StringRecord,
    columns: Columns,
}

impl<'r> Row<'r> {
    /// A field, if it is there and not empty.
    fn field(self, column: usize) -> Option<&'r str> {
        self.record.get(self.columns.at[column]?).map(str::trim).filter(|field| !field.is_empty())
    }

    fn micros(self, column: usize) -> Result<Option<u64>, String> {
        self.field(column).map(|text| micros(text).map_err(|why| bad(COLUMNS[column], text, why))).transpose()
    }
}

fn bad(column: &str, text: &str, why: &str) -> String {
    let shown = one_line(text, SHOWN);
    format!("{column} is {shown:?}, {why}\nhint: durations are seconds, such as 0.25 or 12")
}

/// Whole microseconds, up where there is more.
fn micros(text: &str) -> Result<u64, &'static str> {
    let seconds: f64 = text.parse().map_err(|_| "no number")?;
    if !seconds.is_finite() {
        return Err("no finite number");
    }
    if seconds < 0.0 {
        return Err("less than nothing");
    }
    if seconds > MOST_SECONDS {
        return Err("more than 30 days");
    }
    let micros = seconds * 1e6;
    // What is written with six digits is that many, whatever floating point makes of it.
    let nearest = micros.round();
    Ok(if (micros - nearest).abs() < 1e-3 { nearest } else { micros.ceil() } as u64)
}

impl Timings {
    fn add(&mut self, row: Row, line: u64, homes: &mut Vec<(u32, u64)>) -> Result<(), String> {
        let number =
            u32::try_from(self.items.len()).map_err(|_| "more tests than can be counted".to_owned())?;
        let id = row.field(0).ok_or("test_id is missing\nhint: every line needs one")?;
        let missing = "seconds are missing\nhint: a test without a duration needs a guess, or is left out";
        let micros = row.micros(1)?.ok_or(missing)?;
        let sd_micros = row.micros(2)?.unwrap_or_default();
        // Those without one are together, too.
        let environment = self.environments.number(row.field(5).unwrap_or_default());
        let module = row.field(3).map(|module| self.modules.number(module));
        if let Some(group) = row.field(4) {
            let number_of_group = self.groups.number(group) as usize;
            if number_of_group == self.grouped.len() {
                self.grouped.push(Vec::new());
                homes.push((environment, line));
            }
            let (home, there) = homes[number_of_group];
            if home != environment {
                let name = |number: u32| one_line(&self.environments.names[number as usize], SHOWN);
                return Err(format!(
                    "group {:?} is in environment {:?}, but on line {there} in {:?}\n\
                     hint: tests of a group run in one bundle, and environments are never mixed in one",
                    one_line(group, SHOWN),
                    name(environment),
                    name(home),
                ));
            }
            self.grouped[number_of_group].push(number);
        }
        self.varies |= sd_micros > 0;
        self.tests.push(id.to_owned());
        self.items.push(Item { test: number, micros, sd_micros, environment, ..Item::default() });
        self.module_of.push(module);
        Ok(())
    }

    fn each_test_once(&self, lines: &[u64]) -> Result<(), String> {
        let mut seen: HashMap<&str, u64> = HashMap::with_capacity(self.tests.len());
        for (test, &line) in self.tests.iter().zip(lines) {
            if let Some(before) = seen.insert(test, line) {
                let id = one_line(test, SHOWN);
                return Err(format!(
                    "line {line}: test {id:?} is on line {before} already\nhint: each test has one line"
                ));
            }
        }
        Ok(())
    }

    pub fn problem(mut self, costs: &CostArgs) -> Named {
        let setup = costs.scope_setup.map_or(0, millis).saturating_mul(1000);
        if setup > 0 && self.modules.names.is_empty() {
            warn("--scope-setup changes nothing: there is no column module, or it is empty");
        }
        let mut scopes = Scopes::default();
        let sets: Vec<ScopeSet> = self.modules.names.iter().map(|_| scopes.add_alone(setup)).collect();
        for (item, module) in self.items.iter_mut().zip(&self.module_of) {
            item.scopes = module.map_or(ScopeSet::default(), |module| sets[module as usize]);
        }
        let relation = |tests| RelationItems { ordered: false, tests };
        let problem = Problem {
            relations: self.grouped.into_iter().map(relation).collect(),
            scopes,
            fixed_ms: costs.sandbox_start.map_or(0, millis),
            max_tests_per_bundle: u32::MAX,
            risk: if self.varies { Risk::of(costs.overrun, 0.0) } else { Risk::default() },
            ..Problem::new(self.items, cap_ms(costs))
        };
        Named { problem, tests: self.tests, environments: self.environments.names, history: None }
    }
}

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn problem(text: &str) -> Named {
        let costs = CostArgs {
            scope_setup: Some(Duration::from_secs(4)),
            sandbox_start: Some(Duration::from_secs(20)),
            overrun: 0.1,
            ..CostArgs::default()
        };
        parse(text.as_bytes()).unwrap().problem(&costs)
    }

    #[test]
    fn columns_go_by_their_names() {
        let text = "\u{feff}module,test_id, seconds,sd,group,environment,outcome\n\
                    a.py,\"x[1,2]\",2.362198,0.5,db,,passed\n\
                    ,y,0.0000001,,,gpu,failed\n\
                    a.py,z,3,,db,,\n";
        let Named { problem, tests, environments, .. } = problem(text);
        assert_eq!(tests, ["x[1,2]", "y", "z"]);
        assert_eq!(environments, ["", "gpu"]);
        let figures: Vec<_> = problem.items.iter().map(|i| (i.micros, i.sd_micros, i.environment)).collect();
        assert_eq!(figures, [(2_362_198, 500_000, 0), (1, 0, 1), (3_000_000, 0, 0)]);
        let scopes: Vec<_> =
            problem.items.iter().map(|item| problem.scopes.of(item.scopes).to_vec()).collect();
        assert_eq!(scopes, [vec![0], vec![], vec![0]]);
        assert_eq!(problem.scopes.micros(0), 4_000_000);
        assert_eq!(problem.relations, [RelationItems { ordered: false, tests: vec![0, 2] }]);
        assert_eq!((problem.fixed_ms, problem.cap_ms, problem.risk.z_milli), (20_000, 600_000, 1_282));
    }

    #[test]
    fn without_deviations_durations_are_exact() {
        let Named { problem, .. } = problem("test_id,seconds\na,1\n");
        assert_eq!(problem.risk, Risk::default());
        assert!(parse("test_id,seconds\n".as_bytes()).unwrap().items.is_empty());
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_line() {
        let table = [
            ("test_id,seconds\na,1\nb,-1\n", "line 3: seconds is \"-1\", less than nothing\nhint: "),
            ("test_id,seconds\na,NaN\n", "line 2: seconds is \"NaN\", no finite number"),
            ("test_id,seconds\na,inf\n", "line 2: seconds is \"inf\", no finite number"),
            ("test_id,seconds\na,1e400\n", "line 2: seconds is \"1e400\", no finite number"),
            ("test_id,seconds\na,1e9\n", "line 2: seconds is \"1e9\", more than 30 days"),
            ("test_id,seconds\na,\n", "line 2: seconds are missing"),
            ("test_id,seconds\na,fast\n", "line 2: seconds is \"fast\", no number"),
            ("test_id,seconds,sd\na,1,-2\n", "line 2: sd is \"-2\", less than nothing"),
            ("test_id,seconds\n,1\n", "line 2: test_id is missing"),
            ("test_id,seconds\na,1\nb,1\na,2\n", "line 4: test \"a\" is on line 2 already\nhint: "),
            ("test_id,secs\na,1\n", "line 1: unknown column \"secs\"\nhint: seconds may be meant\nhint: "),
            ("test_id,seconds,colour\na,1,x\n", "line 1: unknown column \"colour\"\nhint: columns are"),
            ("test_id,seconds,seconds\na,1,1\n", "line 1: column seconds is there twice"),
            ("test_id,module\na,x\n", "line 1: there is no column seconds"),
            ("", "line 1: there is no column test_id"),
            ("test_id,seconds\na,1,2\n", "line 2: 3 fields under a header of 2"),
            (
                "test_id,seconds,group,environment\na,1,g,x\nb,1,g,y\n",
                "line 3: group \"g\" is in environment \"y\", but on line 2 in \"x\"\nhint: ",
            ),
        ];
        for (text, expected) in table {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.starts_with(expected), "{text:?}: {error}");
            assert!(error.contains("\nhint: "), "{error}");
        }
        let error = parse(&b"test_id,seconds\na,1\n\xff,1\n"[..]).unwrap_err();
        assert!(error.starts_with("line 3: it is not UTF-8"), "{error}");
    }
}
