pub(super) mod scripted;

use std::path::Path;
use std::time::Duration;

use scripted::Scripted;

use super::*;
use crate::outlet::sink::Journald;
use crate::verdict::tests::pinning;

const PATIENCE: Duration = Duration::from_secs(20);

fn numbered(number: u16) -> Arc<Verdict> {
    let mut verdict = pinning();
    verdict.client.port = number;
    verdict.community_id = format!("1:{number}");
    Arc::new(verdict)
}

fn start(sink: &Arc<Scripted>, extras: Extras) -> Queue {
    Queue::start(Box::new(Arc::clone(sink)), extras).unwrap()
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what} did not come");
        thread::sleep(Duration::from_millis(2));
    }
}

fn end(queue: &Queue, patience: Duration) {
    let end = Instant::now() + patience;
    queue.request_end(end);
    queue.await_end(end);
}

fn in_memory(capacity: usize) -> Extras {
    Extras {
        capacity,
        ..Extras::default()
    }
}

/// The parameters of a process with these directories.
fn on_disk(folder: &Path, capacity: usize, largest: u64) -> Extras {
    let (spill, warning) = Spill::open(&folder.join("spilled"), largest).unwrap();
    assert_eq!(warning, None);
    let (delivered, earlier) = Delivered::open(&folder.join("delivered")).unwrap();
    Extras {
        capacity,
        spill: Some(spill),
        delivered: Some(delivered),
        earlier,
    }
}

fn lost(queue: &Queue) -> Vec<(&'static str, u64)> {
    let lost = queue.status().lost.into_iter();
    lost.filter(|(_, number)| *number > 0).collect()
}

/// Gives verdicts to a queue that has room for each.
fn push_all(queue: &Queue, numbers: impl IntoIterator<Item = u16>) {
    for number in numbers {
        queue.push(&numbered(number));
        until("there is room", || {
            let status = queue.status();
            status.queued * 2 < status.capacity
        });
    }
}

fn until_it_hangs(sink: &Scripted) {
    until("it hangs", || sink.is_hanging());
}

/// Leaves a queue as a process does that is killed: in the midst of a verdict.
fn kill(queue: Queue, sink: &Scripted) {
    until_it_hangs(sink);
    std::mem::forget(queue);
}

#[test]
fn one_that_hangs_holds_nobody_up_and_loses_the_oldest() {
    let sink = Arc::<Scripted>::default();
    sink.hang_after(0);
    let queue = start(&sink, in_memory(10));
    queue.push(&numbered(0));
    until_it_hangs(&sink);
    for number in 1..=15 {
        queue.push(&numbered(number));
    }
    assert_eq!(queue.status().queued, 1 + 10);
    assert_eq!(lost(&queue), [("overflow", 5)]);
    assert_eq!(queue.take_errors().len(), 1, "told once");
    sink.hang_after(None);
    end(&queue, PATIENCE);
    let expected: Vec<u16> = [0].into_iter().chain(6..=15).collect();
    assert_eq!(sink.got(), expected);
}

#[test]
fn one_client_that_fails_without_end_displaces_no_verdict_of_others() {
    let sink = Arc::<Scripted>::default();
    sink.hang_after(0);
    let queue = start(&sink, in_memory(10));
    queue.push(&numbered(0));
    until_it_hangs(&sink);
    let other = |number| {
        let mut verdict = Verdict::clone(&numbered(number));
        verdict.client.ip = "10.9.9.9".parse().unwrap();
        Arc::new(verdict)
    };
    queue.push(&other(1));
    for number in 2..=40 {
        queue.push(&numbered(number));
    }
    queue.push(&other(41));
    assert_eq!(lost(&queue), [("overflow", 31)]);
    sink.hang_after(None);
    end(&queue, PATIENCE);
    let got = sink.got();
    assert!(got.contains(&1) && got.contains(&41), "{got:?}");
}

#[test]
fn one_that_hangs_for_ever_is_left_and_all_it_has_is_counted() {
    let sink = Arc::<Scripted>::default();
    sink.hang_after(0);
    let queue = start(&sink, in_memory(10));
    for number in 1..=5 {
        queue.push(&numbered(number));
    }
    until_it_hangs(&sink);
    end(&queue, Duration::ZERO);
    assert_eq!(lost(&queue), [("undelivered", 5)]);
}

#[test]
fn what_waits_for_one_that_is_away_spills_and_follows_in_order_once() {
    let folder = tempfile::tempdir().unwrap();
    let extras = || on_disk(folder.path(), 8, 1 << 20);
    let sink = Scripted::away();
    let queue = start(&sink, extras());
    push_all(&queue, 1..=30);
    assert!(queue.status().spilled_bytes > 0);
    end(&queue, Duration::ZERO);
    assert!(sink.got().is_empty());
    assert_eq!(lost(&queue), []);
    // Another life, in which it is away at first.
    let queue = start(&sink, extras());
    queue.push(&numbered(31));
    sink.set_away(false);
    until("all are there", || sink.got().len() >= 31);
    end(&queue, PATIENCE);
    assert!(sink.got().into_iter().eq(1..=31));
    assert_eq!(queue.status().written, 31);
    // And a third, which has nothing to do.
    let queue = start(&sink, extras());
    end(&queue, PATIENCE);
    assert_eq!((sink.got().len(), queue.status().written), (31, 0));
}

/// The next process repeats the verdicts that the one before it had seen.
#[test]
fn each_comes_once_though_processes_are_killed_and_go_through_all_again() {
    let folder = tempfile::tempdir().unwrap();
    let extras = || on_disk(folder.path(), 8, 1 << 20);
    for _ in 0..3 {
        let away = Scripted::away();
        let queue = start(&away, extras());
        push_all(&queue, 1..=20);
        away.hang_after(0);
        kill(queue, &away);
        // All but less than half a queue.
        let spilled = std::fs::read_to_string(folder.path().join("spilled")).unwrap();
        assert_eq!(spilled.lines().count(), 1 + 17);
    }
    // One gets some of them out, and is killed in the midst.
    let first = Arc::<Scripted>::default();
    first.hang_after(10);
    let queue = start(&first, extras());
    push_all(&queue, 1..=20);
    kill(queue, &first);
    let second = Arc::<Scripted>::default();
    let queue = start(&second, extras());
    for number in 1..=25 {
        queue.push(&numbered(number));
    }
    end(&queue, PATIENCE);
    let got = [first.got(), second.got()].concat();
    assert!(got.iter().copied().eq(1..=25), "{got:?}");
}

#[test]
fn one_that_is_slow_spills_too_and_gets_all_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Arc::<Scripted>::default();
    sink.hang_after(0);
    let queue = start(&sink, on_disk(folder.path(), 8, 1 << 20));
    // Three arrive while it accepts one.
    for round in 0..10 {
        for number in 1..=3 {
            queue.push(&numbered(round * 3 + number));
        }
        sink.hang_after(1);
        until("there is room", || queue.status().queued < 4);
    }
    assert!(queue.status().spilled_bytes > 0);
    sink.hang_after(None);
    end(&queue, PATIENCE);
    assert!(sink.got().into_iter().eq(1..=30), "{:?}", sink.got());
    assert_eq!((lost(&queue), queue.status().spilled_bytes), (vec![], 0));
}

#[test]
fn without_a_place_to_spill_what_is_left_at_the_end_is_counted() {
    let sink = Scripted::away();
    let queue = start(&sink, in_memory(8));
    for number in 1..=3 {
        queue.push(&numbered(number));
    }
    end(&queue, Duration::ZERO);
    assert_eq!(lost(&queue), [("undelivered", 3)]);
}

#[test]
fn without_a_place_to_spill_one_that_is_away_is_waited_for_at_the_end() {
    let sink = Scripted::away();
    let queue = start(&sink, in_memory(8));
    for number in 1..=3 {
        queue.push(&numbered(number));
    }
    until("it was tried", || queue.status().lost.len() == 1);
    queue.request_end(Instant::now() + PATIENCE);
    sink.set_away(false);
    queue.await_end(Instant::now() + PATIENCE);
    assert_eq!((sink.got(), lost(&queue)), (vec![1, 2, 3], vec![]));
}

#[test]
fn when_the_spill_is_full_the_latest_stay_in_memory_and_the_oldest_of_them_go() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Scripted::away();
    let queue = start(&sink, on_disk(folder.path(), 8, 10_000));
    let mut number = 0;
    while !queue.status().lost.contains_key("spill-full") {
        number += 1;
        queue.push(&numbered(number));
        until("there is room or none at all", || {
            let status = queue.status();
            status.queued < 4 || status.lost.contains_key("spill-full")
        });
    }
    // All that came last is in memory still.
    until("it was put back", || queue.status().queued == 4);
    let on_disk = number - 4;
    assert_eq!(lost(&queue), []);
    for _ in 0..10 {
        number += 1;
        queue.push(&numbered(number));
    }
    until("the oldest are gone", || queue.status().queued == 8);
    assert_eq!(lost(&queue), [("spill-full", 6)]);
    let reported: Vec<_> = queue.take_errors().iter().map(SinkError::kind).collect();
    assert_eq!(reported, ["journald-missing", "spill-full"]);
    sink.set_away(false);
    until("all are there", || queue.status().queued == 0);
    end(&queue, PATIENCE);
    let expected: Vec<u16> = (1..=on_disk).chain(number - 7..=number).collect();
    assert_eq!(sink.got(), expected);
    assert_eq!(lost(&queue), [("spill-full", 6)]);
}

#[test]
fn at_the_end_what_fits_neither_memory_nor_disk_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let extras = || on_disk(folder.path(), 8, 3000);
    let sink = Scripted::away();
    let queue = start(&sink, extras());
    for number in 1..=20 {
        queue.push(&numbered(number));
    }
    end(&queue, Duration::ZERO);
    let known = queue.status().lost;
    let number = known["spill-full"] + known.get("overflow").copied().unwrap_or_default();
    sink.set_away(false);
    end(&start(&sink, extras()), PATIENCE);
    assert_eq!(sink.got().len() as u64 + number, 20);
    assert!(sink.got().is_sorted() && !sink.got().is_empty());
}

#[test]
fn what_cannot_be_read_from_disk_stays_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Scripted::away();
    let queue = start(&sink, on_disk(folder.path(), 8, 1 << 20));
    push_all(&queue, 1..=6);
    end(&queue, Duration::ZERO);
    sink.set_away(false);
    let mut extras = on_disk(folder.path(), 8, 1 << 20);
    let spill = extras.spill.as_mut().unwrap();
    let bytes = spill.bytes();
    spill.break_reader();
    let queue = start(&sink, extras);
    queue.push(&numbered(7));
    end(&queue, PATIENCE);
    assert_eq!(sink.got(), [7]);
    assert_eq!(queue.status().spilled_bytes, bytes);
    let errors = queue.take_errors();
    let words = format!("cannot read {bytes} bytes of spilled verdicts for the scripted output");
    assert!(errors[0].to_string().starts_with(&words), "{errors:?}");
    end(&start(&sink, on_disk(folder.path(), 8, 1 << 20)), PATIENCE);
    assert_eq!(sink.got(), [7, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn what_an_earlier_process_gave_is_not_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let extras = || Extras {
        spill: None,
        ..on_disk(folder.path(), 8, 1 << 20)
    };
    let sink = Arc::<Scripted>::default();
    let queue = start(&sink, extras());
    queue.push(&numbered(1));
    end(&queue, PATIENCE);
    let queue = start(&sink, extras());
    for number in [1, 2, 2] {
        queue.push(&numbered(number));
    }
    end(&queue, PATIENCE);
    assert_eq!(sink.got(), [1, 2, 2]);
    assert_eq!(queue.status().already_delivered, 1);
}

#[test]
fn where_nothing_can_be_noted_what_was_is_known_still() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Arc::<Scripted>::default();
    let queue = start(&sink, on_disk(folder.path(), 8, 1 << 20));
    push_all(&queue, 1..=2);
    end(&queue, PATIENCE);
    let queue = start(
        &sink,
        Extras {
            delivered: Some(Delivered::without_room()),
            ..on_disk(folder.path(), 8, 1 << 20)
        },
    );
    push_all(&queue, 3..=4);
    until("it was reported", || {
        queue.status().lost.contains_key("delivered")
    });
    push_all(&queue, 1..=2);
    end(&queue, PATIENCE);
    assert_eq!(sink.got(), [1, 2, 3, 4]);
    assert_eq!(lost(&queue), []);
}

/// Two repeats are in no count yet when journald goes, and one verdict waits.
#[test]
fn repeats_that_nobody_is_told_of_are_counted_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let journal = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let sink = Journald::at(&path).unwrap();
    let sink = sink.folding(Duration::from_secs(3600));
    let queue = Queue::start(Box::new(sink), in_memory(8)).unwrap();
    for number in 1..=3 {
        queue.push(&numbered(number));
    }
    until("two are counted", || queue.status().folded == 2);
    drop(journal);
    let mut other = pinning();
    other.sni = Some("other.test".into());
    queue.push(&Arc::new(other));
    until("it was tried", || queue.status().lost.len() == 1);
    end(&queue, Duration::ZERO);
    assert_eq!(lost(&queue), [("undelivered", 3)]);
}
