//! Taking a changed configuration without stopping.

use tracing::{info, warn};

use super::watch::Watch;
use crate::operate::config::Config;
use crate::outlet::message_kind;

impl Watch {
    /// Reads the configuration again and takes it, or says what is wrong and stays as it is. Taps and
    /// flows go on. Files that sinks write are opened anew in any case.
    pub(super) fn reload(&mut self) {
        self.pipeline.reopen();
        let new = match Config::load(&self.arguments) {
            Ok(new) => new,
            Err(error) => {
                for line in error.to_string().lines() {
                    warn!(target: message_kind::CONFIGURATION_REFUSED, "{line}");
                }
                warn!(
                    target: message_kind::CONFIGURATION_REFUSED,
                    "the configuration was not taken: the one before stays in effect"
                );
                return;
            }
        };
        let changed = self.config.changed(&new);
        let (live, later): (Vec<_>, Vec<_>) = changed.into_iter().partition(|key| key.live);
        let named = |keys: &[&crate::operate::config::Key]| {
            let paths: Vec<_> = keys.iter().map(|key| key.path).collect();
            paths.join(", ")
        };
        self.pipeline
            .set_knowledge(new.settings.knowledge.clone(), new.settings.scope());
        if live.iter().any(|key| key.path == "watch.interfaces") {
            self.taps
                .want(new.settings.interfaces.clone(), &mut self.pipeline);
        }
        if live.iter().any(|key| key.path == "metrics.listen") {
            self.serve_metrics(new.settings.metrics.clone());
        }
        match live.is_empty() {
            true => info!("reloaded: nothing changed"),
            false => info!("reloaded: {}", named(&live)),
        }
        if !later.is_empty() {
            warn!("takes effect with the next start: {}", named(&later));
        }
        self.config = new;
    }
}
