//! Endings of connections in use that are written only on request.

use super::*;
use crate::cause::judge::hang_up::{Endings, with_ending};

const USED: [Step; 4] = [CLIENT_CCS, app(C, 53), app(C, 300), app(S, 4000)];

/// Returns the verdict with each of the three settings; `under_way` bytes of the server's record are
/// still to come.
fn causes(end: &[Step], under_way: u32) -> [Option<String>; 3] {
    let mut timeline = timeline(true, &[&FLIGHT_13[..], &USED, end].concat());
    let set = |side: &mut Side| {
        side.flags |= side_flags::SYNCED;
        side.next_seq = 5000;
        side.header_seq = 5000 + under_way;
    };
    for close in &mut timeline.closes {
        set(&mut close.sides[1]);
    }
    set(&mut timeline.sides[1]);
    let connection = Connection {
        client_leg: Box::new(timeline),
        server_leg: None,
        goes_on: false,
        newly_complete: true,
    };
    Endings::ALL.map(|endings| {
        let interception = Interceptors::default().record(&connection, &Knowledge::default());
        let judged = crate::cause::judge::judge(&connection, interception);
        match with_ending(judged, &connection, endings).judgement {
            Judgement::Failed(verdict) => {
                assert_eq!(verdict.cause, Cause::EndpointReset);
                Some(verdict.evidence[0].name.clone())
            }
            Judgement::Established => None,
            other => panic!("{other:?}"),
        }
    })
}

#[test]
fn a_client_that_hangs_up_is_told_on_request() {
    let told = |name: &str| Some(name.to_owned());
    assert_eq!(causes(&[Fin(C), Reset(C)], 0), [None, None, None]);
    assert_eq!(causes(&[Reset(C)], 0), [None, None, told("reset")]);
    let amid = [None, told("hung-up"), told("hung-up")];
    assert_eq!(causes(&[Reset(C)], 900), amid);
}
