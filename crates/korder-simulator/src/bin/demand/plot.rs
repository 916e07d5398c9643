//! Drawings, as SVG.

use std::fmt::Write as _;

use crate::cells::Cell;
use crate::policies::{Constant, Fitted, Oracle, Policy, Recorded};
use crate::shelf;
use crate::traces::{LENGTH, Pattern, Trace};

/// The lead time that is drawn, in seconds, and the seed.
const LEAD: f64 = 60.0;
const SEED: u64 = 1;

const WIDTH: f64 = 640.0;
/// Three days are drawn in columns of a pixel.
const COLUMNS: u32 = 640;
const COLUMN: f64 = LENGTH / WIDTH;
const HEIGHT: f64 = 120.0;
const LEFT: f64 = 90.0;
const TOP: f64 = 34.0;
const GAP: f64 = 34.0;
/// What is fitted, what knows the rate, what is constant: to be told apart by those who see few colours too.
const COLOURS: [&str; 3] = ["#0072b2", "#e69f00", "#777777"];

/// How the level moves over three days, for each pattern a row: fitted, by who knows the rate, and constant.
pub(crate) fn levels(cells: &[Cell]) -> String {
    let rows: Vec<&Cell> = drawn(cells).collect();
    let mut text = begin(rows.len(), "Level over three days at 3 orders/min and a lead time of 60 s");
    for (row, cell) in (0..).zip(rows) {
        let trace = Trace::new(cell.pattern, cell.scale, SEED);
        let lines = [
            steps(&trace, Oracle { trace: &trace, lead: LEAD }),
            vec![(0.0, cell.constant.level), (LENGTH, cell.constant.level)],
            steps(&trace, Fitted::new(LEAD)),
        ];
        let most = lines.iter().flatten().map(|(_, level)| *level).fold(1.0, f64::max);
        let panel = Panel { row, across: LENGTH, least: 0.0, most };
        panel.frame(&mut text, cell.pattern.name(), ["0", &format!("{most:.0}")]);
        for (line, colour) in lines.iter().zip([COLOURS[1], COLOURS[2], COLOURS[0]]) {
            panel.line(&mut text, line, colour);
        }
    }
    text + "</svg>\n"
}

/// What share each constant level fills at once and how much then lies idle, and where the others are beside that.
pub(crate) fn exchange(cells: &[Cell]) -> String {
    let rows: Vec<&Cell> = drawn(cells).collect();
    let mut text = begin(
        rows.len(),
        "Share filled at once (70% to 100%) over units idle, at 3 orders/min and a lead time of 60 s",
    );
    for (row, cell) in (0..).zip(rows) {
        let trace = Trace::new(cell.pattern, cell.scale, SEED);
        let played = |policy: &mut dyn Policy| {
            let outcome = shelf::run(&trace, LEAD, SEED, policy);
            (outcome.idle / LENGTH, outcome.fill() * 100.0)
        };
        let fitted = played(&mut Fitted::new(LEAD));
        let knowing = played(&mut Oracle { trace: &trace, lead: LEAD });
        let mut constants: Vec<(f64, f64)> = Vec::new();
        for level in 0..200 {
            constants.push(played(&mut Constant(level)));
            if constants.last().is_some_and(|(_, fill)| *fill > 99.0) {
                break;
            }
        }
        constants.retain(|(_, fill)| *fill >= 70.0);
        let across = constants.iter().map(|(idle, _)| *idle).fold(1.0, f64::max);
        let panel = Panel { row, across, least: 70.0, most: 100.0 };
        panel.frame(&mut text, cell.pattern.name(), ["70%", "100%"]);
        panel.line(&mut text, &constants, COLOURS[2]);
        for (point, colour) in [(knowing, COLOURS[1]), (fitted, COLOURS[0])] {
            let (x, y) = panel.at(point);
            writeln!(text, r#"<circle cx="{x:.1}" cy="{y:.1}" r="4" fill="{colour}"/>"#).unwrap_or_default();
        }
        label(&mut text, LEFT + WIDTH, panel.bottom() + 14.0, "end", &format!("{across:.0} units idle"));
    }
    text + "</svg>\n"
}

fn drawn(cells: &[Cell]) -> impl Iterator<Item = &Cell> {
    let drawn = |cell: &&Cell| {
        cell.pattern != Pattern::Batches && cell.scale.total_cmp(&1.0).is_eq() && cell.lead.total_cmp(&LEAD).is_eq()
    };
    cells.iter().filter(drawn)
}

/// The greatest level of a policy in each of so many times, as a line.
fn steps(trace: &Trace, policy: impl Policy) -> Vec<(f64, f64)> {
    let mut recorded = Recorded { policy, levels: Vec::new() };
    shelf::run(trace, LEAD, SEED, &mut recorded);
    let mut levels = recorded.levels.into_iter().peekable();
    let mut last = 0;
    let greatest = |column: u32| {
        let (from, until) = (f64::from(column) * COLUMN, f64::from(column + 1) * COLUMN);
        let mut greatest = last;
        while let Some((_, level)) = levels.next_if(|(time, _)| *time < until) {
            greatest = greatest.max(level);
            last = level;
        }
        (from, f64::from(greatest))
    };
    (0..COLUMNS).map(greatest).collect()
}

/// One of the drawings below each other.
struct Panel {
    row: u32,
    across: f64,
    least: f64,
    most: f64,
}

impl Panel {
    fn bottom(&self) -> f64 {
        TOP + f64::from(self.row) * (HEIGHT + GAP) + HEIGHT
    }

    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let up = (y - self.least) / (self.most - self.least);
        (LEFT + x / self.across * WIDTH, self.bottom() - up * HEIGHT)
    }

    fn frame(&self, text: &mut String, name: &str, [least, most]: [&str; 2]) {
        let (bottom, top) = (self.bottom(), self.bottom() - HEIGHT);
        writeln!(
            text,
            r##"<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#cccccc"/>"##
        )
        .unwrap_or_default();
        label(text, LEFT - 8.0, bottom - HEIGHT / 2.0, "end", name);
        label(text, LEFT - 8.0, bottom, "end", least);
        label(text, LEFT - 8.0, top + 10.0, "end", most);
    }

    fn line(&self, text: &mut String, points: &[(f64, f64)], colour: &str) {
        let points: Vec<String> =
            points.iter().map(|point| self.at(*point)).map(|(x, y)| format!("{x:.0},{y:.1}")).collect();
        let drawn = points.join(" ");
        writeln!(text, r#"<polyline points="{drawn}" fill="none" stroke="{colour}"/>"#).unwrap_or_default();
    }
}

fn begin(rows: usize, title: &str) -> String {
    let rows = u32::try_from(rows).unwrap_or(0);
    let (width, height) = (LEFT + WIDTH + 20.0, TOP + f64::from(rows) * (HEIGHT + GAP));
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<title>{title}</title>\n<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    label(&mut text, LEFT, 14.0, "start", title);
    for (name, colour, x) in
        [("fitted", COLOURS[0], 0.0), ("knows the rate", COLOURS[1], 70.0), ("constant", COLOURS[2], 180.0)]
    {
        writeln!(text, r#"<rect x="{}" y="20" width="8" height="8" fill="{colour}"/>"#, LEFT + x).unwrap_or_default();
        label(&mut text, LEFT + x + 12.0, 28.0, "start", name);
    }
    text
}

fn label(text: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    writeln!(text, r#"<text x="{x}" y="{y}" text-anchor="{anchor}">{words}</text>"#).unwrap_or_default();
}
