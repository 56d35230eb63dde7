//! Retries: further legs of an interceptor whose client waits, because an earlier one failed.
//!
//! Interceptors answer by themselves where an origin leaves them, with an error page inside TLS, and their client
//! may keep that connection for minutes. Some ask the origin again, even before they have closed the leg
//! that failed. All that is one failure, the waiting client's.

use crate::flow::flow_id::FlowId;
use crate::flow::legs::pairing::{Ended, destinations, is_served, joined, may_be_for, meet};
use crate::flow::legs::{Legs, PARTNER_NS};
use crate::flow::timeline::{Beginning, Timeline};

/// Longest wait of an interceptor's leg that failed for the end of its client's, which is answered by the
/// interceptor: browsers close idle connections after five minutes at most.
pub(super) const LEFT_WAITING_NS: u64 = 300_000_000_000;

impl Legs {
    /// Records a further leg of an interceptor beside an earlier one; returns the leg of their client.
    pub(super) fn record_retry(&mut self, beginning: &Beginning) -> Option<FlowId> {
        let same_server = self.by_server.get(&destinations(beginning).next()?)?;
        let client = same_server.iter().copied().find(|flow| {
            let fits = || {
                let client = self.legs.peek(flow)?;
                let first = &client.beginning;
                let earlier = &self.legs.peek(&client.partner?)?.beginning;
                let elsewhere = flow.key.interface != beginning.flow.key.interface;
                let is_intercepted = may_be_for(first, earlier);
                let is_from_same = earlier.client.ip() == beginning.client.ip();
                let is_later = earlier.started_ns <= beginning.started_ns;
                let may_be = (elsewhere || first.ends_at_proxy && meet(first, beginning))
                    && may_be_for(first, beginning);
                Some(client.over.is_none() && is_intercepted && is_from_same && is_later && may_be)
            };
            fits() == Some(true)
        })?;
        self.legs.get_mut(&client)?.retries.push(beginning.flow);
        Some(client)
    }

    pub(super) fn is_retry(&self, flow: FlowId) -> bool {
        let leg = self.legs.peek(&flow);
        leg.is_some_and(|leg| leg.retry_of.is_some() && leg.partner.is_none() && !leg.too_late)
    }

    /// Lets a retry that failed wait for the earlier leg, and passes on one that worked.
    pub(super) fn retry_over(&mut self, timeline: Box<Timeline>, now_ns: u64) {
        let flow = timeline.flow;
        if !is_served(&timeline) {
            let Some(leg) = self.legs.peek_mut(&flow) else {
                return;
            };
            let deadline = now_ns.saturating_add(PARTNER_NS);
            leg.over = Some(timeline);
            leg.deadline = Some(deadline);
            self.due.insert((deadline, flow));
            return;
        }
        let retry = self.forget(flow);
        if let Some(client) = retry.and_then(|leg| self.legs.peek_mut(&leg.retry_of?)) {
            client.served_again = true;
        }
        self.push_over(timeline, None);
    }

    /// Whether a flow is a retry that failed as the earlier leg of its interceptor did, which is still to be
    /// judged.
    pub(super) fn repeats_a_failure(&self, flow: FlowId) -> bool {
        let failed_earlier = || {
            let retry = self.legs.peek(&flow)?;
            let client = self.legs.peek(&retry.retry_of?)?;
            let earlier = self.legs.peek(&client.partner?)?.over.as_ref()?;
            Some(retry.partner.is_none() && !is_served(earlier))
        };
        failed_earlier() == Some(true)
    }

    /// Whether a leg that is over was an interceptor's and failed, while its client is still under way.
    pub(super) fn leaves_waiting(&self, client: FlowId, leg: &Timeline) -> bool {
        let own = self.legs.peek(&leg.flow).map(|leg| &leg.beginning);
        let client = self.legs.peek(&client).map(|leg| &leg.beginning);
        let (Some(own), Some(client)) = (own, client) else {
            return false;
        };
        may_be_for(client, own) && !is_served(leg)
    }

    /// Joins two legs, or returns them if they are none of one connection.
    pub(super) fn join_or_part(&mut self, one: Ended, other: Ended) -> Option<[Ended; 2]> {
        let (mut client, server) = if one.1.started_ns <= other.1.started_ns {
            (one, other)
        } else {
            (other, one)
        };
        let retries = std::mem::take(&mut client.0.retries);
        let earlier = client.0.earlier.take();
        let has_failed = !is_served(&server.1);
        self.further += u64::from(earlier.is_some());
        if client.0.served_again && has_failed {
            self.push_over(client.1, None);
            self.push_over(server.1, None);
            return None;
        }
        let (client, server) = match joined(client, server) {
            Ok((client_leg, server_leg)) => {
                if has_failed {
                    self.fold(&retries);
                }
                self.push_over(client_leg, Some(server_leg));
                return None;
            }
            Err(apart) => (*apart).into(),
        };
        let Some(earlier) = earlier else {
            return Some([client, server]);
        };
        match joined(client, *earlier) {
            Ok((client_leg, server_leg)) => {
                self.push_over(client_leg, Some(server_leg));
                // Of the two the later one is the further flow, if any.
                if !has_failed {
                    self.further -= 1;
                    self.push_over(server.1, None);
                }
                None
            }
            Err(apart) => {
                let [client, _] = *apart;
                Some([client, server])
            }
        }
    }

    /// Drops the retries of a connection that is judged by its first leg.
    fn fold(&mut self, retries: &[FlowId]) {
        for flow in retries {
            let Some(leg) = self.legs.peek_mut(flow).filter(|leg| leg.partner.is_none()) else {
                continue;
            };
            match &leg.over {
                Some(_) => {
                    self.forget(*flow);
                    self.further += 1;
                }
                None => leg.too_late = true,
            }
        }
    }
}
