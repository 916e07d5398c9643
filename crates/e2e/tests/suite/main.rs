//! The end-to-end suite: what users rely on, on a real Kubernetes.
//!
//! One cluster a run (that of `$KUBECONFIG`, or one that `korder up` starts), a namespace a test. `cargo test -p e2e`
//! runs all; a part of a name after `--` runs those that have it, `-- --list` names them.

mod account;
mod applied;
mod asks;
mod attacks;
mod bad_stock;
mod care;
mod claims;
mod create_order;
mod drains;
mod events;
mod examples;
mod fits;
mod gate;
mod grants;
mod groups;
mod held;
mod helm;
mod idle;
mod installation;
mod installed;
mod killed;
mod limits;
mod load;
mod meddled;
mod metrics;
mod names;
mod nodes;
mod orders;
mod pods;
mod power_cut;
mod production;
mod programs;
mod pulls;
mod refused;
mod replicas;
mod scheduler_agrees;
mod shelves;
mod stock_examples;
mod stock_rights;
mod suite;
mod taken_away;
mod theft;
mod uninstalled;
mod until;
mod upgraded;
mod webhook;
mod why;
mod workloads;

use std::process::ExitCode;

use libtest_mimic::Arguments;

use crate::suite::Suite;

/// Most tests wait most of the time.
const THREADS: usize = 8;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let mut suite = Suite::new();
    // Those that take longest begin first.
    installed::tests(&mut suite);
    helm::tests(&mut suite);
    applied::tests(&mut suite);
    killed::tests(&mut suite);
    replicas::tests(&mut suite);
    uninstalled::tests(&mut suite);
    metrics::tests(&mut suite);
    power_cut::tests(&mut suite);
    nodes::tests(&mut suite);
    drains::tests(&mut suite);
    limits::tests(&mut suite);
    theft::tests(&mut suite);
    scheduler_agrees::tests(&mut suite);
    account::tests(&mut suite);
    asks::tests(&mut suite);
    attacks::tests(&mut suite);
    bad_stock::tests(&mut suite);
    care::tests(&mut suite);
    claims::tests(&mut suite);
    create_order::tests(&mut suite);
    events::tests(&mut suite);
    examples::tests(&mut suite);
    fits::tests(&mut suite);
    gate::tests(&mut suite);
    grants::tests(&mut suite);
    groups::tests(&mut suite);
    workloads::tests(&mut suite);
    idle::tests(&mut suite);
    meddled::tests(&mut suite);
    names::tests(&mut suite);
    orders::tests(&mut suite);
    production::tests(&mut suite);
    programs::tests(&mut suite);
    pulls::tests(&mut suite);
    refused::tests(&mut suite);
    shelves::tests(&mut suite);
    stock_examples::tests(&mut suite);
    stock_rights::tests(&mut suite);
    why::tests(&mut suite);
    let code = suite.run(&arguments);
    theft::print_table();
    code
}
