//! Interfaces that come, go and are called something else, while everything runs.

use std::collections::BTreeSet;

use tracing::{info, warn};

use crate::host::interfaces::{self, Choice, Interface, Wanted};
use crate::operate::config::{self, Config};
use crate::operate::pipeline::Pipeline;
use crate::outlet::message_kind;
use crate::source::tap::TapError;
use crate::source::tap::attach::{Abilities, Hook, KernelTap, Origin, Tapped};
use crate::source::tap::object::ObjectOptions;
use crate::source::tap::pins::{Pins, Root};

/// The tapped interfaces, and which are wanted.
pub(super) struct Taps {
    pub(super) tap: KernelTap,
    wanted: Vec<Wanted>,
    /// Interfaces that could not be tapped, by index: each is told of once.
    refused: BTreeSet<u32>,
    #[expect(
        dead_code,
        reason = "held where nothing can be pinned: it keeps a second agent away"
    )]
    lock: Option<Root>,
}

impl Taps {
    /// Taps the interfaces that were chosen, taking over what is pinned. `root` is where to pin.
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
            Origin::Adopted => info!("goes on with the programs that an earlier agent left"),
            Origin::Replaced => warn!(
                target: message_kind::PROGRAMS_REPLACED,
                "the programs that an earlier agent left are of another version or for other tables: \
                 replaced, connections under way are not followed, and what nobody had read is lost"
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

    /// Says what is watched and how.
    pub(super) fn announce(&self, interfaces: &[Interface]) {
        for tapped in &self.tap.tapped {
            announce(tapped);
            let interface = interfaces.iter().find(|it| it.index == tapped.index);
            if interface.is_some_and(|it| !it.is_up()) {
                warn!("tap {}: the interface is down", tapped.name);
            }
        }
    }

    /// Looks at the interfaces anew: lets go of what is gone, takes what has come.
    pub(super) fn refresh(&mut self, pipeline: &mut Pipeline) {
        // If the kernel does not answer, the next notice will do.
        let (Ok(present), Ok(choice)) = (interfaces::list(), interfaces::choose(&self.wanted))
        else {
            return;
        };
        self.let_go(&present);
        for tapped in &mut self.tap.tapped {
            let Some(now) = present.iter().find(|it| it.index == tapped.index) else {
                continue;
            };
            if now.name != tapped.name {
                info!(
                    "tap {}: the interface is called {} now",
                    tapped.name, now.name
                );
                tapped.name.clone_from(&now.name);
                pipeline.name_tap(now.index, &now.name);
            }
        }
        self.take(choice, pipeline);
    }

    /// Looks at the interfaces anew where a default route decides which are wanted.
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
                of(it.index).is_some_and(|it| !self.wanted.iter().any(|one| one.may_mean(it)))
            })
            .map(|it| (it.index, it.name.clone()))
            .collect();
        for (index, name) in unwanted {
            info!("tap {name}: no longer wanted");
            self.tap.remove(index);
        }
        self.refresh(pipeline);
    }

    fn let_go(&mut self, present: &[Interface]) {
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
            warn!(target: message_kind::TAP_GONE, "no tapped interface is left: waiting for one");
        }
        self.refused
            .retain(|index| present.iter().any(|it| it.index == *index));
    }

    fn take(&mut self, choice: Choice, pipeline: &mut Pipeline) {
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
        .map_or("none, as every frame comes in again", Hook::name);
    info!(
        "tap {}: ingress {}, egress {egress}",
        tapped.name,
        tapped.ingress.name()
    );
    if let Some(why) = &tapped.no_xdp {
        info!("tap {}: no XDP: {why}", tapped.name);
    }
}

/// Takes the directory for pins, before anything is done that a second agent with the same directories
/// must not do. Where nobody asked for one it is no error that there is none.
pub(super) fn lock(config: &Config) -> anyhow::Result<Option<Root>> {
    let Some(directory) = &config.settings.pins else {
        return Ok(None);
    };
    let can_pin = Abilities::of_this_kernel().tcx;
    if !can_pin {
        warn!(
            "programs cannot be pinned before Linux 6.6: nothing is watched while the agent restarts"
        );
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

/// The interfaces to begin with. Where somebody at a terminal chose, all of them must be there;
/// otherwise what is missing may come.
pub(super) fn choose(wanted: &[Wanted], strict: bool) -> anyhow::Result<Vec<Interface>> {
    let choice = interfaces::choose(wanted)?;
    if strict {
        return Ok(choice.whole()?);
    }
    for name in &choice.missing {
        warn!("tap {name}: there is no such interface yet");
    }
    for name in &choice.unreadable {
        warn!(target: message_kind::TAP_REFUSED, "tap {name}: neither Ethernet nor bare IP packets, cannot be watched");
    }
    if choice.interfaces.is_empty() {
        warn!("there is nothing to watch yet: waiting for an interface");
    }
    Ok(choice.interfaces)
}
