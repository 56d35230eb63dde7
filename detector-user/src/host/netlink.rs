//! Netlink requests to the kernel: one request, all messages of its answer.
//!
//! Numbers are in the machine's byte order (netlink(7)).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto,
    setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};

const HEADER: usize = 16;
/// `struct genlmsghdr`, which stands before the attributes of generic netlink (linux/genetlink.h).
pub(crate) const GENERIC_HEADER: usize = 4;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const ATTRIBUTE_HEADER: usize = 4;
/// Without the flags for nesting and byte order.
const ATTRIBUTE_TYPE: u16 = 0x3fff;
/// The kernel fills a dump's buffer up to 32 KiB.
const RECEIVE: usize = 64 << 10;
const TIMEOUT_SECONDS: i64 = 5;

/// One message of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// The bytes after the netlink header.
    pub(crate) payload: Vec<u8>,
}

/// Scope of a request: one object or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    One,
    All,
}

/// Sends one request and collects the whole answer.
///
/// # Errors
/// The kernel's error number, or [`io::ErrorKind::InvalidData`] for a malformed answer.
pub(crate) fn request(
    protocol: SockProtocol,
    kind: u16,
    ask: Ask,
    payload: &[u8],
) -> io::Result<Vec<Message>> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        protocol,
    )?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(TIMEOUT_SECONDS))?;
    let flags = match ask {
        Ask::One => libc::NLM_F_REQUEST | libc::NLM_F_ACK,
        Ask::All => libc::NLM_F_REQUEST | libc::NLM_F_DUMP,
    };
    let message = encoded(kind, flags as u16, payload);
    let kernel = NetlinkAddr::new(0, 0);
    sendto(socket.as_raw_fd(), &message, &kernel, MsgFlags::empty())?;
    answer(&socket)
}

fn encoded(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let length = (HEADER + payload.len()) as u32;
    let mut message = Vec::with_capacity(HEADER + payload.len());
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&flags.to_ne_bytes());
    // Sequence number and port: this socket sends once, and the kernel fills in the port.
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(payload);
    message
}

fn answer(socket: &OwnedFd) -> io::Result<Vec<Message>> {
    let mut messages = Vec::new();
    let mut buffer = vec![0; RECEIVE];
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        if collect(buffer.get(..length).unwrap_or_default(), &mut messages)? {
            return Ok(messages);
        }
    }
}

/// Parses the messages of one datagram; `true` after the last.
fn collect(mut datagram: &[u8], messages: &mut Vec<Message>) -> io::Result<bool> {
    while let (Some(length), Some(kind)) = (u32_at(datagram, 0), u16_at(datagram, 4)) {
        let payload = datagram
            .get(HEADER..length as usize)
            .ok_or(io::ErrorKind::InvalidData)?;
        match i32::from(kind) {
            libc::NLMSG_DONE => return Ok(true),
            libc::NLMSG_ERROR => {
                let code = u32_at(payload, 0)
                    .ok_or(io::ErrorKind::InvalidData)?
                    .cast_signed();
                // An error of 0 acknowledges.
                return if code == 0 {
                    Ok(true)
                } else {
                    Err(io::Error::from_raw_os_error(code.saturating_neg()))
                };
            }
            libc::NLMSG_NOOP => {}
            _ => messages.push(Message {
                payload: payload.to_vec(),
            }),
        }
        datagram = datagram.get(aligned(length as usize)..).unwrap_or_default();
    }
    Ok(false)
}

/// Returns the number of a generic netlink family.
///
/// # Errors
/// The kernel's error; `ENOENT` if it has no such family.
pub(crate) fn generic_family(name: &str) -> io::Result<u16> {
    let mut payload = vec![libc::CTRL_CMD_GETFAMILY as u8, 1, 0, 0];
    let name = [name.as_bytes(), &[0]].concat();
    put(&mut payload, CTRL_ATTR_FAMILY_NAME, &name);
    let controller = libc::GENL_ID_CTRL as u16;
    let answer = request(SockProtocol::NetlinkGeneric, controller, Ask::One, &payload)?;
    let message = answer.first().ok_or(io::ErrorKind::InvalidData)?;
    let attributes = message.payload.get(GENERIC_HEADER..).unwrap_or_default();
    let family = attribute(attributes, CTRL_ATTR_FAMILY_ID).and_then(|id| u16_at(id, 0));
    Ok(family.ok_or(io::ErrorKind::InvalidData)?)
}

/// Returns the attributes in `bytes`: type and value. Ends at the first that does not fit.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & ATTRIBUTE_TYPE;
        let value = bytes.get(ATTRIBUTE_HEADER..length)?;
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Returns the value of the first attribute of this type.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|&(found, _)| found == kind)
        .map(|(_, value)| value)
}

/// Appends an attribute to a request. No value here exceeds the length field.
pub(crate) fn put(request: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(ATTRIBUTE_HEADER + value.len()).unwrap_or(u16::MAX);
    request.extend_from_slice(&length.to_ne_bytes());
    request.extend_from_slice(&kind.to_ne_bytes());
    request.extend_from_slice(value);
    request.resize(aligned(request.len()), 0);
}

/// Returns a string attribute, without the NUL that ends it.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|&b| b == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let value = bytes.get(offset..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*value))
}

pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let value = bytes.get(offset..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*value))
}

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_read() {
        let mut bytes = Vec::new();
        put(&mut bytes, 3, b"lan0\0");
        put(&mut bytes, 4 | 0x8000, &1500u32.to_ne_bytes());
        assert_eq!(bytes.len(), 12 + 8);
        assert_eq!(attribute(&bytes, 3).map(text).as_deref(), Some("lan0"));
        assert_eq!(
            attribute(&bytes, 4).and_then(|value| u32_at(value, 0)),
            Some(1500)
        );
        assert_eq!(attribute(&bytes, 5), None);
    }

    #[test]
    fn an_answer_ends_with_done_an_acknowledgement_or_an_error() {
        let mut messages = Vec::new();
        let two = [encoded(16, 0, b"1234567"), vec![0], encoded(16, 0, b"b")].concat();
        assert!(!collect(&two, &mut messages).unwrap());
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0].payload, b"1234567");
        let done = encoded(libc::NLMSG_DONE as u16, 0, &[0; 4]);
        assert!(collect(&done, &mut messages).unwrap());
        let acknowledged = encoded(libc::NLMSG_ERROR as u16, 0, &[0; 4]);
        assert!(collect(&acknowledged, &mut messages).unwrap());
        let refused = encoded(libc::NLMSG_ERROR as u16, 0, &(-libc::EPERM).to_ne_bytes());
        let error = collect(&refused, &mut messages).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = attributes(&bytes).count();
            let _ = collect(&bytes, &mut Vec::new());
        }
    }
}
