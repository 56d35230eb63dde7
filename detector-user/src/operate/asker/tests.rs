use std::net::{Ipv4Addr, TcpListener};

use super::*;

fn asking() -> Asking {
    Asking {
        enabled: true,
        per_hour: 2,
        never: vec![Pattern::new("*.bank.test").unwrap()],
        timeout: Duration::from_secs(20),
        ..Asking::default()
    }
}

fn asker(asking: &Asking) -> Asker {
    let mut asker = Asker::new();
    asker.set(asking, &["CN=Inspection CA".parse().unwrap()]);
    asker
}

/// A question about a name, at a port where nobody listens.
fn question(name: &str) -> Question {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    Question {
        name: name.to_owned(),
        address: Some(Ipv4Addr::LOCALHOST.into()),
        port: listener.local_addr().unwrap().port(),
    }
}

fn wait_for_answers(asker: &mut Asker, number: usize) -> Vec<(String, OriginAnswer)> {
    let mut answers = Vec::new();
    while answers.len() < number {
        answers.extend(asker.answers());
        std::thread::sleep(Duration::from_millis(5));
    }
    answers
}

#[test]
fn each_limit_is_counted_and_ends() {
    let mut asker = asker(&asking());
    let start = Instant::now();
    let mut ask = |name, after| asker.ask(question(name), start + after);
    ask("www.Bank.test", Duration::ZERO);
    ask("a.test", Duration::ZERO);
    ask("a.test", DAY - Duration::from_secs(1));
    ask("b.test", DAY);
    ask("c.test", DAY);
    ask("d.test", DAY + HOUR - Duration::from_secs(1));
    ask("d.test", DAY + HOUR);
    ask("a.test", DAY + HOUR);
    let answers = wait_for_answers(&mut asker, 5);
    let names: Vec<&str> = answers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a.test", "b.test", "c.test", "d.test", "a.test"]);
    assert!(
        answers
            .iter()
            .all(|(_, answer)| *answer == OriginAnswer::None)
    );
    let expected = ProbeCounts {
        asked: 5,
        failed: 5,
        skipped_day: 1,
        skipped_hour: 1,
        skipped_never: 1,
        ..ProbeCounts::default()
    };
    assert_eq!(*asker.counts(), expected);
}

/// A server that says nothing keeps the thread busy, and nobody else.
#[test]
fn a_silent_origin_blocks_nothing() {
    let asking = Asking {
        per_hour: 1000,
        ..asking()
    };
    let mut asker = asker(&asking);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let silent = |name: String| Question {
        port: listener.local_addr().unwrap().port(),
        ..question(&name)
    };
    for number in 0..3 * WAITING {
        asker.ask(silent(format!("n{number}.test")), Instant::now());
    }
    let counts = asker.counts();
    assert!(
        counts.skipped_busy > 0 && counts.asked >= WAITING as u64,
        "{counts:?}"
    );
    assert_eq!(asker.answers(), []);
    let (_first, client) = listener.accept().unwrap();
    // The kernel accepts before the thread hears that it is connected.
    let patience = Instant::now() + Duration::from_secs(30);
    while !asker.is_own(client) && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(asker.is_own(client));
    assert!(!asker.is_own(listener.local_addr().unwrap()));
}

#[test]
fn nobody_is_asked_without_the_name_of_an_inspection_ca() {
    let mut asker = Asker::new();
    asker.set(&asking(), &[]);
    assert!(asker.obstacle().is_some());
    asker.ask(question("a.test"), Instant::now());
    asker.set(&Asking::default(), &["CN=Inspection CA".parse().unwrap()]);
    assert_eq!(asker.obstacle(), None);
    asker.ask(question("a.test"), Instant::now());
    assert_eq!(*asker.counts(), ProbeCounts::default());
}
