//! The table of what grows with the number of tickets.

use std::time::Duration;

use super::figures::{head, met, millis, row, seconds};
use crate::scale::{CLAIMS, IDLE, SIZES, Scale};

/// The most memory that the controllers are to have with the most tickets.
const MEMORY_GOAL_MIB: u64 = 64;

/// What is shown of a [`Scale`], in what unit, and how it is to grow.
type Figure = (&'static str, fn(&Scale) -> f64, fn(f64) -> String);

const FIGURES: [Figure; 9] = [
    ("until all are ready", |scale| scale.filled.as_secs_f64(), in_seconds),
    ("processor time, for each ticket", |scale| per(scale.filling, scale.tickets), in_millis),
    ("memory before", |scale| mib(scale.before.resident), in_mib),
    ("of it allocated", |scale| mib(scale.before.allocated), in_mib),
    ("**memory**, when all are ready", |scale| mib(scale.after.resident), in_mib),
    ("of it allocated", |scale| mib(scale.after.allocated), in_mib),
    ("at its peak", |scale| mib(scale.after.peak), in_mib),
    (
        "processor time for each claim",
        |scale| per(scale.claiming, i32::try_from(CLAIMS).unwrap_or(i32::MAX)),
        in_millis,
    ),
    ("from a pod's creation to its being bound, p50", |scale| scale.latency.median().as_secs_f64(), in_millis),
];

/// All that was measured of scales.
pub(super) fn section(scales: &[Scale]) -> String {
    let headings: Vec<String> = std::iter::once(String::new())
        .chain(scales.iter().map(|scale| format!("{} tickets", scale.tickets)))
        .chain([format!("growth from {}", SIZES[0])])
        .collect();
    let line = |&(what, of, shown): &Figure| {
        let values: Vec<f64> = scales.iter().map(of).collect();
        let growth = values.last().zip(values.first()).map_or_else(String::new, |(last, first)| growth(*last, *first));
        row(std::iter::once(what.to_owned()).chain(values.into_iter().map(shown)).chain([growth]))
    };
    let idle = std::iter::once(format!("processor time in {} s without work", IDLE.as_secs()))
        .chain(scales.iter().map(|scale| seconds(scale.idle)))
        .chain([String::new()]);
    let resident = scales.last().map_or(0, |scale| scale.after.resident);
    format!(
        "## What the controllers take with many tickets\n\n{}{}{}\n\
         The goal for memory with {} tickets is {MEMORY_GOAL_MIB} MiB: {}. One order on 100 simulated nodes, on a new \
         cluster for each column; memory is what is resident of the controllers' process, the program's own pages among \
         it; the {CLAIMS} claims come one after the other, with their refills.",
        head(&headings),
        FIGURES.iter().map(line).collect::<String>(),
        row(idle),
        SIZES[SIZES.len() - 1],
        met(resident <= MEMORY_GOAL_MIB << 10),
    )
}

fn per(time: Duration, count: i32) -> f64 {
    time.as_secs_f64() / f64::from(count)
}

/// MiB of KiB: there are not so many that a float would not do.
#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 KiB")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn in_seconds(value: f64) -> String {
    seconds(Duration::from_secs_f64(value))
}

fn in_millis(value: f64) -> String {
    if value < 0.01 { format!("{:.1} ms", value * 1000.0) } else { millis(Duration::from_secs_f64(value)) }
}

fn in_mib(value: f64) -> String {
    format!("{value:.0} MiB")
}

fn growth(last: f64, first: f64) -> String {
    if first > 0.0 { format!("× {:.1}", last / first) } else { "—".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_times_keep_their_tenths() {
        assert_eq!((in_millis(0.0042), in_millis(0.042)), ("4.2 ms".into(), "42 ms".into()));
        assert_eq!((growth(20.0, 10.0), growth(1.0, 0.0)), ("× 2.0".into(), "—".into()));
    }
}
