//! The bundles of a run that no slot has, and their order: what goes next is known without looking at all of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use seagull_domain::BundleId;
use serde::{Deserialize, Serialize, Serializer};

use crate::run::Bundle;
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
