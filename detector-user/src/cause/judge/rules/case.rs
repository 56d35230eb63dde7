//! The input and output of a rule.

use crate::cause::judge::evidence::Evidence;
use crate::cause::judge::facts::Facts;
use crate::verdict::{Cause, Intercepted};

/// All that a rule may read.
#[derive(Clone, Copy)]
pub struct Case<'f> {
    /// The leg nearer to the client.
    pub facts: &'f Facts<'f>,
    /// The leg behind an interceptor, if it was seen.
    pub server_leg: Option<&'f ServerLeg<'f>>,
    /// Whether the connection was intercepted.
    pub intercepted: Intercepted,
    /// Whether the client is an interceptor or a proxy, which asks on behalf of others.
    pub client_is_interceptor: bool,
    /// Whether an offer of ECH is known to be GREASE.
    pub ech_is_grease: bool,
}

/// The leg behind an interceptor, judged as a connection of its own.
pub struct ServerLeg<'f> {
    /// Its facts.
    pub facts: &'f Facts<'f>,
    /// Time of its failure, nanoseconds since the UNIX epoch.
    pub failed_ns: u64,
    /// Cause of its failure; [`Cause::Established`] if nothing speaks for any.
    pub cause: Cause,
    /// Probability of that cause, 0 to 1.
    pub confidence: f64,
    /// The weightiest evidence about it.
    pub evidence: Option<Evidence<'f>>,
}

/// A rule's evidence and its weight; `None` if it does not hold.
pub type Holds<'f> = Option<(Evidence<'f>, f64)>;
