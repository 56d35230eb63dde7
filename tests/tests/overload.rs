//! An agent that does not keep up: handshake bytes are dropped before anything that tells of a failure.

use std::sync::{Arc, Mutex};

use detector_common::counter::Counter;
use detector_user::cause::knowledge::Knowledge;
use detector_user::operate::pipeline::Pipeline;
use detector_user::outlet::sink::{Sink, SinkError, Sinks};
use detector_user::outlet::summary::{CutFrames, Summary};
use detector_user::source::tap::counters::forgotten;
use detector_user::source::tap::object::ObjectOptions;
use detector_user::verdict::{Cause, Verdict};
use tests::conversation::{Conversation, From, Network, tls};
use tests::engines::{Kernel, Program};

/// Connections, more than the smaller ring has room for.
const CONNECTIONS: u16 = 1000;

/// Keeps verdicts.
struct Kept(Arc<Mutex<Vec<Verdict>>>);

impl Sink for Kept {
    fn name(&self) -> &'static str {
        "kept"
    }

    fn write(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        self.0.lock().unwrap().push(verdict.clone());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// A client that refuses the certificate.
fn refused(port: u16) -> Vec<Vec<u8>> {
    let mut talk = Conversation::new(Network::Ipv4);
    talk.client_port = port;
    let flight = [
        tls::server_hello(0xc02f, false),
        tls::record(22, &tls::message(11, &[7; 900])),
        tls::record(22, &tls::message(14, &[])),
    ];
    vec![
        talk.data(From::Client, &tls::client_hello("www.refused.test", 500)),
        talk.data(From::Server, &flight.concat()),
        talk.data(From::Client, &tls::record(21, &[2, 46])),
        talk.rst(From::Client),
    ]
}

#[test]
fn a_full_handshake_ring_costs_no_verdict() {
    let options = ObjectOptions {
        handshake_ring: 64 << 10,
        ..ObjectOptions::default()
    };
    let mut kernel = Kernel::new(Program::Xdp, &options).unwrap();
    for port in 1..=CONNECTIONS {
        for frame in refused(port) {
            kernel.frame(&frame).unwrap();
        }
    }
    let verdicts = Arc::new(Mutex::new(Vec::new()));
    let sinks = Sinks::new(vec![Box::new(Kept(Arc::clone(&verdicts)))]);
    let mut pipeline = Pipeline::new(1 << 16, Knowledge::default(), sinks, |_| {});
    kernel.drain(&mut pipeline);
    pipeline.finish();

    let verdicts = verdicts.lock().unwrap();
    assert_eq!(verdicts.len(), usize::from(CONNECTIONS));
    for verdict in verdicts.iter() {
        let code = verdict.alert.as_ref().and_then(|alert| alert.code);
        assert_eq!(
            (verdict.cause, code),
            (Cause::CertificateRejected, Some(46))
        );
    }
    let named = verdicts.iter().filter(|it| it.sni.is_some()).count();
    assert!((1..verdicts.len()).contains(&named), "{named} have a name");

    let counters = kernel.counters().unwrap();
    let count = |wanted| counters.iter().find(|(it, _)| *it == wanted).unwrap().1;
    assert_eq!(count(Counter::ObservationLost), 0);
    let lost = count(Counter::HandshakeLost);
    assert!(lost > 0);
    let tally = pipeline.tally();
    let summary = Summary {
        tally,
        forgotten: forgotten(&counters, 1),
        counters,
        unread: Vec::new(),
        rejected: 0,
        cut_captures: 0,
        cut_frames: CutFrames::default(),
    }
    .to_string();
    assert!(
        summary.contains(&format!("lost: {lost} pieces of handshakes (")),
        "{summary}"
    );
}
