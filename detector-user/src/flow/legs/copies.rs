//! Copies: the same leg at further taps, where its partner is another leg.
//!
//! Of a forwarded connection both taps' flows are partners. A third tap's flow with the same client random, or
//! a second one's of a leg with an interceptor between, is one leg seen twice: it must not take the place of the
//! leg behind the interceptor, and has no verdict of its own.

use crate::flow::flow_id::FlowId;
use crate::flow::legs::Legs;
use crate::flow::legs::pairing::{Leg, destinations, may_be_intercepted, meet};
use crate::flow::timeline::Beginning;

impl Legs {
    /// Whether a flow has the client random of this beginning.
    pub(super) fn has_random(&self, flow: Option<FlowId>, beginning: &Beginning) -> bool {
        let leg = flow.and_then(|flow| self.legs.peek(&flow));
        leg.is_some_and(|leg| leg.beginning.random == beginning.random)
    }

    /// Returns the leg under way, with a partner, that this beginning is a copy of.
    pub(super) fn original(&self, beginning: &Beginning) -> Option<FlowId> {
        let flow = *self.by_random.get(&beginning.random)?;
        let leg = self.legs.peek(&flow)?;
        let (key, own) = (&flow.key, &beginning.flow.key);
        let elsewhere = key.interface != own.interface
            || key.vlan != own.vlan
            || key.tunnel != own.tunnel
            || meet(&leg.beginning, beginning)
            || meet(beginning, &leg.beginning);
        let is_paired = leg.partner.is_some_and(|it| self.legs.contains_key(&it));
        (is_paired && leg.over.is_none() && elsewhere).then_some(flow)
    }

    /// Records a copy of a leg. Returns the leg as the copy's partner, if its partner had been none: two
    /// connections that were both forwarded are of two clients.
    pub(super) fn record_copy(&mut self, original: FlowId, copy: FlowId) -> Option<FlowId> {
        let leg = self.legs.get_mut(&original)?;
        let random = leg.beginning.random;
        let first = *leg.copy.get_or_insert(copy);
        let partner = leg.partner?;
        let other = self.legs.peek(&partner)?;
        let others_copy = other.copy?;
        if other.beginning.random == random || first != copy {
            return None;
        }
        self.join_copy(partner, others_copy);
        self.legs.get_mut(&original)?.copy = None;
        Some(original)
    }

    /// Makes a leg and its copy partners.
    fn join_copy(&mut self, original: FlowId, copy: FlowId) {
        let has_copy = self.legs.contains_key(&copy);
        if let Some(leg) = self.legs.get_mut(&original) {
            leg.partner = has_copy.then_some(copy);
            leg.copy = None;
            leg.meets = false;
        }
        if let Some(leg) = self.legs.get_mut(&copy) {
            leg.partner = Some(original);
            leg.is_copy = false;
        }
    }

    /// Returns the leg that two taps saw before its interceptor, whose own leg this beginning may be. The
    /// farther tap's flow is only a copy from then on.
    pub(super) fn partner_of_copies(&mut self, beginning: &Beginning) -> Option<FlowId> {
        let same_server = self.by_server.get(&destinations(beginning).next()?)?;
        let elsewhere =
            |leg: &Leg| leg.beginning.flow.key.interface != beginning.flow.key.interface;
        let (flow, copy) = same_server.iter().find_map(|flow| {
            let leg = self.legs.peek(flow)?;
            let partner = leg.partner?;
            let copy = self.legs.peek(&partner)?;
            let is_forwarded = leg.beginning.random == copy.beginning.random
                && leg.beginning.started_ns <= copy.beginning.started_ns;
            let under_way = leg.over.is_none() && copy.over.is_none();
            let fits =
                elsewhere(leg) && elsewhere(copy) && may_be_intercepted(&copy.beginning, beginning);
            (is_forwarded && under_way && fits).then_some((*flow, partner))
        })?;
        self.legs.get_mut(&flow)?.copy = Some(copy);
        let leg = self.legs.get_mut(&copy)?;
        leg.partner = None;
        leg.is_copy = true;
        Some(flow)
    }
}
