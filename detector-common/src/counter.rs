//! Counters of packet outcomes, events and losses, one number each per CPU.

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// Outcome of one packet (each has exactly one), an event beside it, or a kind of loss.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Counter { $($(#[$doc])* $variant,)* }

        impl Counter {
            /// Every counter, in the order of their numbers.
            pub const ALL: &'static [Counter] = &[$(Counter::$variant,)*];

            /// Returns the name used in summaries and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Counter::$variant => $name,)* }
            }
        }
    };
}

counters! {
    /// Neither IPv4 nor IPv6.
    NotIp => "not_ip",
    /// IP, but not TCP.
    NotTcp => "not_tcp",
    /// A fragment other than the first: it has no TCP header.
    LaterFragment => "later_fragment",
    /// The frame ends within its headers, or they cannot be addressed directly.
    TruncatedHeaders => "truncated_headers",
    /// Contradictory length fields in a header.
    MalformedHeaders => "malformed_headers",
    /// More VLAN tags or IPv6 extension headers than are walked.
    TooManyHeaders => "too_many_headers",
    /// TCP of a connection that is not watched: not TLS, not yet, or long established.
    Unwatched => "unwatched",
    /// A segment of a watched flow.
    Followed => "followed",
    /// Event: a ClientHello began a flow, or where halves are followed, its server.
    Started => "started",
    /// Event: a flow became settled; its data pass without a look-up from here on.
    Settled => "settled",
    /// Event: FIN, RST or an alert made a settled flow watched again.
    Resumed => "resumed",
    /// Event: the bytes after a plausible beginning were no ClientHello; the flow was removed.
    NotHello => "not_hello",
    /// Event: a watched flow that had ended, or was idle, was evicted for a new one.
    Evicted => "evicted",
    /// Event: a RST answered a SYN, or came right behind the SYN,ACK. TCP on any port.
    Refused => "refused",
    /// Event: a SYN was sent three times without an answer. TCP on any port.
    Unanswered => "unanswered",
    /// Loss: the observation ring was full.
    ObservationLost => "observation_lost",
    /// Loss: handshake bytes could not be sent, because their ring was full or they were not
    /// captured; alerts and resets are unaffected.
    HandshakeLost => "handshake_lost",
    /// Loss: the table of watched flows was full.
    TableFull => "table_full",
    /// Loss: a busy watched flow was evicted for a new one; its verdict may be missing.
    EvictedBusy => "evicted_busy",
    /// Loss: a flow exceeded the limit of observations per flow; further ones were not sent.
    ObservationsCapped => "observations_capped",
}

impl Counter {
    /// Number of counters.
    pub const COUNT: usize = Self::ALL.len();

    /// Whether it is an outcome: each packet has exactly one.
    pub const fn is_outcome(self) -> bool {
        (self as u32) <= (Self::Followed as u32)
    }

    /// Whether it counts a loss.
    pub const fn is_loss(self) -> bool {
        matches!(
            self,
            Self::ObservationLost
                | Self::HandshakeLost
                | Self::TableFull
                | Self::EvictedBusy
                | Self::ObservationsCapped
        )
    }
}
