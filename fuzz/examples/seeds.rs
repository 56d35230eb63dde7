//! Makes `seeds/` from captures in `tests/captures/corpus`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use detector_common::flow::{FlowKey, Sender};
use detector_common::headers::{LinkType, walk};
use detector_common::observation::{ChunkHead, Observation};
use detector_common::record::HANDSHAKE;
use detector_user::fleet::message::HalfMessage;
use detector_user::flow::receiver::Receiver;
use detector_user::flow::tracker::Tracker;
use detector_user::operate::config::commented_file;
use detector_user::source::capture::{self, CaptureFile, Frame};
use detector_user::source::capture_tap::CaptureTap;
use tlswhy_fuzz::{Host, push_frame, tap};
use zerocopy::IntoBytes;

/// Seeds' names and the captures they are made of.
const CAPTURES: [(&str, &str); 10] = [
    (
        "reset-on-hello",
        "reset-on-hello-behaviour-curl-direct-tls13",
    ),
    (
        "handshake-failure",
        "handshake-failure-behaviour-java-direct-tls13",
    ),
    (
        "close-in-flight",
        "close-in-flight-behaviour-go-direct-tls13",
    ),
    (
        "damaged-record",
        "damaged-by-server-behaviour-go-direct-tls12",
    ),
    ("expired-tls12", "bad-expired-curl-direct-tls12"),
    ("expired-tls13", "bad-expired-curl-direct-tls13"),
    (
        "client-certificate",
        "no-certificate-partner-curl-direct-tls12",
    ),
    ("retry-request", "retry-request-groups-go-direct-tls13"),
    ("resumption", "resumes-shop-go-direct-tls12"),
    (
        "interceptor",
        "pin-go-squid-1.3.accepts-shop-go-squid-tls13",
    ),
];
/// Filters with logs, by name.
const LOGS: [(&str, &str); 3] = [
    (
        "pan-os-traffic",
        "( subtype neq end ) and ( action eq allow )\n\
        <14>Nov 23 09:30:05 fw-1 1,2026/11/23 09:30:05,001801010101,TRAFFIC,deny,2049,\
        2026/11/23 09:30:05,10.0.1.2,10.0.2.2,192.0.2.7,0.0.0.0,Decrypt web,corp\\user,,ssl,vsys1,trust,\
        untrust,ethernet1/1,ethernet1/2,default,2026/11/23 09:30:05,33751,1,40112,443,61002,0,0x1400064,tcp,\
        allow,4012,1200,2812,14,2026/11/23 09:30:01,1,private-ip-addresses,0,99,0x0,\
        10.0.0.0-10.255.255.255,US,0,7,7,policy-deny,0,0,0,0,,fw-1,from-policy\n",
    ),
    (
        "pan-os-export",
        "(addr.src in 10.0.0.0/8) or not (port.dst leq 443)\n\
        Domain,Receive Time,Type,Threat/Content Type,Source address,Destination address,Rule,Source Port,\
        Destination Port,Flags,Action,Session End Reason\n\
        1,2026/11/23 09:30:05,TRAFFIC,deny,10.0.1.2,10.0.2.2,\"a, b\",40112,443,0x400000,allow,policy-deny\n",
    ),
    (
        "fortigate",
        "( app contains 'ssl' )\n\
        <189>date=2026-11-23 time=08:30:01 devname=\"fw-1\" eventtime=1795422601000000000 tz=\"+0000\" \
        logid=\"1700062308\" type=\"utm\" subtype=\"ssl\" eventtype=\"ssl-anomaly\" srcip=10.0.1.2 \
        srcport=40112 dstip=10.0.2.2 dstport=443 action=\"blocked\"\n",
    ),
];
/// Exchanges before a ClientHello, by name: each side's bytes in turn, the client's first.
const EXCHANGES: [(&str, &[&[u8]]); 5] = [
    (
        "connect",
        &[
            b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
        ],
    ),
    (
        "connect-refused",
        &[
            b"CONNECT a.test:443 HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        ],
    ),
    (
        "socks5",
        &[
            b"\x05\x01\x00",
            b"\x05\x00",
            b"\x05\x01\x00\x03\x06a.test\x01\xbb",
            b"\x05\x00\x00\x01\x0a\x00\x02\x02\x01\xbb",
        ],
    ),
    (
        "socks4a",
        &[
            b"\x04\x01\x01\xbb\x00\x00\x00\x01u\x00a.test\x00",
            b"\x00\x5a\x00\x00\x00\x00\x00\x00",
        ],
    ),
    (
        "proxy-protocol",
        &[b"PROXY TCP4 10.0.9.9 10.0.2.2 40112 443\r\n"],
    ),
];
/// A verdict of one client, and of another.
const VERDICTS: [&str; 2] = [
    r#"{"schema":1,"id":"0123456789abcdef","time":"2026-11-23T08:30:01Z","cause":"pinning","confidence":0.97,"client":{"ip":"10.0.1.2","port":40112},"server":{"ip":"10.0.2.2","port":443},"sni":"api.pinned.test"}"#,
    r#"{"TLSWHY_ID":"1123456789abcdef","TLSWHY_CAUSE":"pinning","TLSWHY_CONFIDENCE":"0.9","TLSWHY_CLIENT_IP":"2001:db8::7","TLSWHY_SERVER_IP":"10.0.2.3","TLSWHY_SERVER_PORT":"443","TLSWHY_SNI":"api.pinned.test"}"#,
];
/// Frames of a capture that become a seed.
const FRAMES_MAX: usize = 60;

fn main() -> Result<(), Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let put = |target: &str, name: &str, seed: &[u8]| {
        let directory = here.join("seeds").join(target);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(name), seed)
    };
    for (name, capture) in CAPTURES {
        let path = here.join(format!("../tests/captures/corpus/{capture}.pcap.gz"));
        let frames = read(&path)?;
        put("capture", name, &fs::read(&path)?)?;
        put("capture", &format!("{name}-plain"), &pcap(&frames))?;
        put("engine", name, &engine(&frames))?;
        put(
            "headers",
            name,
            &[
                &[0],
                frames
                    .iter()
                    .max_by_key(|frame| frame.len())
                    .ok_or("no frame")?
                    .as_slice(),
            ]
            .concat(),
        )?;
        put("records", name, &records(&frames))?;
        put("handshake", name, &handshake(&frames))?;
        put("verdicts", name, &verdicts(&frames))?;
        put("observations", name, &observations(&frames))?;
        put("fleet_messages", name, &halves(&frames)?)?;
    }
    put("fleet_messages", "facts", &facts())?;
    for (name, log) in LOGS {
        put("firewall_log", name, log.as_bytes())?;
        let (_, messages) = log.split_once('\n').ok_or("no log")?;
        put("syslog", name, &[&[40], messages.as_bytes()].concat())?;
    }
    put(
        "syslog",
        "counted",
        b"\x037 <14>one11 <14>a\nb c d0 12345678 x\nudp://[::1]:514\n",
    )?;
    put("packet_filter", "tcp-port-443", &packet_filter())?;
    put("lists", "two-clients", &lists())?;
    for (name, exchange) in EXCHANGES {
        put("preambles", name, &preamble(exchange))?;
    }
    let file = commented_file();
    put("configuration", "as-shipped", file.as_bytes())?;
    put("configuration", "all-set", uncommented(&file).as_bytes())?;
    Ok(())
}

/// Returns the file with every setting in force.
fn uncommented(file: &str) -> String {
    let settings = file.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => setting,
        _ => line,
    });
    settings.flat_map(|line| [line, "\n"]).collect()
}

fn read(path: &Path) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut capture = CaptureFile::open(path)?;
    let mut frames = Vec::new();
    while let Some(frame) = capture.next_frame()? {
        frames.push(frame.captured.to_vec());
        if frames.len() == FRAMES_MAX {
            break;
        }
    }
    Ok(frames)
}

/// Returns an uncompressed capture, whose records a fuzzer can reach.
fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let header: [u32; 6] = [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 65_535, 1];
    let mut file: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    for (second, frame) in (0u32..).zip(frames) {
        let len = frame.len() as u32;
        file.extend(
            [second, 0, len, len]
                .iter()
                .flat_map(|word| word.to_le_bytes()),
        );
        file.extend(frame);
    }
    file
}

/// Returns hosts that are never listed, and verdicts.
fn lists() -> Vec<u8> {
    format!(
        ".bank.test # all of it\n192.0.2.7\n\n{}\n{}\n",
        VERDICTS[0], VERDICTS[1]
    )
    .into_bytes()
}

/// Returns the program of `ip and tcp port 443`, shortened, and a frame that it accepts.
fn packet_filter() -> Vec<u8> {
    let program: [(u16, u8, u8, u32); 8] = [
        (0x28, 0, 0, 12),
        (0x15, 0, 5, 0x800),
        (0x30, 0, 0, 23),
        (0x15, 0, 3, 6),
        (0x28, 0, 0, 36),
        (0x15, 0, 1, 443),
        (0x06, 0, 0, 262_144),
        (0x06, 0, 0, 0),
    ];
    let mut seed = vec![program.len() as u8 - 1];
    for (code, if_true, if_false, k) in program {
        seed.extend(code.to_le_bytes());
        seed.extend([if_true, if_false]);
        seed.extend(k.to_le_bytes());
    }
    seed.extend([2; 12]);
    seed.extend([
        8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ]);
    seed.extend([
        3, 232, 1, 187, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0,
    ]);
    seed
}

/// Returns a SYN, an exchange, a ClientHello's beginning, and an error about it.
fn preamble(exchange: &[&[u8]]) -> Vec<u8> {
    let mut seed = Vec::new();
    push_frame(&mut seed, &[6]);
    for (side, bytes) in [0_u8, 1].iter().cycle().zip(exchange) {
        push_frame(&mut seed, &[&[*side], *bytes].concat());
    }
    push_frame(
        &mut seed,
        b"\x00\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03",
    );
    push_frame(&mut seed, b"\x04\x03\x0d\x40");
    seed
}

/// Returns frames of an Ethernet capture, a millisecond from one to the next.
fn verdicts(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut seed = vec![1 << 2];
    frames.iter().for_each(|frame| push_frame(&mut seed, frame));
    seed
}

/// Returns the items that the rings would have, handshake bytes first.
fn observations(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut host = Host::default();
    for frame in frames {
        host.frame(frame, &tap(0), 1_000_000);
    }
    let mut seed = Vec::new();
    for (head, bytes) in &host.chunks {
        push_frame(&mut seed, &[head.as_bytes(), bytes].concat());
    }
    for observation in host.observed.values() {
        push_frame(&mut seed, observation.to_item().as_bytes());
    }
    seed
}

/// Returns messages of both halves of a capture's last connection.
fn halves(frames: &[Vec<u8>]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut seed = Vec::new();
    for side in [Sender::Client, Sender::Server] {
        let mut gateway = Gateway {
            tap: CaptureTap::default().with_halves(),
            tracker: Tracker::new(64),
        };
        gateway.tracker.follow_halves();
        let mut clients = BTreeMap::new();
        for (number, bytes) in (1..).zip(frames) {
            gateway.frame(number * 1_000_000, bytes, side, &mut clients);
        }
        gateway.tracker.advance(u64::MAX / 2);
        let Some(seen) = gateway.tracker.take_halves().pop() else {
            continue;
        };
        let stored = HalfMessage::Half(seen.half).compressed()?;
        push_frame(&mut seed, &zstd::bulk::decompress(&stored, 1 << 20)?);
    }
    Ok(seed)
}

/// A gateway through which one direction passes.
struct Gateway {
    tap: CaptureTap,
    tracker: Tracker,
}

impl Gateway {
    fn frame(
        &mut self,
        time_ns: u64,
        bytes: &[u8],
        side: Sender,
        clients: &mut BTreeMap<FlowKey, u8>,
    ) {
        let Ok(mut segment) = walk(&bytes, &tap(0)) else {
            return;
        };
        segment.order_endpoints();
        // The first to speak is the client.
        let client = *clients.entry(segment.key).or_insert(segment.endpoint);
        if (client == segment.endpoint) != (side == Sender::Client) {
            return;
        }
        let frame = Frame {
            time_ns,
            captured: bytes,
            original_len: bytes.len() as u32,
            link_type: capture::LinkType::ETHERNET,
            interface: 1,
        };
        let Self { tap, tracker } = self;
        tracker.advance(time_ns);
        tap.frame(&frame, LinkType::Ethernet, 1, &mut Feed(tracker));
    }
}

struct Feed<'t>(&'t mut Tracker);

impl Receiver for Feed<'_> {
    fn observation(&mut self, observation: &Observation) {
        self.0.observation(observation);
    }

    fn chunk(&mut self, head: &ChunkHead, bytes: &[u8]) {
        self.0.chunk(head, bytes);
    }
}

/// Returns a message of facts, and one of health.
fn facts() -> Vec<u8> {
    let mut seed = Vec::new();
    push_frame(&mut seed, br#"{"version":1,"clients":"clear","facts":[{"client":"10.0.0.1","app":"ffffffffffffffff","name":"api.pinned.test","issuer":"CN=Inspection CA","intercepted":true,"outcome":"refused","last_s":1800000000,"count":3,"sure":0.97}]}"#);
    push_frame(&mut seed, br#"{"version":1,"time":"2026-11-23T08:30:01Z","started":"2026-11-23T08:30:01Z","agent":"0.1.0","instance":7,"clients":"clear","taps":["lan0"],"losses":0,"facts_published":0,"facts_waiting":0,"verdicts_published":0,"facts_taken":0,"skipped":0,"lag_ms":0}"#);
    seed
}

fn engine(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut seed = vec![1 << 5];
    frames.iter().for_each(|frame| push_frame(&mut seed, frame));
    seed
}

/// Returns the first server's stream, cut into segments of several lengths.
fn records(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut seed = vec![0, 0, 0, 9, 241, 2, 0, 37];
    let mut client = None;
    for frame in frames {
        let Ok(mut segment) = walk(&frame.as_slice(), &tap(0)) else {
            continue;
        };
        segment.order_endpoints();
        let Some(payload) = frame.get(segment.payload_offset..) else {
            continue;
        };
        let payload = &payload[..payload.len().min(segment.payload_len as usize)];
        if client.is_none() && payload.first() == Some(&HANDSHAKE) {
            client = Some((segment.key, segment.endpoint));
        }
        if client.is_some_and(|(key, client)| key == segment.key && client != segment.endpoint) {
            seed.extend(payload);
        }
    }
    seed
}

/// Returns the handshake bytes that the engine sends of the first connection.
fn handshake(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut host = Host::default();
    for frame in frames {
        host.frame(frame, &tap(0), 1_000_000);
    }
    let mut seed = Vec::new();
    let first = host.chunks.first().map(|(head, _)| head.key);
    for (head, bytes) in host
        .chunks
        .iter()
        .filter(|(head, _)| Some(head.key) == first)
    {
        let place = (head.offset as u16) << 1 | u16::from(head.sender);
        push_frame(
            &mut seed,
            &[&place.to_be_bytes(), bytes.as_slice()].concat(),
        );
    }
    seed
}
