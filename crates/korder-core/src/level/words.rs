//! The reason of a level, in words.

use super::{Aim, Config, Limit};

/// Why so many are needed, and what becomes of it.
pub(super) fn reason(config: &Config, lead: f64, rate: f64, needed: u32, limit: Option<Limit>, in_work: f64) -> String {
    let aim = match config.aim {
        Aim::Share(share) => format!("{}% at once", figure(share * 100.0)),
        Aim::Costs { .. } => "least cost".to_owned(),
    };
    let Config { least, most, parallelism, .. } = config;
    let demand = format!("{} demand at {} orders/min", time(lead), figure(rate * 60.0));
    let needs = match needed {
        needed if needed > *most => format!("needs more than maxReplicas {most}"),
        needed if needed < *least => format!("needs {needed}, minReplicas is {least}"),
        needed => format!("needs {needed}"),
    };
    let bound = match limit {
        Some(Limit::ProductionBound) => {
            format!("; {} are in the making on average, parallelism is {parallelism}", figure(in_work))
        }
        Some(Limit::AtMax) | None => String::new(),
    };
    format!("{aim} of {demand} {needs}{bound}")
}

/// Why the level is the least.
pub(super) fn idle(config: &Config) -> String {
    let limit = config.idle_after.map_or(0.0, |limit| limit.as_secs_f64());
    format!("no order for {}, minReplicas is {}", time(limit), config.least)
}

/// Two figures, as far as they say something.
fn figure(number: f64) -> String {
    match number {
        number if number >= 9.95 => format!("{number:.0}"),
        number if number >= 0.095 => format!("{number:.1}"),
        number => format!("{number:.2}"),
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        seconds if seconds >= 7200.0 => format!("{} h", figure(seconds / 3600.0)),
        seconds if seconds >= 120.0 => format!("{} min", figure(seconds / 60.0)),
        seconds => format!("{} s", figure(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::for_share;
    use super::*;

    #[test]
    fn a_reason_says_what_is_needed_for_what() {
        let config = Config { least: 2, most: 9, parallelism: 4, ..for_share(0.95) };
        let said = |needed, limit| reason(&config, 12.0, 3.1 / 60.0, needed, limit, 3.6);
        assert_eq!(said(3, None), "95% at once of 12 s demand at 3.1 orders/min needs 3");
        assert_eq!(said(1, None), "95% at once of 12 s demand at 3.1 orders/min needs 1, minReplicas is 2");
        assert_eq!(
            said(10, Some(Limit::AtMax)),
            "95% at once of 12 s demand at 3.1 orders/min needs more than maxReplicas 9"
        );
        assert_eq!(
            said(3, Some(Limit::ProductionBound)),
            "95% at once of 12 s demand at 3.1 orders/min needs 3; 3.6 are in the making on average, parallelism is 4"
        );
        let costs = Config { aim: Aim::Costs { holding_per_shortage: 0.01 }, ..config };
        assert_eq!(
            reason(&costs, 600.0, 0.0005, 3, None, 0.3),
            "least cost of 10 min demand at 0.03 orders/min needs 3"
        );
    }

    #[test]
    fn figures_say_as_much_as_is_known() {
        for (number, said) in [(0.0, "0.00"), (0.04, "0.04"), (0.096, "0.1"), (3.12, "3.1"), (9.97, "10"), (95.0, "95")]
        {
            assert_eq!(figure(number), said);
        }
    }

    #[test]
    fn times_have_units_that_can_be_read() {
        for (seconds, said) in [(0.5, "0.5 s"), (90.0, "90 s"), (180.0, "3.0 min"), (86_400.0, "24 h")] {
            assert_eq!(time(seconds), said);
        }
    }
}
