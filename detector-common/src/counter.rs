//! What became of every packet, and what was lost: one number each, counted per CPU.

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident => $name:literal,)*) => {
        /// The way one packet took through the engine (each takes one), what happened beside it, or
        /// one kind of loss.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Counter { $($(#[$doc])* $variant,)* }

        impl Counter {
            /// Every counter, in the order of their numbers.
            pub const ALL: &'static [Counter] = &[$(Counter::$variant,)*];

            /// The name in summaries and metrics.
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
    /// The frame ends within its headers, or its headers lie out of direct reach.
    TruncatedHeaders => "truncated_headers",
    /// A header whose own length fields contradict each other.
    MalformedHeaders => "malformed_headers",
    /// More VLAN tags or IPv6 extension headers than are walked.
    TooManyHeaders => "too_many_headers",
    /// TCP of a connection that is not watched: not TLS, not yet, or long established.
    Unwatched => "unwatched",
    /// A segment of a watched flow.
    Followed => "followed",
    /// Beside the way: a ClientHello began a flow.
    Started => "started",
    /// Beside the way: a flow became settled; from here on its data pass without a look.
    Settled => "settled",
    /// Beside the way: FIN, RST or an alert made a settled flow watched again.
    Resumed => "resumed",
    /// Beside the way: what began like a ClientHello went on otherwise; the flow was forgotten.
    NotHello => "not_hello",
    /// Beside the way: a watched flow that had ended, or was idle, made room for a new one.
    Evicted => "evicted",
    /// Loss: the observation ring was full.
    ObservationLost => "observation_lost",
    /// Loss: handshake bytes could not be sent, because their ring was full or they were not
    /// captured; alerts and resets are unaffected.
    HandshakeLost => "handshake_lost",
    /// Loss: the table of watched flows took no new one.
    TableFull => "table_full",
    /// Loss: a watched flow that was busy made room for a new one; its verdict may be missing.
    EvictedBusy => "evicted_busy",
    /// A flow raised more observations than one flow may; the further ones were not sent.
    ObservationsCapped => "observations_capped",
}

impl Counter {
    /// How many counters there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Whether it is a packet's way: every packet takes exactly one.
    pub const fn is_way(self) -> bool {
        (self as u32) <= (Self::Followed as u32)
    }

    /// Whether it tells of something lost rather than of a packet's way.
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
