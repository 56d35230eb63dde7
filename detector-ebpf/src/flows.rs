//! Flow tables in maps, with the tag filter and eviction by the program itself.

use aya_ebpf::bindings::{BPF_EXIST, BPF_NOEXIST};
use detector_common::counter::Counter;
use detector_common::engine::Tables;
use detector_common::flow::{Flow, FlowKey, Settled, Watched, WatchedEntry};
use detector_common::syn::{SynSlot, slot_hash};
use detector_common::tag_set::{FlowTag, RecentTags, TagSet};

use crate::atomic::{compare_exchange, fetch_add};
use crate::counters::count;
use crate::maps::{
    HALVES, HAND, PLACES, PLACES_LEN, SCRATCH, SETTLED, SYN_MASK, SYNS, TAG_MASK, TAG_SEED, TAGS,
    TIMES, WATCHED, borrow, borrow_mut,
};

/// Places tried for one whose flow has ended or is idle before a busy flow is evicted.
const PLACES_TRIED: u32 = 8;
/// A watched flow without a segment for so long may be evicted.
const IDLE_NS: i64 = 10_000_000_000;
/// Likewise one that has ended: segments after the end matter for a moment only.
const ENDED_NS: i64 = 1_000_000_000;
/// Age of the last segment of a place without a flow.
const FREE: i64 = i64::MAX;
/// Attempts to change a set of tags that other CPUs change at the same time.
const TAG_TRIES: u32 = 3;

/// The maps, as the engine's flow tables.
pub(crate) struct Maps {
    /// Whether the program keeps the tags of settled flows: adds them, and removes that of a SYN's key. One
    /// of an interface's two is enough: it sees either the SYN or the SYN,ACK.
    pub(crate) tags_settled: bool,
    /// Place of the watched flow that was returned last.
    place: u32,
}

impl Maps {
    #[inline(always)]
    pub(crate) const fn new(tags_settled: bool) -> Self {
        Self {
            tags_settled,
            place: 0,
        }
    }

    /// Returns the watched flow of an entry, which is the one returned last from now on.
    #[inline(always)]
    fn returned<'a>(&mut self, kept: Option<&'a mut WatchedEntry>) -> Option<&'a mut Watched> {
        let kept = kept?;
        self.place = kept.place;
        Some(&mut kept.watched)
    }
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
        let kept = unsafe { borrow_mut(WATCHED.get_ptr_mut(key)) };
        self.returned(kept)
    }

    #[inline(always)]
    fn record_segment(&mut self, last_ns: u64, has_ended: bool) {
        let ended_ns = last_ns.wrapping_sub((IDLE_NS - ENDED_NS).cast_unsigned());
        set_time(self.place, if has_ended { ended_ns } else { last_ns });
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
        let kept = unsafe { insert_watched(key, now_ns) };
        self.returned(kept)
    }

    #[inline(always)]
    fn unwatch(&mut self, key: &FlowKey) {
        leave(key, self.place, TagChange::Unwatched);
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
        leave(key, self.place, change);
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
        let kept = unsafe { insert_watched(key, now_ns) };
        if kept.is_some() {
            // The table may have evicted the entry meanwhile; that is no error.
            let _ = SETTLED.remove(key);
        }
        self.returned(kept)
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
        // Either another CPU began to watch the flow just now, and its first tag stays, or the table is full. Its
        // place of before seems taken until it is idle.
        change_tags(key, TagChange::Unwatched);
        WATCHED
            .insert(key, &scratch.kept, u64::from(BPF_EXIST))
            .ok()?;
    }
    // SAFETY: a live, aligned value of the map. A CPU that reads it half written finds no flow by
    // that key, or one whose place is another.
    unsafe { slot.write(*key) };
    set_time(place, now_ns);
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
    let mut chosen_age = i64::MIN;
    for _ in 0..PLACES_TRIED {
        // SAFETY: a live, aligned value of the map.
        let place = (unsafe { fetch_add(hand, 1) } % places) as u32;
        let age = age(place, now_ns);
        if age > chosen_age {
            chosen = place;
            chosen_age = age;
        }
        if age >= IDLE_NS {
            break;
        }
    }
    if chosen_age != FREE {
        evict(
            chosen,
            if chosen_age >= IDLE_NS {
                Counter::Evicted
            } else {
                Counter::EvictedBusy
            },
        );
    }
    chosen
}

/// Returns the nanoseconds since the last segment of the flow in a place, more if it has ended, or [`FREE`]. Below
/// 0 if another CPU's clock is ahead.
#[inline(always)]
fn age(place: u32, now_ns: u64) -> i64 {
    // SAFETY: a live, aligned word of the map, read at once as other CPUs may change it.
    let last_ns = TIMES
        .get_ptr(place)
        .map_or(0, |time| unsafe { time.read_volatile() });
    if last_ns == 0 {
        return FREE;
    }
    now_ns.wrapping_sub(last_ns).cast_signed()
}

/// Sets the time of the last segment of the flow in a place, nanoseconds.
#[inline(always)]
fn set_time(place: u32, time_ns: u64) {
    if let Some(time) = TIMES.get_ptr_mut(place) {
        // Only `leave` frees a place: if the flow lost it to another meanwhile, that one's time is wrong until
        // its next segment, and no more.
        let time_ns = if time_ns == 0 { 1 } else { time_ns };
        // SAFETY: a live, aligned word of the map.
        unsafe { time.write_volatile(time_ns) };
    }
}

#[inline(always)]
fn evict(place: u32, reason: Counter) {
    // SAFETY: just looked up. Another CPU may be writing the key: see `insert_watched`.
    if let Some(key) = unsafe { borrow(PLACES.get_ptr(place)) }
        && is_in(key, place)
        && remove(key, TagChange::Unwatched)
    {
        count(reason);
    }
}

/// Whether a flow is watched, and its place is this one.
#[inline(always)]
fn is_in(key: &FlowKey, place: u32) -> bool {
    // SAFETY: just looked up; other CPUs may be writing it, and any number is a place.
    let kept = unsafe { borrow(WATCHED.get_ptr(key)) };
    kept.is_some_and(|kept| kept.place == place)
}

/// Removes a flow from [`WATCHED`], and frees its place unless another CPU evicted it meanwhile: the next to
/// take the place would leave that one behind for good.
#[inline(never)]
fn leave(key: &FlowKey, place: u32, change: TagChange) {
    let Some(time) = TIMES.get_ptr_mut(place) else {
        return;
    };
    // SAFETY: a live, aligned word of the map, read at once as other CPUs may change it.
    let last_ns = unsafe { time.read_volatile() };
    // Asked behind it: a flow that is still there was there at that time.
    let is_there = is_in(key, place);
    remove(key, change);
    if is_there {
        // SAFETY: as above; the exchange fails if it changes meanwhile.
        unsafe { compare_exchange(time, last_ns, 0) };
    }
}

/// Removes a flow from [`WATCHED`], and its tag unless another CPU removed both. Returns whether it was there.
///
/// Inlined: one more call below `insert_watched` is more stack than Linux 6.1 allows.
#[inline(always)]
fn remove(key: &FlowKey, change: TagChange) -> bool {
    let was_there = WATCHED.remove(key).is_ok();
    if was_there {
        change_tags(key, change);
    }
    was_there
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
