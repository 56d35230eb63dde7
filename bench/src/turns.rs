//! Figures of rounds that two candidates take by turns, and their ratios.

use std::fmt;

/// Figures of rounds, in the order in which they were measured.
#[derive(Default)]
pub(crate) struct Turns {
    /// Of the candidate that the other is measured by.
    pub(crate) reference: Vec<f64>,
    pub(crate) figure: Vec<f64>,
}

impl Turns {
    pub(crate) fn push(&mut self, reference: f64, figure: f64) {
        self.reference.push(reference);
        self.figure.push(figure);
    }

    /// Returns the spread of figure by reference, of neighbours in time.
    pub(crate) fn ratio(&self) -> Spread {
        let pairs = self.reference.iter().zip(&self.figure);
        Spread::of(
            pairs
                .map(|(reference, figure)| figure / reference)
                .collect(),
        )
    }
}

/// Ratios of rounds.
#[derive(Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    fn of(ratios: Vec<f64>) -> Self {
        Self {
            median: median(&ratios),
            least: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            most: ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            median,
            least,
            most,
        } = self;
        write!(f, "{median:.2}, {least:.2} to {most:.2}")
    }
}

/// Returns the median, of an even number the upper one; NaN of none.
pub(crate) fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_neighbours_in_time() {
        let mut turns = Turns::default();
        // The machine gets slower, and then still slower.
        for (reference, figure) in [(1.0, 2.0), (10.0, 10.0), (100.0, 50.0)] {
            turns.push(reference, figure);
        }
        let spread = Spread {
            median: 1.0,
            least: 0.5,
            most: 2.0,
        };
        assert_eq!(turns.ratio(), spread);
        assert_eq!(spread.to_string(), "1.00, 0.50 to 2.00");
    }
}
