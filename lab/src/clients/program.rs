//! A client as one of our programs, which takes its request as ten arguments.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::bail;
use xtask::setup::{is_there, package_of};

use super::request::{Pin, Request, arguments};

/// A client program.
pub trait Client: Send + Sync {
    /// Returns its name: lower case, stable, good in a file's name.
    fn name(&self) -> &str;

    /// Returns the version of the TLS stack or library that makes its handshakes.
    ///
    /// # Errors
    /// If it is not on this machine; the error says which package brings it.
    fn version(&self) -> anyhow::Result<String>;

    /// Whether it supports the request.
    fn can(&self, request: &Request) -> bool;

    /// Whether connections after the first resume its session where the server lets them.
    fn resumes(&self) -> bool;

    /// Returns the command line of one run. It needs no variables of the environment but PATH.
    fn command(&self, request: &Request) -> Command;

    /// Compiles the client where that is needed, in `work`. Nothing runs before that.
    ///
    /// # Errors
    /// If a tool is missing or its source does not compile.
    fn prepare(&mut self, work: &Path) -> anyhow::Result<()>;
}

/// Compiles a program in the given folder and returns its command line's beginning.
pub(super) type Prepare = fn(&Path) -> anyhow::Result<Vec<OsString>>;

/// A client whose program takes the ten arguments.
pub(super) struct Program {
    pub(super) name: &'static str,
    /// Probes of `xtask::setup` that must be there.
    pub(super) needs: &'static [&'static str],
    pub(super) version: fn() -> anyhow::Result<String>,
    pub(super) prepare: Prepare,
    /// Before the ten arguments, behind what `prepare` returned.
    pub(super) arguments: &'static [&'static str],
    pub(super) pins: bool,
    pub(super) client_certificates: bool,
    pub(super) resumes: bool,
    pub(super) most_times: u32,
    /// The command line's beginning, from `prepare`.
    pub(super) prepared: Vec<OsString>,
}

impl Client for Program {
    fn name(&self) -> &str {
        self.name
    }

    fn version(&self) -> anyhow::Result<String> {
        self.need_tools()?;
        (self.version)()
    }

    fn can(&self, request: &Request) -> bool {
        (self.pins || request.pin == Pin::None)
            && (self.client_certificates || request.client_certificate.is_none())
            && (1..=self.most_times).contains(&request.times)
    }

    fn resumes(&self) -> bool {
        self.resumes
    }

    fn command(&self, request: &Request) -> Command {
        let mut words = self.prepared.iter();
        // Tells the user of a client that was not prepared.
        let unprepared = OsString::from(format!("{}-is-not-prepared", self.name));
        let mut command = Command::new(words.next().unwrap_or(&unprepared));
        command
            .args(words)
            .args(self.arguments)
            .args(arguments(request));
        command
    }

    fn prepare(&mut self, work: &Path) -> anyhow::Result<()> {
        self.need_tools()?;
        self.prepared = (self.prepare)(work)?;
        Ok(())
    }
}

impl Program {
    fn need_tools(&self) -> anyhow::Result<()> {
        for probe in self.needs {
            if is_there(probe) {
                continue;
            }
            let package = package_of(probe).unwrap_or("what brings it");
            bail!(
                "client {} needs {probe}: run `apt-get install {package}`",
                self.name
            );
        }
        Ok(())
    }
}
