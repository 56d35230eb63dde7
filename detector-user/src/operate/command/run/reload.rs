//! Reload of a changed configuration.

use tracing::{info, warn};

use super::setup::warn_of;
use super::watch::Watch;
use crate::operate::config::{Config, Key};
use crate::outlet::message_kind;

impl Watch {
    /// Reads the configuration and applies it as a whole, or logs its mistakes and changes nothing.
    /// Taps and flows are kept. Sinks reopen their files in any case.
    pub(super) fn reload(&mut self) {
        self.pipeline.reopen();
        let mut new = match Config::load(&self.arguments) {
            Ok(new) => new,
            Err(error) => {
                for line in error.to_string().lines() {
                    warn!(target: message_kind::CONFIGURATION_REFUSED, "{line}");
                }
                warn!(
                    target: message_kind::CONFIGURATION_REFUSED,
                    "configuration not applied; the previous one stays in effect"
                );
                return;
            }
        };
        let changed = self.config.changed(&new);
        let (live, later): (Vec<_>, Vec<_>) = changed.into_iter().partition(|key| key.live);
        let named = |keys: &[&Key]| {
            let paths: Vec<_> = keys.iter().map(|key| key.path).collect();
            paths.join(", ")
        };
        self.pipeline
            .set_knowledge(new.settings.knowledge.clone(), new.settings.scope());
        self.pipeline.set_filter(new.settings.filter.clone());
        warn_of(self.pipeline.set_asking(&new.settings.probe));
        if live.iter().any(|key| key.path == "watch.interfaces") {
            self.taps
                .want(new.settings.interfaces.clone(), &mut self.pipeline);
        }
        if live.iter().any(|key| key.path == "metrics.listen") {
            self.serve_metrics(new.settings.metrics.clone());
        }
        // Its certificate may have been renewed.
        self.lists.serve(&new.settings);
        self.page.serve(&new.settings);
        match live.is_empty() {
            true => info!("reloaded: nothing changed"),
            false => info!("reloaded: {}", named(&live)),
        }
        if !later.is_empty() {
            warn!("a restart is required for {}", named(&later));
        }
        // Later reloads are compared with what is in force.
        new.keep_fixed(&self.config);
        self.config = new;
    }
}
