//! One bin fewer than there are: what is in it is put into the others, and units change places until none is over.
//!
//! Of each exchange it is looked at how much more or less is over the capacity by it. It is made if that is not much more, by a
//! threshold that falls with the steps (threshold accepting: Dueck and Scheuer 1990). Floating point chooses, and the bins that are
//! found are checked in whole numbers.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::budget::Steps;
use crate::load::Capacity;
use crate::packing::{self, Packing};
use crate::random::Random;
use crate::units::Units;

/// What looking at an exchange takes.
const STEPS_EACH: u64 = 3;
/// The threshold begins with such a part of a bin, and falls so often by such a factor.
const HEAT: f64 = 1.0 / 30.0;
const FALLS: u64 = 200;
const FALL: f64 = 0.955;
/// Of so many proposals one puts a thing into any bin, and so many into one that has paid for a scope of it.
const KINDS: usize = 8;
const WITH_SCOPE: usize = 3;
/// How often it begins with a thing of a bin that is over.
const FOCUS: f64 = 0.75;

pub struct Exchange<'u, 'p> {
    units: &'u Units<'p>,
    capacity: Capacity,
    things: Vec<Thing>,
    /// The scopes of all things that cost something, and what each costs.
    scopes: Vec<u32>,
    costs: Vec<f64>,
    /// Of each scope that costs something, who uses it.
    users: Vec<Vec<u32>>,
    /// From the longest to the shortest, and the place of each there.
    ranks: Vec<u32>,
    rank_of: Vec<u32>,
    bins: Vec<Bin>,
    /// The bin of each thing, and its place in it.
    at: Vec<(u32, u32)>,
    /// Bins that are over.
    over: Vec<u32>,
    excess: f64,
    random: Random,
}

/// A unit.
struct Thing {
    number: u32,
    sum: Sum,
    /// Where its scopes are.
    scopes: (u32, u32),
}

#[derive(Default, Clone)]
struct Bin {
    things: Vec<u32>,
    sum: Sum,
    /// Scopes that are paid for, and by how many things.
    paid: Vec<(u32, u32)>,
    over: f64,
    /// Its place among those that are over.
    place: u32,
}

#[derive(Default, Clone, Copy)]
struct Sum {
    mean: f64,
    variance: f64,
    tests: u32,
}

impl<'u, 'p> Exchange<'u, 'p> {
    pub fn new(units: &'u Units<'p>, packing: &Packing, capacity: &Capacity, seed: u64) -> Self {
        let mut exchange = Self {
            units,
            capacity: *capacity,
            things: Vec::new(),
            scopes: Vec::new(),
            costs: Vec::new(),
            users: Vec::new(),
            ranks: Vec::new(),
            rank_of: Vec::new(),
            bins: Vec::new(),
            at: Vec::new(),
            over: Vec::new(),
            excess: 0.0,
            random: Random(seed),
        };
        let mut known = HashMap::new();
        for bin in &packing.bins {
            exchange.bins.push(Bin::default());
            bin.iter().for_each(|&number| exchange.add(number, &mut known));
        }
        let longest_first =
            |&thing: &u32| (Reverse(units.unit(exchange.things[thing as usize].number).load.micros), thing);
        let mut ranks: Vec<u32> = (0..exchange.things.len() as u32).collect();
        ranks.sort_by_key(longest_first);
        exchange.rank_of = vec![0; ranks.len()];
        (0u32..).zip(&ranks).for_each(|(rank, &thing)| exchange.rank_of[thing as usize] = rank);
        exchange.ranks = ranks;
        exchange
    }

    /// A unit, in the last bin. Of scopes it is known by which number they go here.
    fn add(&mut self, number: u32, known: &mut HashMap<u32, u32>) {
        let (units, thing) = (self.units, self.things.len() as u32);
        let unit = units.unit(number);
        let from = self.scopes.len() as u32;
        for &scope in units.scopes(unit) {
            let micros = units.problem.scopes.micros(scope);
            if micros > 0 {
                let scope = *known.entry(scope).or_insert(self.costs.len() as u32);
                if scope as usize == self.costs.len() {
                    self.costs.push(micros as f64);
                    self.users.push(Vec::new());
                }
                self.scopes.push(scope);
                self.users[scope as usize].push(thing);
            }
        }
        let sum = Sum {
            mean: unit.load.micros as f64,
            variance: unit.load.variance as f64,
            tests: unit.load.tests,
        };
        self.things.push(Thing { number, sum, scopes: (from, self.scopes.len() as u32) });
        self.at.push((0, 0));
        let bin = self.bins.len() - 1;
        let sum = self.after(bin, None, Some(thing));
        self.put(bin, thing);
        self.settle(bin, sum);
    }

    /// With as many bins fewer as can be found, down to the target: each with half of the steps that are left, and where these do
    /// not suffice with all of them.
    pub fn fewer(mut self, target: u64, steps: &mut Steps) -> Option<Packing> {
        let mut best = None;
        while self.bins.len() as u64 > target.max(1)
            && steps.take(self.bins.len() as u64)
            && self.dissolve().is_some()
        {
            let mut half = steps.fork();
            let found = self.anneal(&mut half);
            steps.join(half);
            if !found && !self.anneal(steps) {
                break;
            }
            best = Some(self.packing()?);
        }
        best
    }

    fn packing(&self) -> Option<Packing> {
        let number = |&thing: &u32| self.things[thing as usize].number;
        let bins: Vec<Vec<u32>> =
            self.bins.iter().map(|bin| bin.things.iter().map(number).collect()).collect();
        let fits = |bin: &Vec<u32>| self.capacity.takes(&packing::load(self.units, bin));
        bins.iter().all(fits).then(|| Packing::of(self.units, bins))
    }

    /// The emptiest bin's things where they are over by least.
    fn dissolve(&mut self) -> Option<()> {
        let emptiest =
            (0..self.bins.len()).min_by(|&a, &b| self.bins[a].sum.mean.total_cmp(&self.bins[b].sum.mean))?;
        let last = self.bins.len() - 1;
        self.bins.swap(emptiest, last);
        for bin in [emptiest, last] {
            for (place, &thing) in self.bins[bin].things.iter().enumerate() {
                self.at[thing as usize] = (bin as u32, place as u32);
            }
        }
        let mut loose = self.bins.pop()?.things;
        loose.sort_by_key(|&thing| self.rank_of[thing as usize]);
        self.over.clear();
        self.excess = 0.0;
        for bin in 0..self.bins.len() {
            let sum = self.bins[bin].sum;
            self.bins[bin].over = 0.0;
            self.settle(bin, sum);
        }
        for thing in loose {
            let more = |bin: usize| {
                let sum = self.after(bin, None, Some(thing));
                self.has_room_for(&sum).then(|| (self.over_by(&sum) - self.bins[bin].over, bin, sum))
            };
            let (_, bin, sum) = (0..self.bins.len()).filter_map(more).min_by(|a, b| a.0.total_cmp(&b.0))?;
            self.put(bin, thing);
            self.settle(bin, sum);
        }
        Some(())
    }

    /// By how much a bin of this sum is over.
    fn over_by(&self, sum: &Sum) -> f64 {
        let Capacity { cap, fixed, risk, .. } = self.capacity;
        let mean = sum.mean + fixed as f64;
        let common = f64::from(risk.common_permille) / 1000.0 * mean;
        let square = sum.variance + common * common;
        let rounded_up = 1.0;
        let margin =
            if square > 0.0 { f64::from(risk.z_milli) / 1000.0 * square.sqrt() + rounded_up } else { 0.0 };
        (mean + margin - cap as f64).max(0.0)
    }

    fn scopes(&self, thing: Option<u32>) -> &[u32] {
        thing.map_or(&[], |thing| {
            let (from, to) = self.things[thing as usize].scopes;
            &self.scopes[from as usize..to as usize]
        })
    }

    /// What a bin comes to without one thing and with another.
    fn after(&self, bin: usize, out: Option<u32>, new: Option<u32>) -> Sum {
        let bin = &self.bins[bin];
        let mut sum = bin.sum;
        for (thing, sign) in [(out, -1.0), (new, 1.0)] {
            let Some(thing) = thing else { continue };
            let of = &self.things[thing as usize].sum;
            sum.mean += sign * of.mean;
            sum.variance += sign * of.variance;
            sum.tests = if sign > 0.0 { sum.tests.saturating_add(of.tests) } else { sum.tests - of.tests };
        }
        let (left, entered) = (self.scopes(out), self.scopes(new));
        let times = |scope: u32| bin.paid.iter().find(|paid| paid.0 == scope).map_or(0, |paid| paid.1);
        for &scope in left.iter().filter(|scope| times(**scope) == 1 && !entered.contains(scope)) {
            sum.mean -= self.costs[scope as usize];
        }
        for &scope in entered.iter().filter(|scope| times(**scope) == 0) {
            sum.mean += self.costs[scope as usize];
        }
        sum
    }

    fn has_room_for(&self, sum: &Sum) -> bool {
        sum.tests <= self.capacity.max_tests
    }

    fn put(&mut self, bin: usize, thing: u32) {
        let (from, to) = self.things[thing as usize].scopes;
        let held = &mut self.bins[bin];
        self.at[thing as usize] = (bin as u32, held.things.len() as u32);
        held.things.push(thing);
        for &scope in &self.scopes[from as usize..to as usize] {
            match held.paid.iter_mut().find(|paid| paid.0 == scope) {
                Some(paid) => paid.1 += 1,
                None => held.paid.push((scope, 1)),
            }
        }
    }

    fn take(&mut self, bin: usize, thing: u32) {
        let (from, to) = self.things[thing as usize].scopes;
        let held = &mut self.bins[bin];
        let place = self.at[thing as usize].1 as usize;
        held.things.swap_remove(place);
        if let Some(&moved) = held.things.get(place) {
            self.at[moved as usize].1 = place as u32;
        }
        for &scope in &self.scopes[from as usize..to as usize] {
            if let Some(at) = held.paid.iter().position(|paid| paid.0 == scope) {
                held.paid[at].1 -= 1;
                if held.paid[at].1 == 0 {
                    held.paid.swap_remove(at);
                }
            }
        }
    }

    /// A bin has come to so much.
    fn settle(&mut self, bin: usize, sum: Sum) {
        let over = self.over_by(&sum);
        let held = &mut self.bins[bin];
        held.sum = sum;
        let before = std::mem::replace(&mut held.over, over);
        self.excess += over - before;
        if before <= 0.0 && over > 0.0 {
            held.place = self.over.len() as u32;
            self.over.push(bin as u32);
        } else if before > 0.0 && over <= 0.0 {
            let place = held.place as usize;
            self.over.swap_remove(place);
            if let Some(&moved) = self.over.get(place) {
                self.bins[moved as usize].place = place as u32;
            }
            if self.over.is_empty() {
                self.excess = 0.0;
            }
        }
    }

    /// Exchanges until no bin is over; false if the steps did not suffice.
    fn anneal(&mut self, steps: &mut Steps) -> bool {
        let mut heat = self.capacity.cap as f64 * HEAT;
        let each = steps.left() / STEPS_EACH / FALLS;
        for _ in 0..FALLS {
            for _ in 0..each {
                if self.over.is_empty() {
                    return true;
                }
                if !steps.take(STEPS_EACH) {
                    return false;
                }
                self.propose(heat);
            }
            heat *= FALL;
        }
        self.over.is_empty()
    }

    /// Looks at one exchange, and makes it if what is over is no more by it, or by less than a part of the threshold.
    fn propose(&mut self, heat: f64) {
        let focused = self.random.share() < FOCUS;
        let one = if focused {
            let bin = self.over[self.random.below(self.over.len())] as usize;
            self.bins[bin].things[self.random.below(self.bins[bin].things.len())]
        } else {
            self.random.below(self.things.len()) as u32
        };
        let Some((to, other)) = self.partner(one, focused) else { return };
        let from = self.at[one as usize].0 as usize;
        if to == from {
            return;
        }
        let (here, there) = (self.after(from, Some(one), other), self.after(to, other, Some(one)));
        let more = self.over_by(&here) + self.over_by(&there) - self.bins[from].over - self.bins[to].over;
        let is_made = more <= 0.0 || more < heat * self.random.share();
        if !is_made || !self.has_room_for(&here) || !self.has_room_for(&there) {
            return;
        }
        self.take(from, one);
        if let Some(other) = other {
            self.take(to, other);
            self.put(from, other);
        }
        self.put(to, one);
        self.settle(from, here);
        self.settle(to, there);
    }

    /// The bin that a thing may go to, and the thing that may come for it: any bin and none; one that has paid for a scope of it;
    /// or a thing that is a little shorter, or also longer where the bin need not lose.
    fn partner(&mut self, one: u32, is_to_lose: bool) -> Option<(usize, Option<u32>)> {
        let kind = self.random.below(KINDS);
        if kind == 0 {
            return Some((self.random.below(self.bins.len()), None));
        }
        let (from, to) = self.things[one as usize].scopes;
        if kind <= WITH_SCOPE && from < to {
            let scope = self.scopes[from as usize + self.random.below((to - from) as usize)] as usize;
            let mate = self.users[scope][self.random.below(self.users[scope].len())];
            let bin = self.at[mate as usize].0 as usize;
            let place = self.random.below(self.bins[bin].things.len() + 1);
            return Some((bin, self.bins[bin].things.get(place).copied()));
        }
        // Near ones as often as far ones.
        let bits = (usize::BITS - self.things.len().leading_zeros()) as usize;
        let reach = 1 << self.random.below(bits);
        let offset = 1 + self.random.below(reach);
        let rank = self.rank_of[one as usize] as usize;
        let shorter = is_to_lose || self.random.below(2) == 0;
        let rank = if shorter { rank.checked_add(offset) } else { rank.checked_sub(offset) };
        let other = *self.ranks.get(rank?)?;
        Some((self.at[other as usize].0 as usize, Some(other)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::{Item, Problem, Risk, Scopes};

    /// Forty bins of three that are full but for a hundredth, in files whose setup each bin pays once.
    fn exchanged(steps: u64, risk: Risk) -> Option<usize> {
        let mut scopes = Scopes::default();
        let file = scopes.add_alone(10_000);
        let sizes = (0..40u64).flat_map(|bin| {
            let (first, second) = (380_000 + bin * 2_203 % 90_000, 260_000 + bin * 1_709 % 40_000);
            [first, second, 980_000 - first - second]
        });
        let item = |(test, micros)| Item { test, micros, sd_micros: 1_000, scopes: file, ..Item::default() };
        let items = (0..).zip(sizes).map(item).collect();
        let problem = Problem { scopes, risk, ..Problem::new(items, 1_000) };
        let units = Units::of(&problem).unwrap();
        let capacity = Capacity { cap: 1_000_000, fixed: 0, max_tests: 9, risk };
        let packing = Packing::of(&units, (0..120).map(|number| vec![number]).collect());
        let exchange = Exchange::new(&units, &packing, &capacity, 7);
        let found = exchange.fewer(40, &mut Steps::new(steps, &|| false))?;
        let mut all = found.bins.concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..120));
        assert!(found.bins.iter().all(|bin| capacity.takes(&packing::load(&units, bin))));
        Some(found.bins.len())
    }

    #[test]
    fn what_is_over_is_exchanged_away() {
        for risk in [Risk::default(), Risk::of(0.1, 0.0)] {
            let bins = exchanged(20_000_000, risk);
            assert!(bins.is_some_and(|bins| bins <= 41), "{bins:?}");
            assert_eq!(bins, exchanged(20_000_000, risk));
        }
        assert_eq!(exchanged(1, Risk::default()), None);
    }
}
