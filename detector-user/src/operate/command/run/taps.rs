//! The tapped interfaces, as they appear, disappear and are renamed during a run.

use std::collections::BTreeSet;

use tracing::{info, warn};

use crate::flow::receiver::TimedReceiver;
use crate::host::interfaces::{self, Interface};
use crate::operate::config::{self, Config};
use crate::operate::pipeline::Pipeline;
use crate::outlet::message_kind;
use crate::source::tap::TapError;
use crate::source::tap::attach::Tapped;
use crate::source::tap::hook::{Abilities, Hook};
use crate::source::tap::kernel_tap::KernelTap;
use crate::source::tap::load::Origin;
use crate::source::tap::object::ObjectOptions;
use crate::source::tap::pins::{Pins, Root};
use crate::source::tap::selection::{self, Choice, Wanted};

/// The tapped interfaces, and those that are wanted.
pub(super) struct Taps {
    pub(super) tap: KernelTap,
    wanted: Vec<Wanted>,
    /// Interfaces that could not be tapped, by index: each is reported once.
    refused: BTreeSet<u32>,
    #[expect(
        dead_code,
        reason = "held where nothing can be pinned: it excludes a second agent"
    )]
    lock: Option<Root>,
}

impl Taps {
    /// Taps the chosen interfaces, adopting pinned programs and maps. `root` is the directory for
    /// pins.
    pub(super) fn start(
        wanted: Vec<Wanted>,
        interfaces: &[Interface],
        options: &ObjectOptions,
        root: Option<Root>,
    ) -> anyhow::Result<Self> {
        let abilities = Abilities::of_this_kernel();
        // A classifier of clsact is no link, and cannot be pinned.
        let (pins, lock) = match root {
            Some(root) if abilities.tcx => (Some(Pins::new(root, options)), None),
            root => (None, root),
        };
        let (tap, origin) = match pins {
            None => (
                KernelTap::attach(interfaces, options, abilities)?,
                Origin::New,
            ),
            Some(pins) => KernelTap::attach_pinned(interfaces, options, abilities, pins)?,
        };
        match origin {
            Origin::Adopted => info!("adopted the programs of an earlier agent"),
            Origin::Replaced => warn!(
                target: message_kind::PROGRAMS_REPLACED,
                "replaced the programs of an earlier agent: their version or table sizes differ; \
                 connections in progress are not tracked, and unread observations are lost"
            ),
            Origin::New => {}
        }
        Ok(Self {
            tap,
            wanted,
            refused: BTreeSet::new(),
            lock,
        })
    }

    /// Logs the taps and how each is attached.
    pub(super) fn announce(&self, interfaces: &[Interface]) {
        for tapped in &self.tap.tapped {
            announce(tapped);
            let interface = interfaces.iter().find(|it| it.index == tapped.index);
            if interface.is_some_and(|it| !it.is_up()) {
                warn!("tap {}: the interface is down", tapped.name);
            }
        }
    }

    /// Lists the interfaces again: removes taps of those that are gone, and taps new ones.
    pub(super) fn refresh(&mut self, pipeline: &mut Pipeline) {
        // If the kernel does not answer, the next notice leads here again.
        let (Ok(present), Ok(choice)) = (interfaces::list(), selection::choose(&self.wanted))
        else {
            return;
        };
        self.remove_gone(&present);
        for tapped in &mut self.tap.tapped {
            let Some(now) = present.iter().find(|it| it.index == tapped.index) else {
                continue;
            };
            if now.name != tapped.name {
                info!(
                    "tap {}: the interface was renamed to {}",
                    tapped.name, now.name
                );
                tapped.name.clone_from(&now.name);
                pipeline.name_tap(now.index, &now.name);
            }
        }
        self.add(choice, pipeline);
    }

    /// Lists the interfaces again if default routes decide which are wanted.
    pub(super) fn follow_routes(&mut self, pipeline: &mut Pipeline) {
        if self.wanted.contains(&Wanted::Auto) {
            self.refresh(pipeline);
        }
    }

    /// Watches other interfaces from now on.
    pub(super) fn want(&mut self, wanted: Vec<Wanted>, pipeline: &mut Pipeline) {
        self.wanted = wanted;
        self.refused.clear();
        let present = interfaces::list().unwrap_or_default();
        let of = |index| present.iter().find(|it| it.index == index);
        let unwanted: Vec<(u32, String)> = self
            .tap
            .tapped
            .iter()
            .filter(|it| {
                of(it.index).is_some_and(|it| !self.wanted.iter().any(|one| one.may_select(it)))
            })
            .map(|it| (it.index, it.name.clone()))
            .collect();
        for (index, name) in unwanted {
            info!("tap {name}: removed, as it is no longer configured");
            self.tap.remove(index);
        }
        self.refresh(pipeline);
        if let Ok(choice) = selection::choose(&self.wanted) {
            warn_absent(&choice);
        }
    }

    fn remove_gone(&mut self, present: &[Interface]) {
        let gone: Vec<(u32, String)> = self
            .tap
            .tapped
            .iter()
            .filter(|tapped| !present.iter().any(|it| it.index == tapped.index))
            .map(|tapped| (tapped.index, tapped.name.clone()))
            .collect();
        for (index, name) in &gone {
            warn!(target: message_kind::TAP_GONE, "tap {name}: the interface is gone");
            self.tap.remove(*index);
        }
        if !gone.is_empty() && self.tap.tapped.is_empty() {
            warn!(target: message_kind::TAP_GONE, "no tapped interface is left; waiting for one");
        }
        self.refused
            .retain(|index| present.iter().any(|it| it.index == *index));
    }

    fn add(&mut self, choice: Choice, pipeline: &mut Pipeline) {
        for interface in choice.interfaces {
            if self.tap.has(interface.index) || self.refused.contains(&interface.index) {
                continue;
            }
            match self.tap.add(&interface) {
                Ok(tapped) => {
                    announce(tapped);
                    pipeline.name_tap(interface.index, &interface.name);
                }
                Err(error) => {
                    warn!(target: message_kind::TAP_REFUSED, "{error}");
                    self.refused.insert(interface.index);
                }
            }
        }
    }
}

fn announce(tapped: &Tapped) {
    let egress = tapped
        .egress
        .map_or("none (loopback frames arrive at ingress)", Hook::name);
    info!(
        "tap {}: ingress {}, egress {egress}",
        tapped.name,
        tapped.ingress.name()
    );
    if let Some(why) = &tapped.no_xdp {
        info!("tap {}: no XDP: {why}", tapped.name);
    }
}

/// Locks the directory for pins, before anything that a second agent with the same directories must not
/// do. A missing directory is an error only if it was configured.
pub(super) fn lock(config: &Config) -> anyhow::Result<Option<Root>> {
    let Some(directory) = &config.settings.pins else {
        return Ok(None);
    };
    let can_pin = Abilities::of_this_kernel().tcx;
    if !can_pin {
        warn!("pinning programs requires Linux 6.6: nothing is watched while the agent restarts");
    }
    match Root::lock(directory) {
        Ok(root) => Ok(Some(root)),
        Err(error @ TapError::PinsTaken { .. }) => Err(error.into()),
        Err(_) if !can_pin => Ok(None),
        Err(error) if config.origin("state.pins") != config::Origin::Service => Err(error.into()),
        Err(error) => {
            warn!(target: message_kind::STATE_UNUSABLE, "{error}; nothing is watched while the agent restarts");
            Ok(None)
        }
    }
}

/// Returns the interfaces to begin with. If `strict`, all of them must exist; otherwise a missing one
/// may appear later.
pub(super) fn choose(wanted: &[Wanted], strict: bool) -> anyhow::Result<Vec<Interface>> {
    let choice = selection::choose(wanted)?;
    if strict {
        return Ok(choice.whole()?);
    }
    warn_absent(&choice);
    Ok(choice.interfaces)
}

/// Logs the interfaces that are wanted and cannot be tapped now.
fn warn_absent(choice: &Choice) {
    for name in &choice.missing {
        warn!("tap {name}: the interface does not exist yet; waiting for it");
    }
    for name in &choice.unreadable {
        warn!(target: message_kind::TAP_REFUSED, "cannot tap {name}: it carries neither Ethernet frames nor raw IP packets");
    }
    if choice.interfaces.is_empty() {
        warn!("no interface to watch yet; waiting for one");
    }
}
