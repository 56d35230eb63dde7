//! Flow tables in maps, with the tag filter and eviction by the program itself.

use aya_ebpf::bindings::{BPF_EXIST, BPF_NOEXIST};
use detector_common::counter::Counter;
use detector_common::engine::Tables;
use detector_common::flow::{Flow, FlowKey, Settled, Watched, WatchedEntry, side_flags};
use detector_common::syn::{SynSlot, slot_hash};
use detector_common::tag_set::{FlowTag, RecentTags, TagSet};

use crate::atomic::{compare_exchange, fetch_add};
use crate::counters::count;
use crate::maps::{
    HALVES, HAND, PLACES, PLACES_LEN, SCRATCH, SETTLED, SYN_MASK, SYNS, TAG_MASK, TAG_SEED, TAGS,
    WATCHED, borrow, borrow_mut,
};

/// Places tried for one whose flow has ended or is idle before a busy flow is evicted.
const PLACES_TRIED: u32 = 8;
/// A watched flow without a segment for so long may be evicted.
const IDLE_NS: u64 = 10_000_000_000;
/// Likewise one that has ended: segments after the end matter for a moment only.
const ENDED_NS: u64 = 1_000_000_000;
/// Attempts to change a set of tags that other CPUs change at the same time.
const TAG_TRIES: u32 = 3;

/// The maps, as the engine's flow tables.
pub(crate) struct Maps {
    /// Whether the program keeps the tags of settled flows: adds them, and removes that of a SYN's key. One
    /// of an interface's two is enough: it sees either the SYN or the SYN,ACK.
    pub(crate) tags_settled: bool,
}

impl Tables for Maps {
    #[inline(always)]
    fn may_watch(&mut self, key: &FlowKey) -> bool {
        let tag = tag(key);
        match watched_tags(tag) {
            // SAFETY: a live, aligned word of the map, read at once as other CPUs may change it.
            Some(set) => unsafe { set.read_volatile() }.may_contain(tag),
            None => true,
        }
    }

    /// Once in some thousand times `true` for another flow with the same tag: but not for one whose SYN was
    /// seen.
    #[inline(always)]
    fn is_settled(&mut self, key: &FlowKey) -> bool {
        let tag = tag(key);
        // SAFETY: a live, aligned word of the map, read at once as other CPUs may change it.
        settled_tags(tag).is_some_and(|set| unsafe { set.read_volatile() }.contains(tag))
    }

    #[inline(always)]
    fn follows_halves(&self) -> bool {
        HALVES.load() != 0
    }

    #[inline(always)]
    fn settled(&mut self, key: &FlowKey) -> Option<&Settled> {
        // SAFETY: just looked up; any content is a flow, and it is only read. If the table evicted the
        // entry meanwhile, the content may be another flow's.
        unsafe { borrow(SETTLED.get_ptr(key)) }
    }

    #[inline(always)]
    fn watched(&mut self, key: &FlowKey) -> Option<&mut Watched> {
        // SAFETY: just looked up. The engine borrows one watched flow at a time, as it does so
        // through `&mut self`, and checks each value that it uses as an index or a length.
        unsafe { borrow_mut(WATCHED.get_ptr_mut(key)) }.map(|kept| &mut kept.watched)
    }

    #[inline(always)]
    fn watch(
        &mut self,
        key: &FlowKey,
        now_ns: u64,
        begin: impl FnOnce(&mut Flow, Option<&SynSlot>),
    ) -> Option<&mut Watched> {
        // SAFETY: just looked up, per CPU, and not used after `insert_watched` borrows it again.
        let scratch = unsafe { borrow_mut(SCRATCH.get_ptr_mut(0)) }?;
        begin(
            &mut scratch.kept.watched.flow,
            self.syns(key).map(|slot| &*slot),
        );
        // SAFETY: as in `watched`.
        unsafe { insert_watched(key, now_ns) }.map(|kept| &mut kept.watched)
    }

    #[inline(always)]
    fn unwatch(&mut self, key: &FlowKey) {
        remove(key, TagChange::Unwatched);
    }

    #[inline(always)]
    fn settle(&mut self, key: &FlowKey) {
        // SAFETY: just looked up; any content is a flow, and it is only copied.
        let kept = unsafe { borrow(WATCHED.get_ptr(key)) };
        // SAFETY: just looked up, and this CPU's own.
        let scratch = unsafe { borrow_mut(SCRATCH.get_ptr_mut(0)) };
        if let (Some(kept), Some(scratch)) = (kept, scratch) {
            scratch.settled = Settled::of(&kept.watched.flow);
            // A full LRU table evicts its oldest; that is no error.
            let _ = SETTLED.insert(key, &scratch.settled, 0);
        }
        let change = if self.tags_settled {
            TagChange::Settled
        } else {
            TagChange::Unwatched
        };
        remove(key, change);
    }

    #[inline(always)]
    fn resume(&mut self, key: &FlowKey, now_ns: u64) -> Option<&mut Watched> {
        // SAFETY: just looked up; any content is a flow, and it is only copied. If the table evicted
        // the entry meanwhile, the content may be another flow's.
        let settled = unsafe { borrow(SETTLED.get_ptr(key)) }?;
        // SAFETY: as in `watch`.
        let scratch = unsafe { borrow_mut(SCRATCH.get_ptr_mut(0)) }?;
        settled.resume(&mut scratch.kept.watched.flow);
        // SAFETY: as in `watched`.
        let kept = unsafe { insert_watched(key, now_ns) }?;
        // The table may have evicted the entry meanwhile; that is no error.
        let _ = SETTLED.remove(key);
        Some(&mut kept.watched)
    }

    #[inline(always)]
    fn claim_syns(&mut self, key: &FlowKey) -> Option<&mut SynSlot> {
        syn_slot(key, true, self.tags_settled)
    }

    #[inline(always)]
    fn syns(&mut self, key: &FlowKey) -> Option<&mut SynSlot> {
        syn_slot(key, false, false)
    }
}

/// Returns the slot that a key's hash selects: claimed, or only if it belongs to the key.
#[inline(never)]
fn syn_slot<'a>(key: &FlowKey, claim: bool, untag: bool) -> Option<&'a mut SynSlot> {
    let hash = slot_hash(key, TAG_SEED.load());
    let index = (hash >> 32) as u32 & SYN_MASK.load();
    // SAFETY: just looked up, and borrowed once at a time. Another CPU may write it for another
    // connection: no number in it is an index or a length, and sequence numbers are compared.
    let slot = unsafe { borrow_mut(SYNS.get_ptr_mut(index)) }?;
    if untag {
        // The connection that begins is not the one that was settled, and may have its tag.
        let tag = tag(key);
        if let Some(settled) = settled_tags(tag) {
            // SAFETY: as in `change_tags`.
            unsafe { settled.write_volatile(settled.read_volatile().without(tag)) };
        }
    }
    if claim {
        slot.claim(hash);
    } else if !slot.is_of(hash) {
        return None;
    }
    Some(slot)
}

/// Inserts the flow in the scratch into [`WATCHED`]. Records beyond each side's count are never read,
/// so those of the flow that used the scratch before are not cleared.
///
/// Not inlined, like everything here that few packets need: the verifier follows it once per call.
///
/// # Safety
/// This CPU uses no other reference to the scratch meanwhile, nor to the flow while it uses this one.
#[inline(never)]
unsafe fn insert_watched<'a>(key: &FlowKey, now_ns: u64) -> Option<&'a mut WatchedEntry> {
    let place = free_place(now_ns);
    // SAFETY: just looked up, and this CPU's own, and the caller's contract.
    let scratch = unsafe { borrow_mut(SCRATCH.get_ptr_mut(0)) }?;
    let slot = PLACES.get_ptr_mut(place)?;
    scratch.kept.place = place;
    // The tag comes first: a segment on another CPU must not miss the flow.
    change_tags(key, TagChange::Watched);
    let new = WATCHED.insert(key, &scratch.kept, u64::from(BPF_NOEXIST));
    if new.is_err() {
        // Either the flow is watched already, and its first tag stays, or the table is full.
        change_tags(key, TagChange::Unwatched);
        WATCHED
            .insert(key, &scratch.kept, u64::from(BPF_EXIST))
            .ok()?;
    }
    // SAFETY: a live, aligned value of the map. A CPU that reads it half written finds no flow by
    // that key, or one whose place is another.
    unsafe { slot.write(*key) };
    // SAFETY: just looked up, and the caller's contract.
    unsafe { borrow_mut(WATCHED.get_ptr_mut(key)) }
}

/// Returns a free place, evicting a flow if need be: the next, in order of insertion, that has ended
/// or is idle, or else the one idle for longest of those tried.
#[inline(always)]
fn free_place(now_ns: u64) -> u32 {
    let Some(hand) = HAND.get_ptr_mut(0) else {
        return 0;
    };
    let places = u64::from(PLACES_LEN.load()).max(1);
    let mut chosen = 0;
    let mut chosen_ns = u64::MAX;
    for _ in 0..PLACES_TRIED {
        // SAFETY: a live, aligned value of the map.
        let place = (unsafe { fetch_add(hand, 1) } % places) as u32;
        let last_ns = last_segment(place);
        if last_ns < chosen_ns {
            chosen = place;
            chosen_ns = last_ns;
        }
        // The clock starts at boot: compared with 0, a free place is free at any time.
        if last_ns == 0 || now_ns.wrapping_sub(last_ns) >= IDLE_NS {
            break;
        }
    }
    if chosen_ns != 0 {
        let idle = now_ns.wrapping_sub(chosen_ns) >= IDLE_NS;
        evict(
            chosen,
            if idle {
                Counter::Evicted
            } else {
                Counter::EvictedBusy
            },
        );
    }
    chosen
}

/// Returns the time of the last segment of the flow in this place, nanoseconds, moved back if it has
/// ended; 0 if there is none.
#[inline(always)]
fn last_segment(place: u32) -> u64 {
    // SAFETY: just looked up. Another CPU may be writing the key: see `insert_watched`.
    let key = unsafe { borrow(PLACES.get_ptr(place)) };
    // SAFETY: just looked up; other CPUs may be writing it, and any number is a valid time.
    let kept = key.and_then(|key| unsafe { borrow(WATCHED.get_ptr(key)) });
    let Some(kept) = kept.filter(|kept| kept.place == place) else {
        return 0;
    };
    let [client, server] = &kept.watched.flow.sides;
    let last_ns = if client.last_ns > server.last_ns {
        client.last_ns
    } else {
        server.last_ns
    };
    let ended = (client.flags | server.flags) & side_flags::FIN != 0;
    if !(ended || client.is_reset() || server.is_reset()) {
        return last_ns;
    }
    last_ns.wrapping_sub(IDLE_NS - ENDED_NS)
}

#[inline(always)]
fn evict(place: u32, reason: Counter) {
    // SAFETY: just looked up. Another CPU may be writing the key: see `insert_watched`.
    if let Some(key) = unsafe { borrow(PLACES.get_ptr(place)) } {
        remove(key, TagChange::Unwatched);
        count(reason);
    }
}

/// Removes a flow from [`WATCHED`], and its tag unless another CPU removed both.
///
/// Inlined: one more call below `insert_watched` is more stack than Linux 6.1 allows.
#[inline(always)]
fn remove(key: &FlowKey, change: TagChange) {
    if WATCHED.remove(key).is_ok() {
        change_tags(key, change);
    }
}

#[inline(always)]
fn tag(key: &FlowKey) -> FlowTag {
    let mut tag = FlowTag::of(key, TAG_SEED.load());
    tag.set &= TAG_MASK.load();
    tag
}

/// Returns the set of watched flows for a tag.
#[inline(always)]
fn watched_tags(tag: FlowTag) -> Option<*mut TagSet> {
    let tags = TAGS.get_ptr_mut(tag.set)?;
    // SAFETY: a field of a live value of the map.
    Some(unsafe { &raw mut (*tags).watched })
}

/// Returns the set of settled flows for a tag.
#[inline(always)]
fn settled_tags(tag: FlowTag) -> Option<*mut RecentTags> {
    let tags = TAGS.get_ptr_mut(tag.set)?;
    // SAFETY: a field of a live value of the map.
    Some(unsafe { &raw mut (*tags).settled })
}

/// A flow's change that its tags follow. That of a settled flow stays when it is watched again: while it is,
/// nobody asks, and the SYN of another connection removes it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum TagChange {
    Watched,
    Unwatched,
    Settled,
}

/// Changes the tags of a flow.
#[inline(never)]
fn change_tags(key: &FlowKey, change: TagChange) {
    let tag = tag(key);
    let Some(set) = watched_tags(tag) else {
        return;
    };
    let add = change == TagChange::Watched;
    if change == TagChange::Settled
        && let Some(settled) = settled_tags(tag)
    {
        // SAFETY: a live, aligned word of the map. A change that another CPU makes meanwhile may be lost:
        // then a look at payload is made in vain, or a tag stays until others take its place.
        unsafe { settled.write_volatile(settled.read_volatile().with(tag)) };
    }
    for _ in 0..TAG_TRIES {
        // SAFETY: a live, aligned word of the map; the exchange fails if it changes meanwhile.
        let old = unsafe { set.read_volatile() };
        let new = if add { old.with(tag) } else { old.without(tag) };
        // SAFETY: as above; a set is one word.
        if unsafe { compare_exchange(set.cast(), old.0, new.0) } {
            return;
        }
    }
    if add {
        // Other CPUs were faster each time. Saturated, the set misses no flow, whatever else happens
        // to it; a tag that was not removed only costs needless look-ups.
        // SAFETY: as above.
        unsafe { set.write_volatile(TagSet::saturated()) };
    }
}
