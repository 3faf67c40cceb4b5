//! The bundles of a run that no slot has: how they come and go, and their order. What goes next is known without looking
//! at all of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use seagull_domain::{BundleId, Role, TestIndex};
use serde::{Deserialize, Serialize, Serializer};

use crate::run::{Bundle, Run, Test};
use crate::split::SPLIT_AFTER;

/// A bundle's rank among those of its run that wait: those that run alone last, before them the parts of what came to
/// nothing; of the others what goes first, then what has the longest test, for that cannot be cut when the run is about to
/// end, then the longest, the oldest of those that are equally long.
pub(crate) type Rank = (bool, bool, bool, u64, u64, Reverse<BundleId>);

fn rank(id: BundleId, bundle: &Bundle) -> Rank {
    let untroubled = bundle.in_vain < SPLIT_AFTER;
    (!bundle.alone, untroubled, bundle.first, bundle.longest_us, bundle.predicted_us, Reverse(id))
}

/// Read as the map that it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(from = "BTreeMap<BundleId, Bundle>")]
pub struct Pending {
    bundles: BTreeMap<BundleId, Bundle>,
    ranks: BTreeSet<Rank>,
}

impl Pending {
    pub(crate) fn insert(&mut self, id: BundleId, bundle: Bundle) {
        self.remove(&id);
        self.ranks.insert(rank(id, &bundle));
        self.bundles.insert(id, bundle);
    }

    pub(crate) fn remove(&mut self, id: &BundleId) -> Option<Bundle> {
        let bundle = self.bundles.remove(id)?;
        self.ranks.remove(&rank(*id, &bundle));
        Some(bundle)
    }

    /// What runs alone, as it comes last in order.
    pub(crate) fn alone(&self) -> impl Iterator<Item = (BundleId, &Bundle)> + use<'_> {
        let alone = self.ranks.iter().take_while(|(is_not, ..)| !is_not);
        alone.map(|(.., Reverse(id))| (*id, &self.bundles[id]))
    }

    /// What goes first comes first.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (BundleId, &Bundle)> + use<'_> {
        self.ranks.iter().rev().map(|(.., Reverse(id))| (*id, &self.bundles[id]))
    }
}

impl Deref for Pending {
    type Target = BTreeMap<BundleId, Bundle>;
    fn deref(&self) -> &Self::Target {
        &self.bundles
    }
}

impl From<BTreeMap<BundleId, Bundle>> for Pending {
    fn from(bundles: BTreeMap<BundleId, Bundle>) -> Pending {
        let ranks = bundles.iter().map(|(id, bundle)| rank(*id, bundle)).collect();
        Pending { bundles, ranks }
    }
}

impl Serialize for Pending {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.bundles.serialize(serializer)
    }
}

impl Run {
    pub(crate) fn bundle(&mut self, id: BundleId, bundle: Bundle) {
        self.next_bundle = self.next_bundle.max(id.next());
        for (test, _) in bundle.entries.iter().filter(|(_, role)| *role == Role::Run) {
            self.test_mut(*test).pending = Some(id);
        }
        self.put_back(id, bundle);
    }

    fn put_back(&mut self, id: BundleId, mut bundle: Bundle) {
        let entries = &bundle.entries;
        bundle.predicted_us = entries.iter().map(|(test, _)| self.test(*test).predicted_us).sum();
        bundle.longest_us = self.longest_us(entries);
        bundle.first = entries.iter().any(|(test, role)| *role == Role::Run && self.test(*test).first);
        self.pending.insert(id, bundle);
    }

    /// The longest test or relation.
    fn longest_us(&self, entries: &[(TestIndex, Role)]) -> u64 {
        let mut relations: BTreeMap<u32, u64> = BTreeMap::new();
        let mut longest_us = 0;
        for (test, _) in entries {
            let Test { predicted_us, relation, .. } = *self.test(*test);
            let related_us = relations.entry(relation).or_default();
            *related_us = if relation == 0 { predicted_us } else { *related_us + predicted_us };
            longest_us = longest_us.max(*related_us);
        }
        longest_us
    }

    /// A late result may leave nothing to do for a test in a pending bundle. Where later tests need it before them it
    /// stays as a predecessor.
    pub(crate) fn withdraw(&mut self, test: TestIndex) {
        if !self.owes(test) {
            self.drop_pending(test);
        }
    }

    /// What waits for a test that will never have run before it cannot run.
    pub(crate) fn drop_followers(&mut self, test: TestIndex) {
        for follower in self.followers(test) {
            self.drop_pending(follower);
        }
    }

    fn drop_pending(&mut self, test: TestIndex) {
        let Some(id) = self.test_mut(test).pending.take() else { return };
        let ordered = self.relation_of(test).is_some_and(|relation| relation.ordered);
        let mut bundle = self.pending.remove(&id).expect("a pending test's bundle is pending");
        let place = bundle.entries.iter().position(|(t, _)| *t == test).expect("the bundle has the test");
        if ordered {
            bundle.entries[place].1 = Role::Predecessor;
        } else {
            bundle.entries.remove(place);
        }
        while bundle.entries.last().is_some_and(|(_, role)| *role == Role::Predecessor) {
            bundle.entries.pop();
        }
        if !bundle.entries.is_empty() {
            self.put_back(id, bundle);
        }
    }
}
