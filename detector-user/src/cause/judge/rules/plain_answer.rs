//! Servers that answer a ClientHello in another protocol.

use super::case::{Case, Holds};
use crate::cause::judge::evidence::Evidence;

pub(super) fn plain_answer(case: Case<'_>) -> Holds<'_> {
    let answer = case.facts.plain_answer()?;
    Some((Evidence::PlainAnswer(answer), 3.5))
}
