//! What packing takes and comes to: known optima, setups, scale, real durations, calibration.
//!
//! Writes a result to standard output, one thread, CPU seconds. `--bpplib DIR` has the instances of BPPLIB as `.tsv`, of which
//! the best known number is one column; `--durations DIR` has lists of durations as `.csv.gz`. What is not given is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use seagull_binpacker::{
    Algorithm, Bound, Budget, Item, Plan, Problem, Risk, ScopeSet, Scopes, Stage, pack, pack_within,
};

fn main() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
    let case = env::args().skip_while(|argument| argument != "--memory").nth(1);
    pool.expect("one thread").install(|| match case.and_then(|case| case.parse::<usize>().ok()) {
        Some(case) => memory(case),
        None => result(),
    });
}

fn result() {
    let (bpplib, durations) = (directory("--bpplib"), directory("--durations"));
    println!("# Packing\n\n{}\n", circumstances());
    println!(
        "One thread. `cargo bench --profile dev --workspace --bench packing -- --bpplib DIR --durations DIR`.\n"
    );
    setups();
    few_a_bundle();
    calibration();
    if let Some(directory) = bpplib {
        known_optima(&directory);
    }
    if let Some(directory) = durations {
        real(&directory);
    }
}

fn directory(option: &str) -> Option<PathBuf> {
    let mut arguments = env::args().skip_while(|argument| argument != option);
    arguments.nth(1).map(PathBuf::from)
}

fn circumstances() -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    let (date, commit) = (said("date", &["+%F"]), said("git", &["describe", "--always", "--dirty"]));
    format!("{date}, commit {commit}, {model}, load {load}.")
}

/// CPU seconds of this thread so far.
fn cpu() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|field| field.parse::<u64>().ok());
    nanos.unwrap_or_default() as f64 / 1e9
}

fn packed(problem: &Problem) -> (Plan, f64) {
    let began = cpu();
    let plan = pack(problem).expect("the problem is sound");
    (plan, cpu() - began)
}

/// First fit decreasing of sizes, by a maximum segment tree over the bins' room: the number of bins.
fn first_fit(mut sizes: Vec<u64>, capacity: u64) -> usize {
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    bins_of(&sizes, capacity).into_iter().max().map_or(0, |last| last + 1)
}

/// The bin of each size, in the order given, by first fit.
fn bins_of(sizes: &[u64], capacity: u64) -> Vec<usize> {
    let leaves = sizes.len().next_power_of_two().max(1);
    let mut room = vec![capacity; 2 * leaves];
    let place = |&size: &u64| {
        let mut node = 1;
        while node < leaves {
            node = if room[2 * node] >= size { 2 * node } else { 2 * node + 1 };
        }
        room[node] = room[node].saturating_sub(size);
        let bin = node - leaves;
        while node > 1 {
            node /= 2;
            room[node] = room[2 * node].max(room[2 * node + 1]);
        }
        bin
    };
    sizes.iter().map(place).collect()
}

/// A small generator (SplitMix64), so that a seed names a suite.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller).
    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.share()).ln()).sqrt() * (std::f64::consts::TAU * self.share()).cos()
    }

    fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }
}

/// The most MiB that were resident so far.
fn resident() -> f64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
}

fn memory(case: usize) {
    let before = resident();
    let (tests, median, fixture, vary) = CASES[case];
    let _plan = packed(&modules(tests, median, fixture, vary));
    println!("{:.0}", resident() - before);
}

/// What a plan takes in a process of its own: `--memory CASE` prints it, beyond what the process has without.
fn memory_of_case(case: usize) -> String {
    let this = env::current_exe().expect("a path");
    let output = Command::new(this).args(["--memory", &case.to_string()]).output().expect("it runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// About 13 tests a module, log-normal around a median, each module with a fixture. Where they vary, each deviates by a tenth
/// of its mean to all of it, and one bundle in ten may be over the cap.
fn modules(tests: u32, median: f64, fixture: f64, vary: bool) -> Problem {
    let mut random = Random(u64::from(tests));
    let mut scopes = Scopes::default();
    let mut module = ScopeSet::default();
    let items = (0..tests).map(|test| {
        if test % 13 == 0 {
            module = scopes.add_alone((random.log_normal(fixture, 0.5) * 1e6) as u64);
        }
        let micros = (random.log_normal(median, 1.0).min(500.0) * 1e6) as u64;
        let sd_micros = if vary { micros / 100 * (10 + random.next() % 91) } else { 0 };
        Item { test, micros, sd_micros, scopes: module, ..Item::default() }
    });
    let items = items.collect();
    let risk = if vary { Risk::of(0.1, 0.0) } else { Risk::default() };
    Problem { scopes, risk, ..Problem::new(items, 600_000) }
}

/// Single tests by first fit decreasing that does not know of setups: bundles, those over the cap, and their mean in seconds.
fn module_blind(problem: &Problem) -> (usize, usize, f64) {
    let cap = problem.cap_ms * 1000;
    let mut order: Vec<&Item> = problem.items.iter().collect();
    order.sort_by_key(|item| std::cmp::Reverse(item.micros));
    let sizes: Vec<u64> = order.iter().map(|item| item.micros).collect();
    let mut bins: BTreeMap<usize, (u64, BTreeSet<u32>)> = BTreeMap::new();
    for (item, bin) in order.iter().zip(bins_of(&sizes, cap)) {
        let (load, paid) = bins.entry(bin).or_default();
        *load += item.micros;
        for &scope in problem.scopes.of(item.scopes) {
            *load += if paid.insert(scope) { problem.scopes.micros(scope) } else { 0 };
        }
    }
    let over = bins.values().filter(|(load, _)| *load > cap).count();
    let mean = bins.values().map(|(load, _)| *load as f64 / 1e6).sum::<f64>() / bins.len().max(1) as f64;
    (bins.len(), over, mean)
}

/// Modules by best fit decreasing, each whole where it fits, and else cut in order: the number of bundles.
fn by_modules(problem: &Problem) -> usize {
    let cap = problem.cap_ms * 1000;
    let mut blocks: Vec<u64> = Vec::new();
    let mut module = None;
    for item in &problem.items {
        match blocks.last_mut().filter(|_| module == Some(item.scopes)) {
            Some(block) if *block + item.micros <= cap => *block += item.micros,
            _ => blocks.push(item.micros + problem.scopes.sum(problem.scopes.of(item.scopes))),
        }
        module = Some(item.scopes);
    }
    blocks.sort_unstable_by(|a, b| b.cmp(a));
    let mut room: BTreeSet<(u64, usize)> = BTreeSet::new();
    let mut bins = 0;
    for block in blocks {
        let (left, bin) = room.range((block, 0)..).next().copied().unwrap_or((cap, bins));
        bins += usize::from(!room.remove(&(left, bin)));
        room.insert((left.saturating_sub(block), bin));
    }
    bins
}

/// Tests, their median, the fixture, and whether they vary.
const CASES: [(u32, f64, f64, bool); 8] = [
    (10_000, 3.0, 1.0, false),
    (10_000, 3.0, 4.0, false),
    (10_000, 20.0, 4.0, false),
    (100_000, 3.0, 4.0, false),
    (1_000_000, 3.0, 4.0, false),
    (10_000, 3.0, 4.0, true),
    (100_000, 3.0, 4.0, true),
    (1_000_000, 3.0, 4.0, true),
];

fn setups() {
    println!("## Setups and scale\n");
    println!(
        "About 13 tests a module, log-normal (sigma 1), with a log-normal fixture (sigma 0.5); cap 600 s. *Varying* tests deviate by 10 to"
    );
    println!(
        "100 % of their means each, and one bundle in ten may be over the cap. *Memory* is the most that was resident at a time in a process"
    );
    println!(
        "of its own, with the problem itself. *Module-blind* is plain first fit decreasing of single tests: its bundles pay setups (and vary) as it does not"
    );
    println!("know. *Modules* is best fit decreasing of modules, by means.\n");
    println!(
        "| tests, median, fixture | bundles | proven bound | gap | by | stage | CPU s | memory | modules | module-blind bundles, over the cap, mean |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for (case, (tests, median, fixture, vary)) in CASES.into_iter().enumerate() {
        let memory = memory_of_case(case);
        let problem = modules(tests, median, fixture, vary);
        let (plan, seconds) = packed(&problem);
        let (modules, (blind, over, mean)) = (by_modules(&problem), module_blind(&problem));
        let varying = if vary { ", varying" } else { "" };
        println!(
            "| {tests}, {median} s, {fixture} s{varying} | {} | {} | {} | {} | {} | {seconds:.3} | {memory} MiB | {modules} | {blind}, {over}, {mean:.0} s |",
            plan.bundles.len(),
            plan.lower_bound,
            plan.gap(),
            plan.bound,
            plan.stage
        );
    }
    println!();
}

/// Bundles that exceed the cap when durations vary as the plan was told.
fn calibration() {
    const ROUNDS: u64 = 200;
    println!("## Calibration\n");
    println!(
        "2,000 tests, log-normal around 20 s, each deviating by 30 %, a factor common to the bundle; {ROUNDS} rounds of noise.\n"
    );
    println!(
        "| overrun asked for | common factor | bundles | with exact durations | proven bound | over the cap |"
    );
    println!("|---|---|---|---|---|---|");
    for (overrun, common) in [(0.1, 0.0), (0.1, 0.1), (0.01, 0.1), (0.05, 0.2)] {
        let mut random = Random(7);
        let items = (0..2_000).map(|test| {
            let micros = (random.log_normal(20.0, 0.7).min(200.0) * 1e6) as u64;
            Item { test, micros, sd_micros: micros / 10 * 3, ..Item::default() }
        });
        let exact = Problem::new(items.collect(), 600_000);
        let problem = Problem { risk: Risk::of(overrun, common), ..exact.clone() };
        let plan = packed(&problem).0;
        let mut over = 0u64;
        for _ in 0..ROUNDS {
            for bundle in &plan.bundles {
                let factor = 1.0 + common * random.normal();
                let test = |test: &u32| {
                    let item = problem.items[*test as usize];
                    item.micros as f64 + item.sd_micros as f64 * random.normal()
                };
                let own: f64 = bundle.tests.iter().map(test).sum();
                over += u64::from(own + bundle.micros as f64 * (factor - 1.0) > 600e6);
            }
        }
        let share = over as f64 / (ROUNDS * plan.bundles.len() as u64) as f64;
        println!(
            "| {:.0} % | {common} | {} | {} | {} | {:.1} % |",
            overrun * 100.0,
            plan.bundles.len(),
            packed(&exact).0.bundles.len(),
            plan.lower_bound,
            share * 100.0
        );
    }
    println!();
}

/// An instance of BPPLIB: its name, capacity, the best known number of bins, weights.
fn instance(line: &str) -> Option<(&str, u64, u32, Vec<u64>)> {
    let fields: Vec<&str> = line.split('\t').collect();
    let weights = fields.get(7)?.split(' ').flat_map(|field| {
        let (weight, times) = field.split_once('x').unwrap_or((field, "1"));
        let weight = weight.parse().unwrap_or_default();
        std::iter::repeat_n(weight, times.parse().unwrap_or_default())
    });
    Some((fields[0], fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?, weights.collect()))
}

/// What an instance may take: about a minute.
const SOLVER_STEPS: u64 = 2_000_000_000;

/// What came of the instances of a class.
#[derive(Default)]
struct Class {
    all: u32,
    by_greedy: u32,
    proven: u32,
    optimal: u32,
    worst: u32,
    solved: u32,
    by_flow: u32,
    plain: u32,
    plain_worst: u32,
    seconds: f64,
    longest: f64,
    not_proven: Vec<String>,
}

impl Class {
    fn add(&mut self, (name, capacity, best, weights): (&str, u64, u32, Vec<u64>)) {
        let plain = first_fit(weights.clone(), capacity) as u32;
        // A unit of weight is a millisecond, as caps are.
        let items = (0u32..).zip(weights);
        let items = items.map(|(test, weight)| Item { test, micros: weight * 1000, ..Item::default() });
        let problem = Problem::new(items.collect(), capacity);
        let greedy = Budget { algorithm: Algorithm::Greedy, ..Budget::default() };
        self.by_greedy +=
            u32::from(pack_within(&problem, &greedy).expect("the problem is sound").is_proven());
        let began = cpu();
        let plan = pack_within(&problem, &Budget { steps: SOLVER_STEPS, ..Budget::default() });
        let (plan, took) = (plan.expect("the problem is sound"), cpu() - began);
        assert!(plan.lower_bound <= best, "a bound of {} above the optimum {best}", plan.lower_bound);
        let bins = plan.bundles.len() as u32;
        if !plan.is_proven() {
            self.not_proven.push(format!("{name} ({bins} of {})", plan.lower_bound));
        }
        self.all += 1;
        self.proven += u32::from(plan.is_proven());
        self.optimal += u32::from(bins == best);
        self.worst = self.worst.max(bins - best);
        self.solved += u32::from(plan.stage == Stage::Columns);
        self.by_flow += u32::from(plan.stage == Stage::ArcFlow || plan.bound == Bound::ArcFlow);
        self.plain += u32::from(plain == best);
        self.plain_worst = self.plain_worst.max(plain - best);
        self.seconds += took;
        self.longest = self.longest.max(took);
    }
}

fn known_optima(directory: &Path) {
    println!("## BPPLIB\n");
    println!(
        "`auto`, at most {SOLVER_STEPS} steps an instance. *Asked* is what is to be reached: proven optimal, and CPU s on average."
    );
    println!(
        "*By greedy* is proven without the solver; *flow* is where the arc-flow program had the last word.\n"
    );
    println!(
        "| class | instances | asked | proven | optimal | worst above | by greedy | dives, flow | first fit decreasing optimal, worst | CPU s mean (max) |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut not_proven = Vec::new();
    for path in listed(directory, ".tsv") {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let mut class = Class::default();
        text.lines().filter(|line| !line.starts_with('#')).filter_map(instance).for_each(|i| class.add(i));
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let asked = if name == "Hard" { "all, under 1 s" } else { "all" };
        let mean = class.seconds / f64::from(class.all.max(1));
        let Class {
            all,
            by_greedy,
            proven,
            optimal,
            worst,
            solved,
            by_flow,
            plain,
            plain_worst,
            longest,
            ..
        } = class;
        println!(
            "| {name} | {all} | {asked} | {proven} | {optimal} | {worst} | {by_greedy} | {solved}, {by_flow} | {plain}, {plain_worst} | {mean:.3} ({longest:.2}) |"
        );
        not_proven.extend(class.not_proven);
    }
    if !not_proven.is_empty() {
        println!("\nNot proven, with the bound: {}.", not_proven.join(", "));
    }
    println!();
}

/// What few groups have beside their durations.
#[derive(Clone, Copy)]
enum Beside {
    Nothing,
    /// Each deviates by a tenth to three tenths; one bundle in ten may be over the cap.
    Deviations,
    /// Six have a setup of 10 to 60 s together.
    Setups,
}

impl Beside {
    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Deviations => ", each deviating by 10 to 30 %",
            Self::Setups => ", in modules of 6 with a setup of 10 to 60 s",
        }
    }
}

/// Groups of 150 to 300 s.
fn groups(groups: u32, beside: Beside) -> Problem {
    let mut random = Random(u64::from(groups));
    let mut scopes = Scopes::default();
    let mut module = ScopeSet::default();
    let items = (0..groups).map(|test| {
        let micros = 150_000_000 + random.next() % 150_000_000;
        let sd_micros = match beside {
            Beside::Deviations => micros / 100 * (10 + random.next() % 21),
            _ => 0,
        };
        if matches!(beside, Beside::Setups) && test % 6 == 0 {
            module = scopes.add_alone(10_000_000 + random.next() % 50_000_000);
        }
        Item { test, micros, sd_micros, scopes: module, ..Item::default() }
    });
    let items = items.collect();
    let risk = if matches!(beside, Beside::Deviations) { Risk::of(0.1, 0.0) } else { Risk::default() };
    Problem { scopes, risk, ..Problem::new(items, 600_000) }
}

/// Two to four groups a bundle.
fn few_a_bundle() {
    println!("## Two to four a bundle\n");
    println!("Groups of 150 to 300 s, evenly, to the microsecond; cap 600 s. `auto`, 300 million steps.\n");
    println!("| groups | greedy alone | bundles | proven bound | by | above it | stage | CPU s |");
    println!("|---|---|---|---|---|---|---|---|");
    let exact = [500, 2_000, 5_000].map(|number| (number, Beside::Nothing));
    let others =
        [Beside::Deviations, Beside::Setups].map(|beside| [(200, beside), (500, beside), (2_000, beside)]);
    for (number, beside) in exact.into_iter().chain(others.concat()) {
        let problem = groups(number, beside);
        let (groups, what) = (number, beside.name());
        let greedy = Budget { algorithm: Algorithm::Greedy, ..Budget::default() };
        let greedy = pack_within(&problem, &greedy).expect("the problem is sound").bundles.len();
        let began = cpu();
        let plan = pack_within(&problem, &Budget { steps: 300_000_000, ..Budget::default() });
        let (plan, took) = (plan.expect("the problem is sound"), cpu() - began);
        let above = f64::from(plan.gap()) / f64::from(plan.lower_bound) * 100.0;
        println!(
            "| {groups}{what} | {greedy} | {} | {} | {} | {above:.2} % | {} | {took:.2} |",
            plan.bundles.len(),
            plan.lower_bound,
            plan.bound,
            plan.stage
        );
    }
    println!();
}

fn listed(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(ending));
    paths.sort();
    paths
}

/// Module and microseconds of each test of a list.
fn durations(path: &Path) -> Vec<(String, u64)> {
    let output = Command::new("zcat").arg(path).output().expect("zcat unpacks it");
    let mut reader = csv::Reader::from_reader(output.stdout.as_slice());
    let rows = reader.deserialize::<BTreeMap<String, String>>().map_while(Result::ok);
    let row = |row: BTreeMap<String, String>| {
        let seconds = row.get("seconds")?.parse::<f64>().ok()?;
        Some((row.get("module").cloned().unwrap_or_default(), (seconds * 1e6).round() as u64))
    };
    rows.filter_map(row).collect()
}

fn real(directory: &Path) {
    println!("## Real durations\n");
    println!(
        "For K of 10, 30 and 100: a cap of 1.01 times the sum over K, or of the longest test where that is more. With setup, each module"
    );
    println!("costs a hundredth of the cap.\n");
    println!("| suite | tests | K | cap | bundles / bound | by | with setup | by | CPU s |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for path in listed(directory, ".csv.gz") {
        let rows = durations(&path);
        if rows.is_empty() {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().replace(".csv.gz", "");
        let (sum, longest) = rows.iter().fold((0, 0), |(sum, most), (_, m)| (sum + m, most.max(*m)));
        for k in [10, 30, 100] {
            let cap_ms = (sum * 101 / 100 / k).max(longest).div_ceil(1000);
            let of = |setup: u64| {
                let mut scopes = Scopes::default();
                let mut modules: BTreeMap<&str, ScopeSet> = BTreeMap::new();
                let items = (0u32..).zip(&rows).map(|(test, (module, micros))| {
                    let scopes = *modules.entry(module).or_insert_with(|| scopes.add_alone(setup));
                    Item { test, micros: *micros, scopes, ..Item::default() }
                });
                let items = items.collect();
                Problem { scopes, ..Problem::new(items, cap_ms) }
            };
            let (plan, seconds) = packed(&of(0));
            let (paid, more) = packed(&of(cap_ms * 10));
            println!(
                "| {name} | {} | {k} | {:.1} s | {} / {} | {} | {} / {} | {} | {:.3} |",
                rows.len(),
                cap_ms as f64 / 1000.0,
                plan.bundles.len(),
                plan.lower_bound,
                plan.bound,
                paid.bundles.len(),
                paid.lower_bound,
                paid.bound,
                seconds + more
            );
        }
    }
}
