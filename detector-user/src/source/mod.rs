//! Sources of observations: taps in the kernel, and captures.
//!
//! In: frames, seen by the eBPF programs of a [`tap`] or read from a [`capture`], on which the same
//! engine runs in a [`capture_tap`], once their link headers are removed ([`link_header`]), unless a filter
//! expression rejects them ([`packet_filter`]).
//! Out: observations and handshake bytes, to a [`Receiver`](crate::flow::receiver::Receiver) or a
//! [`TimedReceiver`](crate::flow::receiver::TimedReceiver); of captures also `preambles`, the exchange
//! with an explicit proxy before the ClientHello, `icmp_errors`, and the kinds of frames that were not read
//! ([`unread`]).
//! Not here: the meaning of a flow. A source attaches, reads, counts, and passes on; packets are never
//! changed, delayed or dropped.

pub mod capture;
pub mod capture_set;
pub mod capture_tap;
mod icmp_errors;
pub mod link_header;
pub mod packet_filter;
mod preambles;
pub mod tap;
pub mod unread;
