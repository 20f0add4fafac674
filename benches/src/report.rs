//! The table.

use std::fmt::Write;

/// Several measurements of one thing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs(pub(crate) Vec<f64>);

impl Runs {
    pub(crate) fn median(&self) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }

    /// Half the distance between the slowest and the fastest run, in percent of the median.
    fn spread(&self) -> Option<f64> {
        let least = self.0.iter().copied().min_by(f64::total_cmp)?;
        let most = self.0.iter().copied().max_by(f64::total_cmp)?;
        Some((most - least) / 2.0 / self.median()? * 100.0)
    }

    pub(crate) fn show(&self) -> String {
        match self.median().zip(self.spread()) {
            Some((median, spread)) => format!("{} ±{spread:.0}%", short(median)),
            None => "–".to_owned(),
        }
    }
}

pub(crate) fn short(number: f64) -> String {
    match number {
        n if n >= 1e6 => format!("{:.2}M", n / 1e6),
        n if n >= 1e4 => format!("{:.0}k", n / 1e3),
        n if n >= 1e3 => format!("{:.1}k", n / 1e3),
        n if n >= 100.0 => format!("{n:.0}"),
        n => format!("{n:.2}"),
    }
}

pub(crate) fn megabytes(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}

pub(crate) fn ratio(ours: &Runs, theirs: &Runs) -> Option<f64> {
    Some(ours.median()? / theirs.median()?)
}

pub(crate) fn judged(ratio: Option<f64>, mark: Option<f64>) -> String {
    match (ratio, mark) {
        (None, _) => "–".to_owned(),
        (Some(ratio), Some(mark)) if ratio < mark => format!("**{ratio:.2}** (mark: {mark})"),
        (Some(ratio), _) => format!("{ratio:.2}"),
    }
}

/// A row of operations a second.
#[derive(Default)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) ours: Runs,
    pub(crate) bare: Runs,
    pub(crate) opendal: Runs,
    pub(crate) npm: Runs,
    pub(crate) mark_of_bare: Option<f64>,
    pub(crate) mark_of_npm: Option<f64>,
}

pub(crate) fn operations(rows: &[Row]) -> String {
    let mut table = String::from(
        "| | polystore-kv | bare | OpenDAL | npm | of bare | of OpenDAL | of npm |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            row.what,
            row.ours.show(),
            row.bare.show(),
            row.opendal.show(),
            row.npm.show(),
            judged(ratio(&row.ours, &row.bare), row.mark_of_bare),
            judged(ratio(&row.ours, &row.opendal), None),
            judged(ratio(&row.ours, &row.npm), row.mark_of_npm),
        );
    }
    table
}
