//! PAN-OS's filter language, as its log viewer takes it: `( subtype neq end ) and ( action eq allow )`.
//!
//! No grammar is published; this one takes the forms of Palo Alto Networks' knowledge base, "Basics of
//! Traffic Monitor Filtering": `and`, `or`, `not` and `!`, parentheses, and the operators eq, neq, in, notin,
//! contains, leq, geq and has.

mod condition;
mod parser;

use std::str::FromStr;

use super::row::Row;
use condition::Condition;

/// The filter of a PAN-OS traffic log's rows that call for an explanation.
pub const DEFAULT: &str = "( subtype neq end ) and ( action eq allow )";

/// A filter of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(Expression);

/// A mistake in a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at character {at} of the filter")]
pub struct FilterError {
    /// Its place, from 1.
    pub at: usize,
    /// The mistake.
    pub what: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Expression {
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Not(Box<Expression>),
    Is(Condition),
}

impl Filter {
    /// Whether a row is selected.
    #[must_use]
    pub fn selects(&self, row: &Row) -> bool {
        self.0.holds(row)
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parser::parse(text).map(Self)
    }
}

impl Expression {
    fn holds(&self, row: &Row) -> bool {
        match self {
            Self::And(all) => all.iter().all(|it| it.holds(row)),
            Self::Or(any) => any.iter().any(|it| it.holds(row)),
            Self::Not(other) => !other.holds(row),
            Self::Is(condition) => condition.holds(row),
        }
    }
}

#[cfg(test)]
mod tests;
