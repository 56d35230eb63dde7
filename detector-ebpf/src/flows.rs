//! Where flows are kept: in maps, with their tags, and room made by the program itself.

use aya_ebpf::bindings::{BPF_EXIST, BPF_NOEXIST};
use detector_common::counter::Counter;
use detector_common::engine::Tables;
use detector_common::flow::{Flow, FlowKey, Kept, Settled, Watched, side_flags};
use detector_common::tag_set::{Spot, TagSet};

use crate::atomic::{compare_exchange, fetch_add};
use crate::counters::count;
use crate::maps::{
    HAND, PLACES, PLACES_LEN, SCRATCH, SETTLED, TAG_MASK, TAG_SEED, TAGS, WATCHED, lend,
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
        match TAGS.get(spot.set) {
            Some(set) => set.may_hold(spot),
            None => true,
        }
    }

    #[inline(always)]
    fn watched(&mut self, key: &FlowKey) -> Option<&mut Watched> {
        lend(WATCHED.get_ptr_mut(key)).map(|kept| &mut kept.watched)
    }

    #[inline(always)]
    fn watch(
        &mut self,
        key: &FlowKey,
        now_ns: u64,
        begin: impl FnOnce(&mut Flow),
    ) -> Option<&mut Watched> {
        let scratch = lend(SCRATCH.get_ptr_mut(0))?;
        begin(&mut scratch.kept.watched.flow);
        keep(key, now_ns).map(|kept| &mut kept.watched)
    }

    #[inline(always)]
    fn forget(&mut self, key: &FlowKey) {
        remove(key);
    }

    #[inline(always)]
    fn settle(&mut self, key: &FlowKey) {
        let kept = lend(WATCHED.get_ptr_mut(key));
        if let (Some(kept), Some(scratch)) = (kept, lend(SCRATCH.get_ptr_mut(0))) {
            scratch.settled = Settled::of(&kept.watched.flow);
            // A full LRU table evicts its oldest; that is no error.
            let _ = SETTLED.insert(key, &scratch.settled, 0);
        }
        remove(key);
    }

    #[inline(always)]
    fn resume(&mut self, key: &FlowKey, now_ns: u64) -> Option<&mut Watched> {
        let settled = lend(SETTLED.get_ptr_mut(key))?;
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
#[inline(never)]
fn keep<'a>(key: &FlowKey, now_ns: u64) -> Option<&'a mut Kept> {
    let place = make_room(now_ns);
    let scratch = lend(SCRATCH.get_ptr_mut(0))?;
    let slot = lend(PLACES.get_ptr_mut(place))?;
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
    *slot = *key;
    lend(WATCHED.get_ptr_mut(key))
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
        let place = (fetch_add(hand, 1) % places) as u32;
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
    let kept = PLACES
        .get(place)
        .and_then(|key| lend(WATCHED.get_ptr_mut(key)));
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
    if let Some(key) = PLACES.get(place) {
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
        if compare_exchange(set.cast(), old.0, new.0) {
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
