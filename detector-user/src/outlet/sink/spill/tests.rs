use super::*;
use crate::verdict::tests::pinning;

fn numbered(number: u16) -> Verdict {
    let mut verdict = pinning();
    verdict.client.port = number;
    verdict
}

fn open(path: &Path, largest: u64) -> Spill {
    let (spill, warning) = Spill::open(path, largest).unwrap();
    assert_eq!(warning, None);
    spill
}

fn some(spill: &mut Spill, number: usize) -> Vec<u16> {
    let mut ports = Vec::new();
    while ports.len() < number
        && let Some(verdict) = spill.first().unwrap()
    {
        ports.push(verdict.client.port);
        spill.remove_first().unwrap();
    }
    ports
}

fn all(spill: &mut Spill) -> Vec<u16> {
    some(spill, usize::MAX)
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

fn fill(spill: &mut Spill, numbers: impl IntoIterator<Item = u16>) -> Vec<u16> {
    let fits = |number: &u16| spill.push(&numbered(*number)).unwrap();
    numbers.into_iter().take_while(fits).collect()
}

#[test]
fn what_was_put_comes_out_in_order_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spilled");
    let mut spill = open(&path, 1 << 20);
    fill(&mut spill, 1..=5);
    assert_eq!(some(&mut spill, 1), [1]);
    fill(&mut spill, [6]);
    // Dropped as a process that is killed would.
    drop(spill);
    let mut spill = open(&path, 1 << 20);
    assert_eq!(some(&mut spill, 2), [2, 3]);
    assert_eq!(spill.first().unwrap().unwrap().client.port, 4);
    drop(spill);
    let mut spill = open(&path, 1 << 20);
    assert_eq!(all(&mut spill), [4, 5, 6], "read, but not removed");
    assert_eq!(spill.bytes(), 0);
    fill(&mut spill, [7]);
    assert_eq!(all(&mut spill), [7]);
    assert!(spill.first().unwrap().is_none());
}

#[test]
fn the_file_is_empty_as_soon_as_all_was_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spilled");
    let mut spill = open(&path, 1 << 20);
    fill(&mut spill, 1..=5);
    assert_eq!(all(&mut spill).len(), 5);
    assert_eq!(size(&path), HEADER);
    drop(spill);
    assert!(all(&mut open(&path, 1 << 20)).is_empty());
}

/// Killed after the file was cut and before its first line said so.
#[test]
fn a_position_beyond_the_end_means_that_nothing_waits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spilled");
    fs::write(&path, header(9999)).unwrap();
    let mut spill = open(&path, 1 << 20);
    assert_eq!(spill.bytes(), 0);
    fill(&mut spill, [1]);
    drop(spill);
    assert_eq!(all(&mut open(&path, 1 << 20)), [1]);
}

#[test]
fn what_was_taken_makes_room_while_others_wait() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spilled");
    let mut spill = open(&path, 20_000);
    let mut waiting = fill(&mut spill, 0..1000);
    let mut next = waiting.len() as u16;
    assert!(next > 10, "{next} fit");
    for _ in 0..20 {
        let half = waiting.len() / 2;
        assert_eq!(some(&mut spill, half), waiting[..half]);
        // One was read already when the others move.
        spill.first().unwrap();
        let more = fill(&mut spill, next..next + half as u16);
        assert_eq!(more.len(), half, "as many as were removed");
        assert!(size(&path) <= 20_000);
        next += half as u16;
        waiting = [&waiting[half..], &more].concat();
    }
    drop(spill);
    assert_eq!(all(&mut open(&path, 20_000)), waiting);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_torn_line_costs_itself_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spilled");
    fill(&mut open(&path, 1 << 20), 1..=2);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 20]).unwrap();
    let mut spill = open(&path, 1 << 20);
    fill(&mut spill, [3]);
    assert_eq!(all(&mut spill), [1, 3]);
    assert_eq!((spill.take_damaged(), spill.take_damaged()), (1, 0));
}

#[test]
fn a_foreign_file_is_set_aside_with_its_number_of_lines() {
    let version_1 = b"{\"tlswhy_spilled_verdicts\":1}\n{}\n{}\n".to_vec();
    let version_9 = header(HEADER).replace(":2,", ":9,").into_bytes();
    let no_text = [&[0xff; 200][..], b"\n"].concat();
    let no_number = header(HEADER).replace("0000", "zero").into_bytes();
    for (bytes, lines) in [(version_1, 3), (version_9, 1), (no_text, 1), (no_number, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spilled");
        fs::write(&path, &bytes).unwrap();
        let (mut spill, warning) = Spill::open(&path, 1 << 20).unwrap();
        let warning = warning.unwrap();
        let words = format!("renamed to {}.unreadable ({lines} ", path.display());
        assert!(warning.contains(&words), "{warning}");
        assert_eq!(fs::read(path.with_extension("unreadable")).unwrap(), bytes);
        fill(&mut spill, [1]);
        assert_eq!(all(&mut spill), [1]);
    }
}

#[test]
fn a_full_one_takes_no_more_until_something_was_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spilled");
    let mut spill = open(&path, 2000);
    let taken = fill(&mut spill, 0..1000);
    assert!(!taken.is_empty() && size(&path) <= 2000);
    for _ in 0..3 {
        assert!(!spill.push(&numbered(1)).unwrap());
        assert_eq!(all(&mut spill).len(), taken.len());
        assert_eq!(fill(&mut spill, 0..1000).len(), taken.len());
    }
}

#[test]
fn a_file_that_is_cut_behind_our_back_is_an_error_and_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spilled");
    let mut spill = open(&path, 1 << 20);
    fill(&mut spill, 1..=2);
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(0)
        .unwrap();
    assert!(spill.first().is_err());
}
