//! Keys of `[watch]`.

use super::super::values::{Complaint, flag, list, namespace, network, path_value, text, texts};
use super::{Key, NETWORKS};
use crate::source::tap::selection::Wanted;

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "watch.interfaces",
        expected: "a list of interface names, globs such as \"lan*\", or \"auto\"",
        about: "Interfaces to watch in both directions. `auto` selects the interfaces of default \
                routes and the ports of bridges; a glob selects matching Ethernet interfaces that have a \
                link. An interface that does not exist yet is watched as soon as it appears; one \
                that --interface names must exist at the start",
        live: true,
        read: |settings, value| {
            settings.interfaces = list(value, Wanted::parse)?;
            if settings.interfaces.is_empty() {
                return Err(Complaint::new("the list is empty").into());
            }
            Ok(())
        },
        show: |settings| Some(texts(&settings.interfaces)),
    },
    Key {
        path: "watch.clients",
        expected: NETWORKS,
        about: "Client networks whose connections are judged; an empty list means any",
        live: true,
        read: |settings, value| {
            settings.clients = list(value, network)?;
            Ok(())
        },
        show: |settings| Some(texts(&settings.clients)),
    },
    Key {
        path: "watch.netns",
        expected: "the name (`ip netns`) or absolute path of a network namespace",
        about: "Network namespace whose interfaces are watched",
        live: false,
        read: |settings, value| {
            let given = text(value)?;
            settings.netns = (!given.is_empty()).then(|| namespace(given)).transpose()?;
            Ok(())
        },
        show: |settings| settings.netns.as_deref().map(path_value),
    },
    Key {
        path: "watch.tunnels",
        expected: "true or false",
        about: "Whether connections inside tunnels are judged: GENEVE, VXLAN, GRE, NVGRE, ERSPAN, IP in IP, \
                6in4, MPLS and GTP-U, one level deep. On the tunnel's own device this is not needed",
        live: false,
        read: |settings, value| {
            settings.tunnels = flag(value)?;
            Ok(())
        },
        show: |settings| Some(settings.tunnels.into()),
    },
];
