//! Keys of `[metrics]`.

use super::super::values::metrics;
use super::Key;

pub(super) const KEYS: &[Key] = &[Key {
    path: "metrics.listen",
    expected: "a loopback address with a port, such as \"127.0.0.1:9745\", or \"unix:/run/tlswhy/metrics.sock\"",
    about: "Address that serves metrics for Prometheus; if not set, metrics are not served",
    live: true,
    read: |settings, value| {
        settings.metrics = Some(metrics(value)?);
        Ok(())
    },
    show: |settings| {
        let address = settings.metrics.as_ref()?;
        Some(address.to_string().into())
    },
}];
