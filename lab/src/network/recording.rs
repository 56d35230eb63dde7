//! Recording an interface of the gateway with tcpdump.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use nix::sys::signal::Signal;

use crate::capture::{Capture, Frame};
use crate::host::{Namespace, Process};

/// A running tcpdump.
pub struct Recording {
    file: PathBuf,
    tcpdump: Process,
}

impl Recording {
    /// Starts recording an interface.
    ///
    /// # Errors
    /// If tcpdump does not start.
    pub(super) fn start(
        namespace: &Namespace,
        interface: &str,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let file = folder.join(format!("{interface}.pcap"));
        let mut tcpdump = namespace.command("tcpdump");
        tcpdump.args(["-n", "-U", "--immediate-mode", "-B", "65536", "-s", "0"]);
        tcpdump.args(["--time-stamp-precision=nano", "-Z", "root", "-i", interface]);
        let tcpdump = Process::start(tcpdump.arg("-w").arg(&file).arg("tcp"))?;
        tcpdump.wait_for(Duration::from_secs(60), |line| {
            line.contains("listening on")
        })?;
        Ok(Self { file, tcpdump })
    }

    /// Ends it and returns the recorded frames.
    ///
    /// # Errors
    /// If tcpdump does not end, or lost packets.
    pub fn finish(mut self) -> anyhow::Result<Vec<Frame>> {
        let (_, said) = self.tcpdump.stop(Signal::SIGINT)?;
        let lost = said
            .iter()
            .any(|line| line.contains("dropped by kernel") && !line.trim_start().starts_with("0 "));
        if lost {
            bail!("tcpdump lost packets: {}", said.join("; "));
        }
        Ok(Capture::read(&self.file)?.frames)
    }
}
