//! What was reached, as a section of a page.

use std::fmt::Write as _;

use crate::cells::{Cell, SCALES};
use crate::traces::Pattern;

/// A share of the orders that no pattern may be below, and one below which it is compared with who knows the rate.
const LEAST_FILL: f64 = 0.85;
const GOOD_FILL: f64 = 0.95;

const INTRODUCTION: &str = "\
Written by `make bench-demand`. Three days of orders, with nothing known and nothing ready at the beginning; five seeds, whose \
traces are the same on any machine, as is all that follows from them. Lead times are log-normal (deviation 0.3 of the mean); the \
level knows their mean, and neither the level nor production is bounded.

- *steady*: 3 orders a minute. *bursty*: 0.6 a minute for 50 minutes and 15 for 10, each at random. *daily*: between 0.15 and \
5.85, as a sine over the day. *launch*: 0.3, and 30 after a day, which fades over two hours. *dying*: 6, halved every eight hours, and \
none after two days. *batches*: 20 at the same moment, every 400 s on average; shown only, and in no goal. All rates once more, \
divided by ten.
- **Less idle** compares how many units lay ready, on average, with the constant level that fills as many orders at once (between two \
integers: linear). **Charged**: each unit that was thrown away counts as idle for a lead time more.

";

const DRAWINGS: &str = "
### Drawn

The level over three days (of each seven minutes the greatest; first seed):

![The level over three days](level-moves.svg)

The share of orders filled at once over the units that lie idle: the line is what constant levels do, left of it and above is better.

![Share filled at once over units idle](level-exchange.svg)
";

/// The tables.
pub(crate) fn section(cells: &[Cell]) -> String {
    let rates = SCALES.map(|scale| {
        let of_scale = cells.iter().filter(|cell| cell.scale.total_cmp(&scale).is_eq());
        format!("\n### {} orders/min\n\n{}", rate(scale), table(of_scale))
    });
    [INTRODUCTION, &goals(cells), &rates.concat(), &below(cells), DRAWINGS].concat()
}

fn goals(cells: &[Cell]) -> String {
    let judged = |scale: f64, least_lead: f64| -> Vec<&Cell> {
        let judged = |cell: &&Cell| {
            cell.pattern != Pattern::Batches && cell.scale.total_cmp(&scale).is_eq() && cell.lead >= least_lead
        };
        cells.iter().filter(judged).collect()
    };
    let mean = |cells: &[&Cell], of: fn(&Cell) -> f64| -> f64 {
        let (sum, count) = cells.iter().fold((0.0, 0.0), |(sum, count), cell| (sum + of(cell), count + 1.0));
        sum / count
    };
    let least = |of: fn(&Cell) -> f64, cells: &[&Cell]| cells.iter().map(|cell| of(cell)).fold(f64::INFINITY, f64::min);
    let [usual, seldom] = SCALES.map(|scale| judged(scale, 0.0));
    let slow = judged(SCALES[0], 60.0);
    let steady: Vec<&Cell> = usual.iter().copied().filter(|cell| cell.pattern == Pattern::Steady).collect();
    let all = [usual.clone(), seldom.clone()].concat();
    let fill: fn(&Cell) -> f64 = |cell| cell.fitted.fill();
    let mut text = "| | reached | goal | with what was thrown away charged |\n| --- | --- | --- | --- |\n".to_owned();
    let mut row = |what: &str, reached: f64, goal: f64, charged: Option<f64>| {
        let verdict = if reached >= goal { "met" } else { "**missed**" };
        let charged = charged.map_or_else(String::new, percent);
        let least = percent(goal);
        writeln!(text, "| {what} | {} | {least}, {verdict} | {charged} |", percent(reached)).unwrap_or_default();
    };
    row("3/min: filled at once, mean", mean(&usual, fill), 0.945, None);
    let less_and_charged = |cells: &[&Cell]| (mean(cells, Cell::less), Some(mean(cells, Cell::less_charged)));
    let (less, charged) = less_and_charged(&usual);
    row("3/min: less idle, mean", less, 0.40, charged);
    let (less, charged) = less_and_charged(&slow);
    row("3/min, lead times from 60 s: less idle, mean", less, 0.45, charged);
    row("3/min, steady: less idle, least", least(Cell::less, &steady), -0.05, Some(least(Cell::less_charged, &steady)));
    let (less, charged) = less_and_charged(&seldom);
    row("0.3/min: less idle, mean", less, 0.20, charged);
    row("filled at once, least of all", least(fill, &all), LEAST_FILL, None);
    text
}

fn table<'a>(cells: impl Iterator<Item = &'a Cell>) -> String {
    let mut text = "| lead time | demand | at once | units idle | thrown away | constant level that fills as much | its units idle \
                    | less idle | and charged |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for cell in cells {
        let Cell { pattern, lead, fitted, constant, .. } = cell;
        writeln!(
            text,
            "| {lead} s | {} | {} | {:.2} | {:.1}% | {:.1} | {:.2} | {} | {} |",
            pattern.name(),
            percent(fitted.fill()),
            Cell::units(fitted.idle),
            100.0 * fitted.scrapped / fitted.orders,
            constant.level,
            Cell::units(constant.idle),
            percent(cell.less()),
            percent(cell.less_charged()),
        )
        .unwrap_or_default();
    }
    text
}

/// Those that are not good, beside who knows the rate.
fn below(cells: &[Cell]) -> String {
    let mut text = format!(
        "\n### Beside an oracle\n\nWhere less than {} are filled at once, beside one who is told the rate at each moment, and keeps \
         the quantile of the orders of a lead time at that rate, plus one.\n\n\
         | rate | lead time | demand | at once | units idle | oracle: at once | units idle |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
        percent(GOOD_FILL)
    );
    for Cell { pattern, scale, lead, fitted, oracle, .. } in cells {
        if *pattern == Pattern::Batches || fitted.fill() >= GOOD_FILL {
            continue;
        }
        writeln!(
            text,
            "| {}/min | {lead} s | {} | {} | {:.2} | {} | {:.2} |",
            rate(*scale),
            pattern.name(),
            percent(fitted.fill()),
            Cell::units(fitted.idle),
            percent(oracle.fill()),
            Cell::units(oracle.idle),
        )
        .unwrap_or_default();
    }
    text
}

/// The mean rate, in orders per minute.
fn rate(scale: f64) -> String {
    let rate = format!("{:.1}", 3.0 * scale);
    rate.strip_suffix(".0").unwrap_or(&rate).to_owned()
}

fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::Constantly;
    use crate::shelf::Outcome;

    fn cell(pattern: Pattern, scale: f64, at_once: f64, idle: f64) -> Cell {
        let fitted = Outcome { orders: 100.0, at_once, idle, scrapped: 10.0 };
        let oracle = Outcome { orders: 100.0, at_once: 97.0, idle: 5.0, scrapped: 0.0 };
        Cell { pattern, scale, lead: 60.0, fitted, oracle, constant: Constantly { level: 2.5, idle: 10_000.0 } }
    }

    #[test]
    fn a_goal_that_is_missed_is_said_and_batches_do_not_count() {
        let cells = [
            cell(Pattern::Steady, 1.0, 96.0, 5000.0),
            cell(Pattern::Steady, 0.1, 90.0, 9000.0),
            cell(Pattern::Batches, 1.0, 10.0, 90_000.0),
        ];
        let goals = goals(&cells);
        assert!(goals.contains("| 3/min: less idle, mean | 50.0% | 40.0%, met | 44.0% |\n"), "{goals}");
        assert!(goals.contains("| 0.3/min: less idle, mean | 10.0% | 20.0%, **missed** | 4.0% |\n"), "{goals}");
        assert!(goals.contains("| filled at once, least of all | 90.0% | 85.0%, met |  |\n"), "{goals}");
        assert_eq!([rate(1.0), rate(0.1)], ["3", "0.3"]);
        let below = below(&cells);
        assert_eq!(below.lines().filter(|line| line.contains("/min")).count(), 1, "{below}");
    }
}
