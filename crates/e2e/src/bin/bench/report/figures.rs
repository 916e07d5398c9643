//! Figures as they stand in tables.

use std::time::Duration;

use crate::spread::Spread;

/// A figure, and whether the goal for it is met.
pub(super) fn verdict(figure: &str, is_met: bool) -> String {
    format!("{figure}, {}", met(is_met))
}

pub(super) fn met(is_met: bool) -> &'static str {
    if is_met { "met" } else { "**missed**" }
}

/// Shortest, middle and longest, as three columns.
pub(super) fn range(spread: &Spread) -> String {
    [spread.min(), spread.median(), spread.max()].map(seconds).join(" | ")
}

pub(super) fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

pub(super) fn millis(duration: Duration) -> String {
    format!("{:.0} ms", duration.as_secs_f64() * 1000.0)
}

pub(super) fn ratio(of: Duration, to: Duration) -> String {
    format!("{:.1}", of.as_secs_f64() / to.as_secs_f64())
}

/// A row of a table.
pub(super) fn row(cells: impl IntoIterator<Item = String>) -> String {
    cells.into_iter().fold("|".to_owned(), |row, cell| row + " " + &cell + " |") + "\n"
}

/// The first rows of a table with these headings.
pub(super) fn head(headings: &[String]) -> String {
    row(headings.iter().cloned()) + &row(headings.iter().map(|_| "---".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_their_units() {
        let duration = Duration::from_micros(51_600);
        assert_eq!((seconds(duration), millis(duration)), ("0.05 s".into(), "52 ms".into()));
        assert_eq!(ratio(Duration::from_secs(3), Duration::from_secs(2)), "1.5");
    }

    #[test]
    fn a_table_begins_with_its_headings() {
        assert_eq!(head(&[String::new(), "a".to_owned()]), "|  | a |\n| --- | --- |\n");
    }
}
