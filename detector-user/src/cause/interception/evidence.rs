//! Evidence for and against interception, rendered only where a verdict is written.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::cause::knowledge::InterceptedWhen;
use crate::verdict::Intercepted;

/// The fact that shows whether a connection was intercepted. Its `Display` is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterceptionEvidence {
    /// The client is an interceptor that the operator named.
    InterceptorAddress(IpAddr),
    /// The client is a proxy: other hosts' requests end at its address.
    ProxyAddress(IpAddr),
    /// The operator said so of all connections.
    EveryConnection,
    /// The operator said so of all connections.
    NoConnection,
    /// Two taps saw one client random.
    SameRandom {
        /// The tap nearer to the client.
        client_tap: Arc<str>,
        /// The tap nearer to the server.
        server_tap: Arc<str>,
    },
    /// Two taps saw different client randoms.
    TwoLegs {
        /// The tap nearer to the client.
        client_tap: Arc<str>,
        /// The tap nearer to the server.
        server_tap: Arc<str>,
    },
    /// An inspection CA of the operator's issued the certificate.
    InspectionCa {
        /// The certificate's issuer.
        issuer: Arc<str>,
    },
    /// The issuer is a product's name for its CA.
    ProductCa {
        /// The certificate's issuer.
        issuer: Arc<str>,
        /// The product.
        product: &'static str,
    },
    /// A private CA that signs unrelated names with one key issued the certificate.
    LearnedCa {
        /// The certificate's issuer.
        issuer: Arc<str>,
    },
    /// The operator named inspection CAs, and the issuer is none of them.
    OtherCa {
        /// The certificate's issuer.
        issuer: Arc<str>,
    },
    /// The certificate was logged in public (RFC 6962).
    PublicCa {
        /// The certificate's issuer.
        issuer: Arc<str>,
    },
    /// The destination was intercepted before.
    InterceptedDestination,
    /// The ServerHello is an interceptor's.
    LearnedFingerprint,
    /// Connections after this one showed an interceptor.
    RecognizedLater,
}

impl InterceptionEvidence {
    /// Returns the name in a verdict's evidence.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::InterceptorAddress(_) => "interceptor-address",
            Self::ProxyAddress(_) => "proxy-address",
            Self::EveryConnection | Self::NoConnection => "told",
            Self::SameRandom { .. } => "same-random",
            Self::TwoLegs { .. } => "two-legs",
            Self::InspectionCa { .. } => "inspection-ca",
            Self::ProductCa { .. } => "product-ca",
            Self::LearnedCa { .. } => "learned-ca",
            Self::OtherCa { .. } => "other-ca",
            Self::PublicCa { .. } => "public-ca",
            Self::InterceptedDestination => "intercepted-destination",
            Self::LearnedFingerprint => "learned-fingerprint",
            Self::RecognizedLater => "recognized-later",
        }
    }

    /// Returns the status it shows: yes or no.
    #[must_use]
    pub const fn status(&self) -> Intercepted {
        match self {
            Self::InterceptorAddress(_)
            | Self::ProxyAddress(_)
            | Self::NoConnection
            | Self::SameRandom { .. }
            | Self::OtherCa { .. }
            | Self::PublicCa { .. } => Intercepted::No,
            Self::EveryConnection
            | Self::TwoLegs { .. }
            | Self::InspectionCa { .. }
            | Self::ProductCa { .. }
            | Self::LearnedCa { .. }
            | Self::InterceptedDestination
            | Self::LearnedFingerprint
            | Self::RecognizedLater => Intercepted::Yes,
        }
    }

    /// Whether the client of the connection is itself an interceptor or a proxy.
    #[must_use]
    pub const fn is_own_connection(&self) -> bool {
        matches!(self, Self::InterceptorAddress(_) | Self::ProxyAddress(_))
    }

    /// Returns the operator's general statement; `None` where evidence decides.
    pub(super) const fn told(when: InterceptedWhen) -> Option<Self> {
        match when {
            InterceptedWhen::Auto => None,
            InterceptedWhen::Always => Some(Self::EveryConnection),
            InterceptedWhen::Never => Some(Self::NoConnection),
        }
    }
}

impl fmt::Display for InterceptionEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InterceptorAddress(client) => {
                write!(f, "{client} is an interceptor, which opened this itself")
            }
            Self::ProxyAddress(client) => {
                write!(
                    f,
                    "{client} is a proxy, at which other hosts' requests end, and opened this itself"
                )
            }
            Self::EveryConnection => {
                f.write_str("the operator says that every connection is intercepted here")
            }
            Self::NoConnection => {
                f.write_str("the operator says that no connection is intercepted here")
            }
            Self::SameRandom {
                client_tap,
                server_tap,
            } => write!(
                f,
                "{server_tap} shows the same client random as {client_tap}: it was only forwarded"
            ),
            Self::TwoLegs {
                client_tap,
                server_tap,
            } if client_tap == server_tap => write!(
                f,
                "both sides of a proxy were seen, with different client randoms: it terminates TLS"
            ),
            Self::TwoLegs {
                client_tap,
                server_tap,
            } => write!(
                f,
                "{server_tap} shows another client random than {client_tap}: somebody between \
                 terminates TLS"
            ),
            Self::InspectionCa { issuer } => write!(
                f,
                "the certificate was issued by the inspection CA {issuer}"
            ),
            Self::ProductCa { issuer, product } => {
                write!(f, "the issuer {issuer} is what {product} calls its CA")
            }
            Self::LearnedCa { issuer } => write!(
                f,
                "the private CA {issuer} signs unrelated names with one and the same key"
            ),
            Self::OtherCa { issuer } => write!(
                f,
                "the certificate was issued by {issuer}, not an inspection CA"
            ),
            Self::PublicCa { issuer } => write!(
                f,
                "the certificate has timestamps of public logs, as only public CAs' have: {issuer}"
            ),
            Self::InterceptedDestination => {
                f.write_str("this server and name were seen intercepted from as far away")
            }
            Self::LearnedFingerprint => {
                f.write_str("ServerHello and distance are those of an interceptor seen here")
            }
            Self::RecognizedLater => {
                f.write_str("later connections show that an interceptor answers here")
            }
        }
    }
}
