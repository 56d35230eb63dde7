//! The table that is printed, in Markdown.

use std::fmt;

/// Rows of measurements.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

/// One measurement beside its reference.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) figure: String,
    pub(crate) reference: String,
    pub(crate) ratio: Option<f64>,
    /// Whether smaller ratios are better, and up to where they are good enough.
    pub(crate) goal: Option<Goal>,
}

/// The goal of a ratio, or of a figure.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// A figure and its limit in nanoseconds, whatever the ratio.
    Nanoseconds {
        figure: f64,
        at_most: f64,
    },
}

impl Table {
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| what | figure | reference, same run | ratio | goal | reached |"
        )?;
        writeln!(f, "| --- | --- | --- | --- | --- | --- |")?;
        for row in &self.rows {
            let ratio = row
                .ratio
                .map_or(String::new(), |ratio| format!("{ratio:.2}"));
            let (goal, reached) = match (row.goal, row.ratio) {
                (Some(Goal::AtMost(most)), Some(ratio)) => {
                    (format!("≤ {most}"), yes(ratio <= most))
                }
                (Some(Goal::AtLeast(least)), Some(ratio)) => {
                    (format!("≥ {least}"), yes(ratio >= least))
                }
                (Some(Goal::Nanoseconds { figure, at_most }), _) => {
                    (format!("≤ {at_most} ns"), yes(figure <= at_most))
                }
                _ => (String::new(), ""),
            };
            let Row {
                what,
                figure,
                reference,
                ..
            } = row;
            writeln!(
                f,
                "| {what} | {figure} | {reference} | {ratio} | {goal} | {reached} |"
            )?;
        }
        Ok(())
    }
}

fn yes(reached: bool) -> &'static str {
    if reached { "yes" } else { "**no**" }
}
