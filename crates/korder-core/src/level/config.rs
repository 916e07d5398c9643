//! What a level is held to.

use std::time::Duration;

use korder_api::InventorySpec;

/// The share of the orders to be filled at once where an inventory does not say.
const DEFAULT_PERCENT: i32 = 95;

/// What a level is held to.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Least level.
    pub least: u32,
    /// Greatest level, which counts where the least is above it.
    pub most: u32,
    /// What the level is for.
    pub aim: Aim,
    /// How many units are made at a time.
    pub parallelism: u32,
    /// Without an order for this long, the level is the least.
    pub idle_after: Option<Duration>,
}

/// What a level is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aim {
    /// This share of the orders is filled at once; between 0 and 1.
    Share(f64),
    /// Waiting and holding together cost the least.
    Costs {
        /// What a unit costs that lies idle for a second, over what an order costs that waits.
        holding_per_shortage: f64,
    },
}

impl Config {
    /// That of an inventory; none where its level is fixed.
    pub fn of(inventory: &InventorySpec) -> Option<Self> {
        let demand = inventory.demand.as_ref()?;
        let count = |number: i32| u32::try_from(number).unwrap_or(0);
        let aim = match demand.costs {
            Some(costs) => Aim::Costs { holding_per_shortage: ratio(costs.holding, costs.shortage) / 3600.0 },
            None => Aim::Share(f64::from(demand.service_level_percent.unwrap_or(DEFAULT_PERCENT)) / 100.0),
        };
        Some(Self {
            least: demand.min_replicas.map_or(0, count),
            most: count(demand.max_replicas),
            aim,
            parallelism: inventory.parallelism.map_or(1, count).max(1),
            idle_after: inventory.idle_after.as_ref().map(korder_api::Duration::get),
        })
    }

    /// A number of units within the bounds.
    pub(super) fn bounded(&self, units: u32) -> u32 {
        units.max(self.least).min(self.most)
    }
}

/// Of two costs, which the schema bounds by a billion: a float holds them exactly.
#[expect(clippy::cast_precision_loss, reason = "both are below 2^53")]
fn ratio(of: i64, to: i64) -> f64 {
    of as f64 / to.max(1) as f64
}
