//! Random histories: orders, claims, deletions, nodes that are drained, and faults, as a seed says.

mod user;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use fastrand::Rng;
use kooper_sim::fault::{Effect, FaultPlan, Requests, When};
use kooper_sim::run;

use crate::objects::{node, priority_class};
use crate::world::World;
use crate::{oracle, parallel};
use user::User;
pub(crate) use user::create;

/// What users do in one history.
const MOVES: usize = 40;
/// How long a history goes on after the last move, without faults: longer than any ticket lasts.
const AFTERMATH: Duration = Duration::from_mins(15);

/// What came of a history.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What was violated.
    pub violations: Vec<String>,
    /// What happened.
    pub seen: Seen,
    /// A hash of all requests, replies and events: the same whenever the seed is played.
    pub digest: u64,
}

/// How often something happened, by what: that a history is not empty of what it is to try.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen(pub BTreeMap<&'static str, usize>);

impl AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        for (what, count) in other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<String> = self.0.iter().map(|(what, count)| format!("{count} {what}")).collect();
        f.write_str(&counts.join(", "))
    }
}

/// Plays the histories of seeds side by side.
pub fn play_all(seeds: &[u64]) -> Vec<(u64, History)> {
    let played = parallel::map(seeds, |&seed| {
        parallel::or_panic(|| play(seed)).unwrap_or_else(|why| History { violations: vec![why], ..History::default() })
    });
    seeds.iter().copied().zip(played).collect()
}

/// What else may go wrong in a history, beside crashes and faults of requests. Each takes away some of what can be asked of
/// it, and so is not in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peril {
    /// Nodes are drained, and go.
    Nodes,
    /// The scheduler dies.
    Schedulers,
    /// There are pods of higher priority.
    Stronger,
    /// Second leaders take over from first ones that come late.
    Leaders,
}

/// Each, and in one of how many histories it is.
const PERILS: [(Peril, u8); 4] = [(Peril::Nodes, 3), (Peril::Schedulers, 3), (Peril::Stronger, 5), (Peril::Leaders, 4)];

/// Plays the history of a seed.
pub fn play(seed: u64) -> History {
    run(seed, |sim| async move {
        let mut rng = Rng::with_seed(seed);
        let one_in = |rng: &mut Rng, n: u8| rng.u8(0..n) == 0;
        let mut perils: Vec<Peril> = vec![];
        for (peril, n) in PERILS {
            perils.extend(Some(peril).filter(|_| one_in(&mut rng, n)));
        }
        create(&sim, priority_class("strong", 100));
        for n in 1..=3 {
            create(&sim, node(&format!("n{n}"), 4));
        }
        let mut world = World::new(sim.clone(), faults(seed, &mut rng));
        let mut user = User::new(&sim, perils.clone());
        for n in 0..MOVES {
            world.during(user.make_a_move(&mut rng, n)).await;
            world.run(Duration::from_millis(rng.u64(0..3000))).await;
            if one_in(&mut rng, 12) {
                let plan = faults(seed + n as u64, &mut rng);
                world.restart(plan, Duration::from_millis(rng.u64(0..5000)));
            }
            if perils.contains(&Peril::Schedulers) && one_in(&mut rng, 8) {
                world.restart_scheduler(Duration::from_millis(rng.u64(0..4000)));
                user.done += Seen(BTreeMap::from([("schedulers restarted", 1)]));
            }
            if perils.contains(&Peril::Leaders) && one_in(&mut rng, 8) {
                user.done += Seen(BTreeMap::from([("second leaders", 1)]));
                world.second_leader();
                world.first_stands_still(Duration::from_millis(rng.u64(0..20_000))).await;
            }
        }
        world.during(user.go_home()).await;
        world.restart(FaultPlan::none(), Duration::ZERO);
        world.only_one_leader();
        world.run(AFTERMATH).await;
        let two_leaders = perils.contains(&Peril::Leaders);
        let violations = if two_leaders { oracle::judge_two_leaders(&sim) } else { oracle::judge(&sim) };
        let mut done = user.done;
        done += Seen(BTreeMap::from([("crashes", world.crashes())]));
        done += Seen(oracle::events(&sim));
        History { violations, seen: done, digest: sim.digest() }
    })
}

/// Lost replies, conflicts, broken watches, and a crash at some write.
pub(crate) fn faults(seed: u64, rng: &mut Rng) -> FaultPlan {
    let crash = if rng.bool() { Effect::CrashBefore } else { Effect::CrashAfter };
    let share = |per_mille| When::Share { per_mille };
    let conflicts = [0, 100, 500][rng.usize(0..3)];
    FaultPlan::none()
        .with_seed(seed)
        .with(Requests::writes(), When::Nth(rng.u64(5..200)), crash)
        .with(Requests::writes(), share(100), Effect::LoseReply)
        .with(Requests::writes(), share(conflicts), Effect::Conflict)
        .with(Requests::watches(), share(500), Effect::CloseAfter { events: rng.u64(1..50) })
        .with(Requests::watches(), share(100), Effect::Freeze { length: Duration::from_secs(rng.u64(1..10)) })
}
