//! What benches measure against, never shipped: a program that does nothing, and one that parses
//! the headers and makes one hit in an LRU hash map, as most stateful programs do per packet.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::bindings::xdp_action::XDP_PASS;
    use aya_ebpf::macros::{map, xdp};
    use aya_ebpf::maps::LruHashMap;
    use aya_ebpf::programs::XdpContext;
    use detector_common::flow::{Address, FlowKey};

    /// One entry per flow, found by the same key as the engine's.
    #[map]
    static FLOWS: LruHashMap<FlowKey, u64> = LruHashMap::with_max_entries(65_536, 0);

    #[xdp]
    pub(crate) fn reference_empty(_: XdpContext) -> u32 {
        XDP_PASS
    }

    #[xdp]
    pub(crate) fn reference_lru(context: XdpContext) -> u32 {
        look_up(&context);
        XDP_PASS
    }

    /// Ethernet, IPv4 or IPv6 without options, TCP ports; one look-up, inserting at first.
    #[inline(always)]
    fn look_up(context: &XdpContext) -> Option<()> {
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
            // SAFETY: the kernel returned a pointer to a live value.
            Some(packets) => unsafe { *packets += 1 },
            None => {
                // A full LRU table evicts its oldest.
                let _ = FLOWS.insert(&key, &1, 0);
            }
        }
        Some(())
    }

    /// A value at a fixed offset of the frame.
    #[inline(always)]
    fn read<T: Copy>(context: &XdpContext, offset: usize) -> Option<T> {
        let start = context.data() + offset;
        if start + size_of::<T>() > context.data_end() {
            return None;
        }
        // SAFETY: the bytes lie within the frame, and T is made of bytes.
        Some(unsafe { (start as *const T).read_unaligned() })
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
