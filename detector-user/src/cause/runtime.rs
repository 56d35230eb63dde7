//! The runtime of an app by its fingerprint, and where that runtime looks for CAs.
//!
//! The middle part of JA4, a hash of the offered cipher suites, follows from the TLS library and its defaults
//! and hardly ever changes with an app. The values are those of the programs themselves, as they come (Debian
//! 12: curl 7.88, Python 3.11, GnuTLS 3.7, Java 17, Node 20, Go 1.19, Chromium 156; rustls 0.23), with TLS 1.2
//! and 1.3 offered and with TLS 1.2 alone. Lists that several share are left out, and so are the three or four
//! suites of TLS 1.3 alone: unknown stays unknown.

/// A runtime or TLS library with a trust store, or a setting for one, of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runtime {
    /// Its name.
    pub name: &'static str,
    /// Settings by which it trusts another CA, a clause. `docs/verdicts.md` has their sources.
    pub setting: &'static str,
    /// Hashes of cipher suites in its JA4 fingerprints.
    suites: &'static [&'static str],
}

const RUNTIMES: &[Runtime] = &[
    Runtime {
        name: "Java",
        setting: "import it into the JRE's lib/security/cacerts (keytool -importcert -cacerts), or name a store \
                  by -Djavax.net.ssl.trustStore",
        suites: &["db35923f8641", "0ca14b6c4d46"],
    },
    Runtime {
        name: "Node.js",
        setting: "name the CA's file in NODE_EXTRA_CA_CERTS, or start node with --use-system-ca (22.15 and later)",
        suites: &["a33745022dd6", "99d8c53049f3"],
    },
    Runtime {
        name: "Python",
        setting: "name a bundle with the CA in SSL_CERT_FILE, for requests in REQUESTS_CA_BUNDLE, or have the app \
                  use truststore; the bundle of its usual package knows no other CA",
        suites: &["85036bcba153"],
    },
    Runtime {
        name: "Go",
        setting: "install it in the system's bundle, or name a file in SSL_CERT_FILE; in a container, in the image",
        suites: &["9dc949149365", "8cdfa2d4673b"],
    },
    Runtime {
        name: "OpenSSL, such as curl",
        setting: "install it in the system's bundle (update-ca-certificates, update-ca-trust), or name a file in \
                  SSL_CERT_FILE, for curl in CURL_CA_BUNDLE; in a container, in the image",
        suites: &["e8f1e7e78f70", "d943125447b4"],
    },
    Runtime {
        name: "GnuTLS, such as Debian's git and wget",
        setting: "install it in the system's bundle (update-ca-certificates), or name a file, for git by \
                  http.sslCAInfo or GIT_SSL_CAINFO, for wget by --ca-certificate",
        suites: &["723694b0fccc", "7415a186c913"],
    },
    Runtime {
        name: "rustls, such as uv",
        setting: "name a file in SSL_CERT_FILE where the app reads the platform's roots (uv: or --system-certs, \
                  earlier --native-tls); one with roots compiled in takes no other CA",
        suites: &["f91f431d341e", "61a7ad8aa9b6"],
    },
    Runtime {
        name: "Chromium, Electron or a web view",
        setting: "install it in the system's store (Linux: certutil in ~/.pki/nssdb); apps for Android 7 and later \
                  ignore CAs that the user installs unless they ask for them",
        suites: &["8daaf6152771"],
    },
];

/// Returns the runtime of an app by its JA4 fingerprint.
#[must_use]
pub fn runtime(ja4: &str) -> Option<&'static Runtime> {
    let suites = ja4.split('_').nth(1)?;
    let mut runtimes = RUNTIMES.iter();
    runtimes.find(|runtime| runtime.suites.contains(&suites))
}

/// Words of an advice to install the CA.
const CA: &str = "inspection CA";

/// Returns an advice to install the CA with the setting of the app's runtime, if it is known; any other as it is.
#[must_use]
pub fn with_setting(advice: String, ja4: Option<&str>) -> String {
    let runtime = ja4.filter(|_| advice.contains(CA)).and_then(runtime);
    match runtime {
        Some(Runtime { name, setting, .. }) => {
            format!("{advice}; its hello is that of {name}: {setting}")
        }
        None => advice,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rstest::rstest;

    use super::*;

    /// Fingerprints that the programs sent by their defaults.
    #[rstest]
    #[case("t13d3713h2_db35923f8641_7c76daad20ec", "Java")]
    #[case("t13d591000_a33745022dd6_1f22a2ca17c4", "Node.js")]
    #[case("t13d1812h1_85036bcba153_b26ce05bbdd6", "Python")]
    #[case("t13d1910h2_9dc949149365_97f8aa674fd9", "Go")]
    #[case("t13d3112h2_e8f1e7e78f70_b26ce05bbdd6", "OpenSSL, such as curl")]
    #[case(
        "t13d2912h2_723694b0fccc_288f874c93d6",
        "GnuTLS, such as Debian's git and wget"
    )]
    #[case(
        "t13d1517h2_8daaf6152771_cb7bf5808d99",
        "Chromium, Electron or a web view"
    )]
    fn an_app_has_the_runtime_of_its_suites(#[case] ja4: &str, #[case] name: &str) {
        assert_eq!(runtime(ja4).map(|it| it.name), Some(name));
    }

    #[rstest]
    // Only TLS 1.3: curl, Node and Python send the same, Java and Chromium another.
    #[case("t13d041000_16476d049b0b_78f1d400d464")]
    #[case("t13d030800_55b375c5d22e_c1c26d69a8d8")]
    #[case("")]
    #[case("db35923f8641")]
    fn unknown_stays_unknown(#[case] ja4: &str) {
        assert_eq!(runtime(ja4), None);
        let general = "install the inspection CA";
        assert_eq!(with_setting(general.to_owned(), Some(ja4)), general);
    }

    #[test]
    fn an_advice_names_the_setting_where_a_ca_is_missing() {
        let java = Some("t13d3713h2_db35923f8641_7c76daad20ec");
        let advice = with_setting("install the inspection CA".to_owned(), java);
        assert!(
            advice.contains("; its hello is that of Java: import it into"),
            "{advice}"
        );
        let other = "exclude this destination from decryption";
        assert_eq!(with_setting(other.to_owned(), java), other);
    }

    #[test]
    fn no_list_of_suites_is_of_two() {
        let suites = RUNTIMES.iter().flat_map(|it| it.suites);
        let count = RUNTIMES.iter().map(|it| it.suites.len()).sum::<usize>();
        assert_eq!(suites.collect::<HashSet<_>>().len(), count);
    }
}
