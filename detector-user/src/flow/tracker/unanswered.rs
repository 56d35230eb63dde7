//! Flows whose ClientHello nobody has answered, packed: a scan leaves many, and each waits for an hour.

use std::collections::VecDeque;
use std::sync::Arc;

use hashlink::LruCache;

use crate::flow::flow_id::FlowId;
use crate::flow::tracker::IDLE_NS;
use crate::flow::tracker::buffers::Buffers;
use crate::flow::tracker::entry::{Entry, Packed};

/// Flows that began last; most of them are answered soon, and are not packed.
const YOUNG: usize = 4096;

/// Packed flows, in the order of their deadlines.
pub(super) struct Unanswered {
    young: VecDeque<FlowId>,
    packed: LruCache<FlowId, Packed>,
    /// Deadlines of the first and of the last, on the tap's clock.
    first_ns: Option<u64>,
    last_ns: u64,
    /// Names of their taps, by number.
    taps: Vec<Arc<str>>,
}

impl Default for Unanswered {
    fn default() -> Self {
        Self {
            young: VecDeque::new(),
            packed: LruCache::new_unbounded(),
            first_ns: None,
            last_ns: 0,
            taps: Vec::new(),
        }
    }
}

impl Unanswered {
    pub(super) fn len(&self) -> usize {
        self.packed.len()
    }

    /// Returns all flows.
    pub(super) fn flows(&self) -> impl Iterator<Item = FlowId> + '_ {
        self.packed.iter().map(|(flow, _)| *flow)
    }

    /// Records a flow that says hello, beside so many others that are under way. Returns one that is no longer
    /// young.
    pub(super) fn record(&mut self, flow: FlowId, under_way: usize) -> Option<FlowId> {
        if under_way <= YOUNG {
            return None;
        }
        self.young.push_back(flow);
        (self.young.len() > YOUNG).then(|| self.young.pop_front())?
    }

    /// Packs an entry; false if there is more to it than a hello, or it is due before others.
    pub(super) fn insert(&mut self, flow: FlowId, entry: &Entry, deadline_ns: Option<u64>) -> bool {
        let is_last = deadline_ns.filter(|deadline_ns| *deadline_ns >= self.last_ns);
        let Some((deadline_ns, tap)) = is_last.zip(self.number(entry.tap())) else {
            return false;
        };
        let Some(packed) = entry.pack(&flow, tap) else {
            return false;
        };
        if packed.last_ns(&flow).saturating_add(IDLE_NS) != deadline_ns {
            return false;
        }
        self.packed.insert(flow, packed);
        self.first_ns = self.first_ns.or(Some(deadline_ns));
        self.last_ns = deadline_ns;
        true
    }

    /// Removes a flow, and returns its entry with its deadline.
    pub(super) fn remove(
        &mut self,
        flow: &FlowId,
        buffers: &mut Buffers,
    ) -> Option<(Box<Entry>, u64)> {
        if self.packed.is_empty() {
            return None;
        }
        let is_first = self.first().is_some_and(|(first, _)| first == flow);
        let packed = self.packed.remove(flow)?;
        if is_first {
            self.first_ns = self.first().map(|(flow, packed)| deadline(flow, packed));
        }
        let deadline_ns = deadline(flow, &packed);
        let taps = &self.taps;
        let tap = |number: u8| {
            let name = taps.get(usize::from(number));
            name.map_or_else(|| Arc::from("?"), Arc::clone)
        };
        let entry = packed.unpack(flow, tap, buffers)?;
        Some((entry, deadline_ns))
    }

    /// Returns the first flow with its last time, nanoseconds on the tap's clock.
    pub(super) fn oldest(&self) -> Option<(FlowId, u64)> {
        let (flow, _) = self.first()?;
        Some((*flow, self.first_ns?.saturating_sub(IDLE_NS)))
    }

    /// Returns the deadline of the first, on the tap's clock.
    pub(super) const fn next_deadline(&self) -> Option<u64> {
        self.first_ns
    }

    fn first(&self) -> Option<(&FlowId, &Packed)> {
        self.packed.iter().next()
    }

    /// Returns the number of a tap's name; `None` where there are too many.
    fn number(&mut self, tap: &Arc<str>) -> Option<u8> {
        let known = self.taps.iter().position(|name| Arc::ptr_eq(name, tap));
        let at = known.unwrap_or_else(|| {
            self.taps.push(Arc::clone(tap));
            self.taps.len() - 1
        });
        if known.is_none() && at > usize::from(u8::MAX) {
            self.taps.pop();
        }
        u8::try_from(at).ok()
    }
}

fn deadline(flow: &FlowId, packed: &Packed) -> u64 {
    packed.last_ns(flow).saturating_add(IDLE_NS)
}
