//! Random histories of shelves: inventories, orders in line, units that are made, fail, expire and are deleted, with crashes
//! and faults of requests, as a seed says.

mod oracle;
mod user;

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use kooper_sim::actors::JobOptions;
use kooper_sim::fault::FaultPlan;
use kooper_sim::{Span, run};

use crate::histories::{History, Seen, faults};
use crate::parallel;
use crate::world::World;
use user::User;

/// What users do in one history.
const MOVES: usize = 30;
/// How long a history goes on after the last move, without faults: longer than the longest wait after failures.
const AFTERMATH: Duration = Duration::from_mins(45);

/// Plays the histories of seeds side by side.
pub fn play_all(seeds: &[u64]) -> Vec<(u64, History)> {
    let played = parallel::map(seeds, |&seed| {
        parallel::or_panic(|| play(seed)).unwrap_or_else(|why| History { violations: vec![why], ..History::default() })
    });
    seeds.iter().copied().zip(played).collect()
}

/// Plays the history of a seed.
pub fn play(seed: u64) -> History {
    run(seed, |sim| async move {
        let mut rng = Rng::with_seed(seed);
        let jobs = JobOptions {
            takes: Span::millis(500, 20_000),
            failing_per_mille: [0, 100, 400][rng.usize(0..3)],
            message: "made".to_owned(),
        };
        let mut world = World::new(sim.clone(), faults(seed, &mut rng)).with_jobs(jobs);
        let mut user = User::new(&sim);
        for n in 0..MOVES {
            world.during(user.make_a_move(&mut rng, n)).await;
            world.run(Duration::from_millis(rng.u64(0..8000))).await;
            if rng.u8(0..12) == 0 {
                let plan = faults(seed + n as u64, &mut rng);
                world.restart(plan, Duration::from_millis(rng.u64(0..5000)));
            }
            if rng.u8(0..20) == 0 {
                user.count("second leaders");
                world.second_leader();
                world.first_stands_still(Duration::from_millis(rng.u64(0..20_000))).await;
            }
        }
        world.during(user.go_home()).await;
        world.restart(FaultPlan::none(), Duration::ZERO);
        world.only_one_leader();
        world.run(AFTERMATH).await;
        let mut seen = user.done;
        seen += Seen(BTreeMap::from([("crashes", world.crashes())]));
        seen += Seen(oracle::events(&sim));
        History { violations: oracle::judge(&sim), seen, digest: sim.digest() }
    })
}
