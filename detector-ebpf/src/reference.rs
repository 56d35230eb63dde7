//! Programs for benchmarks and tests, never shipped.
//!
//! Benchmarks compare with an empty program, and with one that parses the headers and makes one
//! look-up in an LRU hash map, as most stateful programs do per packet. Tests add VLAN tags to a link
//! if the kernel has no VLAN devices.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    target_arch = "bpf",
    expect(unsafe_code, reason = "maps and packet pointers")
)]

#[cfg(target_arch = "bpf")]
mod image;

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::Global;
    use aya_ebpf::bindings::xdp_action::XDP_PASS;
    use aya_ebpf::helpers::{
        bpf_get_prandom_u32, bpf_redirect, bpf_skb_vlan_pop, bpf_skb_vlan_push,
    };
    use aya_ebpf::macros::{classifier, map, xdp};
    use aya_ebpf::maps::{LruHashMap, PerCpuArray, ProgramArray};
    use aya_ebpf::programs::{TcContext, XdpContext};
    use detector_common::flow::{Address, FlowKey};
    use zerocopy::FromBytes;

    /// One entry per flow, found by the same key as the engine's.
    #[map]
    static FLOWS: LruHashMap<FlowKey, u64> = LruHashMap::with_max_entries(65_536, 0);

    /// Program that [`at_random`] and [`in_turn`] call.
    #[map]
    static NEXT: ProgramArray = ProgramArray::with_max_entries(1, 0);

    /// Number of the last client.
    #[map]
    static TURN: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

    /// Mask of client numbers: 2^20 clients.
    const CLIENTS_MASK: u32 = (1 << 20) - 1;

    /// Interface that [`send_on`] redirects to.
    #[unsafe(no_mangle)]
    static TARGET: Global<u32> = Global::new(0);

    const TCX_NEXT: i32 = -1;
    const ETH_P_8021Q: u16 = 0x8100;
    const VLAN_ID: u16 = 100;

    /// Adds a VLAN tag at egress.
    #[classifier]
    pub(crate) fn lab_tag(context: TcContext) -> i32 {
        // SAFETY: the context is the one the program was called with.
        unsafe { bpf_skb_vlan_push(context.skb.skb, ETH_P_8021Q.to_be(), VLAN_ID) };
        TCX_NEXT
    }

    /// Removes the VLAN tag at ingress.
    #[classifier]
    pub(crate) fn lab_untag(context: TcContext) -> i32 {
        // SAFETY: the context is the one the program was called with.
        unsafe { bpf_skb_vlan_pop(context.skb.skb) };
        TCX_NEXT
    }

    #[xdp(frags)]
    pub(crate) fn reference_empty(_: XdpContext) -> u32 {
        XDP_PASS
    }

    #[classifier]
    pub(crate) fn reference_empty_tc(_: TcContext) -> i32 {
        TCX_NEXT
    }

    /// Redirects the frame to another interface.
    #[xdp]
    pub(crate) fn send_on(_: XdpContext) -> u32 {
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_redirect(TARGET.load(), 0) as u32 }
    }

    /// Rewrites the client's address to one of 2^20 at random, and calls the next program.
    #[xdp(frags)]
    pub(crate) fn at_random(context: XdpContext) -> u32 {
        // SAFETY: the helper has no preconditions.
        go_on(&context, unsafe { bpf_get_prandom_u32() })
    }

    /// Does the same with client numbers in ascending order.
    #[xdp(frags)]
    pub(crate) fn in_turn(context: XdpContext) -> u32 {
        let Some(turn) = TURN.get_ptr_mut(0) else {
            return XDP_PASS;
        };
        // SAFETY: a live, aligned value, per CPU.
        let client = unsafe {
            *turn = (*turn).wrapping_add(1);
            *turn
        };
        go_on(&context, client)
    }

    /// Writes the client's IPv4 address, the one whose port is not the server's, and calls the next
    /// program.
    #[inline(always)]
    fn go_on(context: &XdpContext, client: u32) -> u32 {
        const SERVER_PORT: [u8; 2] = 443u16.to_be_bytes();
        let from_server = read::<[u8; 2], _>(context, 14 + 20) == Some(SERVER_PORT);
        let start = context.data() + 14 + if from_server { 16 } else { 12 };
        if start + 4 <= context.data_end() {
            let address = 0x0a00_0000 | client & CLIENTS_MASK;
            // SAFETY: the four bytes lie within the frame; the array holds programs of this type.
            unsafe {
                (start as *mut u32).write_unaligned(address.to_be());
                NEXT.tail_call(context, 0);
            }
        }
        XDP_PASS
    }

    #[xdp(frags)]
    pub(crate) fn reference_lru(context: XdpContext) -> u32 {
        look_up(&context);
        XDP_PASS
    }

    #[classifier]
    pub(crate) fn reference_lru_tc(context: TcContext) -> i32 {
        look_up(&context);
        TCX_NEXT
    }

    /// Counts frames, those whose bytes do not all lie in the linear part, and segments on the wire.
    #[map]
    static KINDS: PerCpuArray<[u64; 3]> = PerCpuArray::with_max_entries(1, 0);

    #[classifier]
    pub(crate) fn count_kinds_tc(context: TcContext) -> i32 {
        if let Some(kinds) = KINDS.get_ptr_mut(0) {
            let linear = Linear::end(&context) - Linear::start(&context);
            // SAFETY: the context is the one the program was called with.
            let segments = unsafe { (*context.skb.skb).gso_segs };
            // SAFETY: a live, aligned value, per CPU.
            let [frames, beyond, wire] = unsafe { &mut *kinds };
            *frames += 1;
            *beyond += u64::from(linear < context.len() as usize);
            *wire += u64::from(if segments == 0 { 1 } else { segments });
        }
        TCX_NEXT
    }

    /// A context with a frame's linear part.
    trait Linear {
        /// Returns the address of its first byte.
        fn start(&self) -> usize;
        /// Returns the address after its last byte.
        fn end(&self) -> usize;
    }

    impl Linear for XdpContext {
        #[inline(always)]
        fn start(&self) -> usize {
            self.data()
        }

        #[inline(always)]
        fn end(&self) -> usize {
            self.data_end()
        }
    }

    impl Linear for TcContext {
        #[inline(always)]
        fn start(&self) -> usize {
            self.data()
        }

        #[inline(always)]
        fn end(&self) -> usize {
            self.data_end()
        }
    }

    /// Parses Ethernet, IPv4 or IPv6 without options, and TCP ports; one look-up, inserting at
    /// first.
    #[inline(always)]
    fn look_up<C: Linear>(context: &C) -> Option<()> {
        let ether_type: [u8; 2] = read(context, 12)?;
        let mut key = FlowKey::default();
        let ports: [u8; 4] = match u16::from_be_bytes(ether_type) {
            0x0800 => {
                let addresses: [u8; 8] = read(context, 14 + 12)?;
                let [a, b, c, d, e, f, g, h] = addresses;
                key.addresses = [
                    Address::from_ipv4(u32::from_be_bytes([a, b, c, d])),
                    Address::from_ipv4(u32::from_be_bytes([e, f, g, h])),
                ];
                read(context, 14 + 20)?
            }
            0x86dd => {
                let words: [[u8; 8]; 4] = read(context, 14 + 8)?;
                let [a, b, c, d] = words.map(u64::from_be_bytes);
                key.addresses = [Address::from_halves(a, b), Address::from_halves(c, d)];
                read(context, 14 + 40)?
            }
            _ => return None,
        };
        let [a, b, c, d] = ports;
        key.ports = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
        match FLOWS.get_ptr_mut(&key) {
            // SAFETY: a live, aligned value; what another CPU counts at the same moment may be lost.
            Some(packets) => unsafe { *packets += 1 },
            None => {
                // A full LRU table evicts its oldest.
                let _ = FLOWS.insert(&key, &1, 0);
            }
        }
        Some(())
    }

    /// Reads a value at a fixed offset of the frame.
    #[inline(always)]
    fn read<T: FromBytes, C: Linear>(context: &C, offset: usize) -> Option<T> {
        let start = context.start() + offset;
        if start + size_of::<T>() > context.end() {
            return None;
        }
        // SAFETY: the bytes lie within the frame, and any bytes are a T.
        Some(unsafe { (start as *const T).read_unaligned() })
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
