//! Where flows are kept: in maps, with their tags, and room made by the program itself.

use aya_ebpf::bindings::{BPF_EXIST, BPF_NOEXIST};
use detector_common::counter::Counter;
use detector_common::engine::Tables;
use detector_common::flow::{Flow, FlowKey, Kept, Settled, Watched, side_flags};
use detector_common::tag_set::{Spot, TagSet};

use crate::atomic::{compare_exchange, fetch_add};
use crate::counters::count;
use crate::maps::{
    HAND, PLACES, PLACES_LEN, SCRATCH, SETTLED, TAG_MASK, TAG_SEED, TAGS, WATCHED, borrow,
    borrow_mut,
};

/// Places tried for one whose flow is over or idle, before a busy one is taken.
const PLACES_TRIED: u32 = 8;
/// A watched flow without a segment for so long may make room for another.
const IDLE_NS: u64 = 10_000_000_000;
/// One that has ended, too: what its sides say after the end matters for a moment only.
const ENDED_NS: u64 = 1_000_000_000;
/// How often a tag is put in its set when other CPUs change the set at the same moment.
const TAG_TRIES: u32 = 4;

/// The maps of flows.
pub(crate) struct Maps;

impl Tables for Maps {
    #[inline(always)]
    fn may_watch(&mut self, key: &FlowKey) -> bool {
        let spot = spot(key);
        match TAGS.get_ptr(spot.set) {
            // SAFETY: a live, aligned word of the map, read at once as other CPUs may change it.
            Some(set) => unsafe { set.read_volatile() }.may_hold(spot),
            None => true,
        }
    }

    #[inline(always)]
    fn watched(&mut self, key: &FlowKey) -> Option<&mut Watched> {
        // SAFETY: just looked up. The engine borrows one watched flow at a time, as it does so
        // through `&mut self`, and checks what it uses of it as an index or a length.
        unsafe { borrow_mut(WATCHED.get_ptr_mut(key)) }.map(|kept| &mut kept.watched)
    }

    #[inline(always)]
    fn watch(
        &mut self,
        key: &FlowKey,
        now_ns: u64,
        begin: impl FnOnce(&mut Flow),
    ) -> Option<&mut Watched> {
        // SAFETY: just looked up, this CPU's own, and given up before `keep` borrows it again.
        let scratch = unsafe { borrow_mut(SCRATCH.get_ptr_mut(0)) }?;
        begin(&mut scratch.kept.watched.flow);
        // SAFETY: as in `watched`.
        unsafe { keep(key, now_ns) }.map(|kept| &mut kept.watched)
    }

    #[inline(always)]
    fn forget(&mut self, key: &FlowKey) {
        remove(key);
    }

    #[inline(always)]
    fn settle(&mut self, key: &FlowKey) {
        // SAFETY: just looked up; the flow is only copied, and other CPUs may have changed it last.
        let kept = unsafe { borrow(WATCHED.get_ptr(key)) };
        // SAFETY: just looked up, and this CPU's own.
        let scratch = unsafe { borrow_mut(SCRATCH.get_ptr_mut(0)) };
        if let (Some(kept), Some(scratch)) = (kept, scratch) {
            scratch.settled = Settled::of(&kept.watched.flow);
            // A full LRU table evicts its oldest; that is no error.
            let _ = SETTLED.insert(key, &scratch.settled, 0);
        }
        remove(key);
    }

    #[inline(always)]
    fn resume(&mut self, key: &FlowKey, now_ns: u64) -> Option<&mut Watched> {
        // SAFETY: just looked up; the flow is only copied. Another that the table put in its place
        // meanwhile is taken for it, as is one whose key came back.
        let settled = unsafe { borrow(SETTLED.get_ptr(key)) }?;
        let watched = self.watch(key, now_ns, |flow| settled.resume(flow))?;
        // An entry that the table evicted meanwhile is gone all the same.
        let _ = SETTLED.remove(key);
        Some(watched)
    }
}

/// Watches what was made in the scratch. Records behind each side's count are never read; those of
/// the flow that used the scratch before are not cleared.
///
/// A function of its own, as all here that few packets ask for: the verifier walks it once a call.
///
/// # Safety
/// This CPU uses no other reference to the scratch meanwhile, nor to the flow while it uses this one.
#[inline(never)]
unsafe fn keep<'a>(key: &FlowKey, now_ns: u64) -> Option<&'a mut Kept> {
    let place = make_room(now_ns);
    // SAFETY: just looked up, and this CPU's own, and the caller's contract.
    let scratch = unsafe { borrow_mut(SCRATCH.get_ptr_mut(0)) }?;
    let slot = PLACES.get_ptr_mut(place)?;
    scratch.kept.place = place;
    // The tag goes first: a segment on another CPU must not miss the flow.
    change_tags(key, true);
    let new = WATCHED.insert(key, &scratch.kept, u64::from(BPF_NOEXIST));
    if new.is_err() {
        // Watched already, under a tag that stays; or there is no room.
        change_tags(key, false);
        WATCHED
            .insert(key, &scratch.kept, u64::from(BPF_EXIST))
            .ok()?;
    }
    // SAFETY: a live, aligned value of the map. Whoever reads a key that is half written finds no
    // flow by it, or one that is in another place.
    unsafe { slot.write(*key) };
    // SAFETY: just looked up, and the caller's contract.
    unsafe { borrow_mut(WATCHED.get_ptr_mut(key)) }
}

/// Takes the next place, in turn, whose flow is over or idle; of some that are not, the one idle
/// for longest. So the oldest makes room, and handshakes last.
#[inline(always)]
fn make_room(now_ns: u64) -> u32 {
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
        // The clock begins at boot: a place nobody has is free however early it is.
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

/// When the flow in this place last had a segment, nanoseconds, earlier if it has ended; 0 if there
/// is none.
#[inline(always)]
fn last_segment(place: u32) -> u64 {
    // SAFETY: just looked up. Another CPU may be writing the key: see `keep`.
    let key = unsafe { borrow(PLACES.get_ptr(place)) };
    // SAFETY: just looked up; other CPUs may be writing it, and any number is a time.
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
    if (client.flags | server.flags) & (side_flags::FIN | side_flags::RST) == 0 {
        return last_ns;
    }
    last_ns.wrapping_sub(IDLE_NS - ENDED_NS)
}

#[inline(always)]
fn evict(place: u32, reason: Counter) {
    // SAFETY: just looked up. Another CPU may be writing the key: see `keep`.
    if let Some(key) = unsafe { borrow(PLACES.get_ptr(place)) } {
        remove(key);
        count(reason);
    }
}

/// Stops to watch. An entry that another CPU removed first is removed all the same, by its one tag.
#[inline(never)]
fn remove(key: &FlowKey) {
    if WATCHED.remove(key).is_ok() {
        change_tags(key, false);
    }
}

#[inline(always)]
fn spot(key: &FlowKey) -> Spot {
    let mut spot = Spot::of(key, TAG_SEED.load());
    spot.set &= TAG_MASK.load();
    spot
}

/// Puts the flow's tag in its set, or takes it out.
#[inline(never)]
fn change_tags(key: &FlowKey, put: bool) {
    let spot = spot(key);
    let Some(set) = TAGS.get_ptr_mut(spot.set) else {
        return;
    };
    for _ in 0..TAG_TRIES {
        // SAFETY: a live value of the map; the exchange notices if it changes meanwhile.
        let old = unsafe { set.read_volatile() };
        let new = if put {
            old.with(spot)
        } else {
            old.without(spot)
        };
        // SAFETY: as above; a set is one word.
        if unsafe { compare_exchange(set.cast(), old.0, new.0) } {
            return;
        }
    }
    if put {
        // Other CPUs were always faster. Whatever else happens to the set, nothing in it is missed;
        // a tag that was not taken out costs look-ups in vain, no more.
        // SAFETY: as above.
        unsafe { set.write_volatile(TagSet::uncertain()) };
    }
}
