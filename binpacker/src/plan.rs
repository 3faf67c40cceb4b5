//! What a packing comes to.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;

/// How many blockers are named.
pub(crate) const BLOCKERS: usize = 5;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In the order to dispatch in: the longest first, unless others go before them.
    pub bundles: Vec<Bundle>,
    /// The cap that was packed under: the one asked for, or the effective cap.
    pub cap_micros: u64,
    /// No plan under this cap has fewer bundles.
    pub lower_bound: u32,
    /// What proves the lower bound.
    pub bound: Bound,
    /// What found the bundles.
    pub stage: Stage,
    /// What the solver left to greedy, where a gap is left.
    pub unsolved: Option<Unsolved>,
    /// The same problem, seed and steps give the same plan. Not so if it was cancelled.
    pub repeatable: bool,
    /// Setup that is paid again for scopes that are in several bundles.
    pub repeated_setup_micros: u64,
    /// Bundles that are over a limit because one test or relation is, by their place in `bundles`.
    pub oversize: Vec<Oversize>,
    /// What sets the floor of the makespan, however many slots there are.
    pub longest: Option<Longest>,
    /// What needs the longest bundles by itself, and so stands against a smaller cap: a few, the longest first.
    pub blockers: Vec<Blocker>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// In the framework's order, except where an ordered relation says otherwise; where slots are known, files with a test
    /// that is longer than a bundle's fixed cost go first.
    pub tests: Vec<u32>,
    pub environment: u32,
    /// Predicted, of its tests.
    pub micros: u64,
    /// Predicted, of what else it pays: its fixed cost and the setups of its scopes.
    pub setup_micros: u64,
    /// The standard deviation of the whole, in whole microseconds.
    pub sd_micros: u64,
    /// How likely it is longer than the cap that was asked for, in millionths.
    pub overrun_ppm: u32,
}

/// Names of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The total over what a bundle holds.
    L1,
    /// The same with each scope's setup as often as it must be paid: the minimum-class bound.
    Setup,
    /// The same with the variance and the common factor that no bundle is without.
    Chance,
    /// The number of tests over the most a bundle may have.
    TestCount,
    /// Martello and Toth's L2: long units that do not pair.
    L2,
    /// The fewest bundles of the units over a third, of which at most two go together.
    Pairs,
    /// The dual feasible function u(k) of Fekete and Schepers.
    Fekete { k: u32 },
    /// The same after their U(e).
    FeketeAfterU { k: u32 },
    /// The dual feasible function f_CCM1 of Carlier, Clautiaux and Moukrim.
    Ccm1,
    /// Some optimal plan has the bundles that an exact reduction settled, and at least the rest's bound besides.
    Reduction,
    /// The linear program over all sets that fit a bundle, by its values in whole numbers (Farley).
    Columns,
    /// The arc-flow program for one bundle fewer has no solution: by a solver in floating point, unlike all others.
    ArcFlow,
    /// Each environment by its own bound: their bundles are never one.
    Environments,
}

/// What found a packing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Best fit decreasing of blocks.
    Blocks,
    /// What is not full cut anew, or a bin taken apart over the gaps of the others.
    Split,
    /// Exact reduction, and bins that end with what fills them best.
    Completion,
    /// Exact reduction and minimum bin slack.
    Slack,
    /// Best fit of single units, in several orders.
    Portfolio,
    /// The solver: a dive from the linear program over all sets that fit a bundle.
    Columns,
    /// The solver: the arc-flow program.
    ArcFlow,
    /// A bin taken apart, and what is over then in others exchanged until nothing is.
    Exchange,
}

/// Why the solver had no say, or not in everything, where a gap is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsolved {
    /// Too many durations vary, each in its own way: only the bound was looked at.
    Varies,
    /// Tests share scopes that cost something, and these are too many: they stayed in the blocks of greedy.
    Scopes,
    /// Slots are known, for which bundles are kept shorter than the cap, and the longest go first.
    Slots,
}

/// What needs a long bundle by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocker {
    pub part: Part,
    /// Predicted, of its tests.
    pub micros: u64,
    /// No smaller cap would do for it: with setups, the fixed cost, and what its variance asks for.
    pub cap_micros: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oversize {
    pub bundle: u32,
    pub part: Part,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Longest {
    pub part: Part,
    /// Predicted, of its tests.
    pub micros: u64,
}

/// What cannot be split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Test(u32),
    /// All tests of relations that overlap, in the order to run in.
    Relation(Vec<u32>),
}

impl Bundle {
    pub fn total_micros(&self) -> u64 {
        self.micros.saturating_add(self.setup_micros)
    }
}

impl Plan {
    /// Bundles that there may be too many.
    pub fn gap(&self) -> u32 {
        (self.bundles.len() as u32).saturating_sub(self.lower_bound)
    }

    /// No plan under this cap has fewer bundles.
    pub fn is_proven(&self) -> bool {
        self.gap() == 0
    }

    /// Predicted, of all bundles with their setups.
    pub fn total_micros(&self) -> u64 {
        self.bundles.iter().fold(0, |sum, bundle| sum.saturating_add(bundle.total_micros()))
    }

    /// This plan, and then another, of other tests.
    #[must_use]
    pub fn followed_by(mut self, other: Plan) -> Plan {
        let place = self.bundles.len() as u32;
        let moved = |oversize: Oversize| Oversize { bundle: place + oversize.bundle, ..oversize };
        self.oversize.extend(other.oversize.into_iter().map(moved));
        self.bundles.extend(other.bundles);
        self.cap_micros = self.cap_micros.max(other.cap_micros);
        // A plan of all is one of each part too; that two parts need as many together is not said.
        if other.lower_bound > self.lower_bound {
            (self.lower_bound, self.bound) = (other.lower_bound, other.bound);
        }
        self.stage = self.stage.max(other.stage);
        self.unsolved = self.unsolved.or(other.unsolved);
        self.repeatable &= other.repeatable;
        self.repeated_setup_micros = self.repeated_setup_micros.saturating_add(other.repeated_setup_micros);
        self.blockers.extend(other.blockers);
        self.blockers.sort_by_key(|blocker| Reverse(blocker.cap_micros));
        self.blockers.truncate(BLOCKERS);
        let micros = |longest: &Option<Longest>| longest.as_ref().map(|longest| longest.micros);
        if micros(&other.longest) > micros(&self.longest) {
            self.longest = other.longest;
        }
        self
    }

    /// Predicted, from the first dispatch to the last end, if each slot takes the next bundle when it is free.
    pub fn makespan_micros(&self, slots: u32) -> u64 {
        let slots = (slots.max(1) as usize).min(self.bundles.len().max(1));
        let mut free_at: BinaryHeap<_> = (0..slots).map(|_| Reverse(0u64)).collect();
        for bundle in &self.bundles {
            if let Some(Reverse(at)) = free_at.pop() {
                free_at.push(Reverse(at.saturating_add(bundle.total_micros())));
            }
        }
        free_at.into_iter().map(|Reverse(at)| at).max().unwrap_or_default()
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::L1 => "L1",
            Self::Setup => "minimum class",
            Self::Chance => "chance",
            Self::TestCount => "test count",
            Self::L2 => "L2",
            Self::Pairs => "pairs",
            Self::Fekete { k } => return write!(f, "dual feasible u({k})"),
            Self::FeketeAfterU { k } => return write!(f, "dual feasible u({k}) after U"),
            Self::Ccm1 => "dual feasible CCM1",
            Self::Reduction => "reduction",
            Self::Columns => "column generation",
            Self::ArcFlow => "arc flow",
            Self::Environments => "environments",
        })
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocks => "blocks",
            Self::Split => "split",
            Self::Completion => "completion",
            Self::Slack => "minimum bin slack",
            Self::Portfolio => "portfolio",
            Self::Columns => "column generation",
            Self::ArcFlow => "arc flow",
            Self::Exchange => "exchange",
        })
    }
}

impl fmt::Display for Unsolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Varies => "too many durations vary, each in its own way, for the solver",
            Self::Scopes => "too many tests share setups for the solver: these are as greedy has cut them",
            Self::Slots => "the solver packs no bundles that are kept short for slots",
        })
    }
}
