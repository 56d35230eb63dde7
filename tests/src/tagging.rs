//! A link whose frames carry a VLAN tag, without a VLAN device: the kernel may have none.

use std::os::fd::AsFd;

use anyhow::Context;
use aya::programs::tc::TcAttachOptions;
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};
use aya::{Ebpf, EbpfLoader};
use lab::host::Namespace;
use nix::sched::{CloneFlags, setns};

static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("LAB_EBPF_OBJECT"));

/// The VLAN ID of all tags.
pub const VLAN_ID: u16 = 100;

/// Tags frames that leave by an interface and untags those that come in, until it is dropped.
pub struct Tagging {
    _links: Ebpf,
}

impl Tagging {
    /// Tags an interface of a namespace. Programs that are there already see the tag at egress.
    ///
    /// # Errors
    /// If the kernel does not take the programs.
    pub fn new(namespace: &Namespace, interface: &str) -> anyhow::Result<Self> {
        let path = format!("/run/netns/{}", namespace.name());
        let file = std::fs::File::open(&path).context(path)?;
        let interface = interface.to_owned();
        let attached = std::thread::spawn(move || -> anyhow::Result<Ebpf> {
            setns(file.as_fd(), CloneFlags::CLONE_NEWNET)?;
            let mut object = EbpfLoader::new().load(OBJECT)?;
            // So that other programs see the tag in both directions.
            for (name, direction, order) in [
                ("lab_tag", TcAttachType::Egress, LinkOrder::first()),
                ("lab_untag", TcAttachType::Ingress, LinkOrder::last()),
            ] {
                let program = object.program_mut(name).context("no such program")?;
                let program: &mut SchedClassifier = program.try_into()?;
                program.load()?;
                let options = TcAttachOptions::TcxOrder(order);
                program.attach_with_options(&interface, direction, options)?;
            }
            Ok(object)
        });
        let links = attached
            .join()
            .map_err(|_| anyhow::anyhow!("tagging panicked"))??;
        Ok(Self { _links: links })
    }
}
