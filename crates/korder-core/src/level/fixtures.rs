//! What tests of levels begin with.

use super::{Aim, Config};

/// Room for everything.
pub(super) fn for_share(share: f64) -> Config {
    Config { least: 0, most: 1000, aim: Aim::Share(share), parallelism: 1000, idle_after: None }
}
