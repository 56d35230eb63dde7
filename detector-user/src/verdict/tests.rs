//! The contract: names, order, and how numbers are written.

use super::*;

/// The example of the design document, field by field.
pub(crate) const EXAMPLE: &str = concat!(
    r#"{"time":"2026-11-23T08:30:01.123456789Z","tap":"lan0","community_id":"1:LQU9qZlK+B5F3KDmev6m5PMibrg=","#,
    r#""client":{"ip":"10.0.1.2","port":40112},"server":{"ip":"10.0.2.2","port":443},"vlan":[],"#,
    r#""sni":"api.pinned.test","alpn":["h2","http/1.1"],"ja4":"t13d1516h2_8daaf6152771_02713d6af862","tls_version":"1.3","#,
    r#""cause":"pinning","confidence":0.97,"intercepted":"yes","issuer":"CN=Inspection CA","#,
    r#""ended_by":"client","alert":{"from":"client","level":"fatal","code":46,"description":"certificate_unknown","encrypted":false},"#,
    r#""reset":null,"duration_ms":14.2,"pan_os":"policy-deny","#,
    r#""evidence":[{"name":"client-alert","detail":"fatal certificate_unknown (46) after the server's Certificate","weight":2.5}],"#,
    r#""advice":"exclude api.pinned.test from decryption","revises":null,"#,
    r#""id":"0123456789abcdef","revision":0,"supersedes":null}"#,
);

/// A verdict with every kind of field filled in.
pub(crate) fn pinning() -> Verdict {
    Verdict {
        time: "2026-11-23T08:30:01.123456789Z".parse().unwrap(),
        tap: "lan0".into(),
        community_id: "1:LQU9qZlK+B5F3KDmev6m5PMibrg=".into(),
        client: Endpoint {
            ip: "10.0.1.2".parse().unwrap(),
            port: 40112,
        },
        server: Endpoint {
            ip: "10.0.2.2".parse().unwrap(),
            port: 443,
        },
        vlan: vec![],
        sni: Some("api.pinned.test".into()),
        alpn: Some(vec!["h2".into(), "http/1.1".into()]),
        ja4: Some("t13d1516h2_8daaf6152771_02713d6af862".into()),
        tls_version: Some("1.3".into()),
        cause: Cause::Pinning,
        confidence: 0.97,
        intercepted: Intercepted::Yes,
        issuer: Some("CN=Inspection CA".into()),
        ended_by: Party::Client,
        alert: Some(Alert {
            from: Party::Client,
            level: Some(AlertLevel::Fatal),
            code: Some(46),
            description: Some("certificate_unknown".into()),
            encrypted: false,
        }),
        reset: None,
        duration_ms: Some(14.2),
        pan_os: Some("policy-deny".into()),
        pan_os_beneath: None,
        evidence: vec![Evidence {
            name: "client-alert".into(),
            detail: "fatal certificate_unknown (46) after the server's Certificate".into(),
            weight: 2.5,
        }],
        advice: Some("exclude api.pinned.test from decryption".into()),
        revises: None,
        server_leg: None,
        id: "0123456789abcdef".into(),
        revision: 0,
        supersedes: None,
        ladder: Default::default(),
        tunnel: None,
        target: None,
    }
}

/// A reset nobody could look behind: as little is known as can be.
pub(crate) fn injected_reset() -> Verdict {
    Verdict {
        time: "2026-11-23T08:30:02Z".parse().unwrap(),
        tap: "wan0".into(),
        client: Endpoint {
            ip: "2001:db8::12".parse().unwrap(),
            port: 50000,
        },
        server: Endpoint {
            ip: "2001:db8::443".parse().unwrap(),
            port: 443,
        },
        vlan: vec![100, 7],
        sni: None,
        alpn: None,
        ja4: None,
        tls_version: None,
        cause: Cause::InjectedReset,
        confidence: 0.8,
        intercepted: Intercepted::Unknown,
        issuer: None,
        ended_by: Party::Middlebox,
        alert: None,
        reset: Some(Reset {
            from: Party::Middlebox,
            injected: true,
            tells: vec![
                "ttl 61, the server's were 52".into(),
                "the server went on".into(),
            ],
        }),
        duration_ms: Some(0.25),
        evidence: vec![],
        advice: None,
        ..pinning()
    }
}

#[test]
fn is_written_as_the_contract_says() {
    assert_eq!(serde_json::to_string(&pinning()).unwrap(), EXAMPLE);
}

#[test]
fn unknown_is_null() {
    insta::assert_json_snapshot!(injected_reset());
}

#[test]
fn is_read_back_as_it_was_written() {
    assert_eq!(serde_json::from_str::<Verdict>(EXAMPLE).unwrap(), pinning());
    let reset = serde_json::to_string(&injected_reset()).unwrap();
    assert_eq!(
        serde_json::from_str::<Verdict>(&reset).unwrap(),
        injected_reset()
    );
}

#[test]
fn a_later_field_does_not_stop_an_older_reader() {
    let later = EXAMPLE.replacen('{', r#"{"process":"java","#, 1);
    assert_eq!(serde_json::from_str::<Verdict>(&later).unwrap(), pinning());
}

#[test]
fn an_encrypted_alert_has_no_code() {
    let alert = Alert {
        from: Party::Client,
        level: None,
        code: None,
        description: None,
        encrypted: true,
    };
    assert_eq!(
        serde_json::to_string(&alert).unwrap(),
        r#"{"from":"client","level":null,"code":null,"description":null,"encrypted":true}"#
    );
}

#[test]
fn names_are_the_ones_in_json() {
    for cause in Cause::ALL {
        assert_eq!(serde_json::to_value(cause).unwrap(), cause.name());
    }
    use Party::{Client, Gateway, Middlebox, Server, Unknown};
    for party in [Client, Server, Middlebox, Gateway, Unknown] {
        assert_eq!(serde_json::to_value(party).unwrap(), party.name());
    }
    for intercepted in [Intercepted::Yes, Intercepted::No, Intercepted::Unknown] {
        assert_eq!(
            serde_json::to_value(intercepted).unwrap(),
            intercepted.name()
        );
    }
    for level in [AlertLevel::Warning, AlertLevel::Fatal] {
        assert_eq!(serde_json::to_value(level).unwrap(), level.name());
    }
}

#[rstest::rstest]
#[case(0.966_66, 14.199_999_9, 0.97, 14.2)]
#[case(1.5, 0.0, 1.0, 0.0)]
#[case(-0.001, 1_234.567_89, 0.0, 1_234.568)]
fn numbers_are_rounded(
    #[case] confidence: f64,
    #[case] duration: f64,
    #[case] confidence_written: f64,
    #[case] duration_written: f64,
) {
    let verdict = Verdict {
        confidence,
        duration_ms: Some(duration),
        ..pinning()
    };
    let json = serde_json::to_value(verdict).unwrap();
    assert_eq!(json["confidence"], confidence_written);
    assert_eq!(json["duration_ms"], duration_written);
}

#[test]
fn what_is_no_number_still_reads_back() {
    let mut verdict = Verdict {
        confidence: f64::NAN,
        duration_ms: Some(f64::INFINITY),
        ..pinning()
    };
    verdict.evidence[0].weight = f64::NEG_INFINITY;
    let json = serde_json::to_string(&verdict).unwrap();
    let read: Verdict = serde_json::from_str(&json).unwrap();
    assert_eq!(read.confidence, 0.0);
    assert_eq!(read.duration_ms, None);
    assert_eq!(read.evidence[0].weight, 0.0);
}
