//! Programs that run beside the lab.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The longest that a program may take to stop before it is killed.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest that its output is waited for once it has ended: a program that it left behind may hold it.
const REST: Duration = Duration::from_secs(5);

/// A program; dropped, it is stopped. It ends with the thread that started it at the latest, however
/// that ends.
pub struct Process {
    name: String,
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    /// Starts a program, and records its output line by line.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let name = format!("{command:?}");
        let mut child = bound_to_this_thread(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {name}"))?;
        let (sender, lines) = channel();
        let outputs: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|out| Box::new(out) as _),
            child.stderr.take().map(|out| Box::new(out) as _),
        ];
        for output in outputs.into_iter().flatten() {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    // Nobody listens any more once the guard is gone.
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self { name, child, lines })
    }

    /// Waits for a line that `wanted` accepts, and returns all lines up to it.
    ///
    /// # Errors
    /// If it does not come in time; with what came.
    pub fn wait_for(
        &self,
        patience: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Vec<String>> {
        let end = Instant::now() + patience;
        let mut seen = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                bail!(
                    "{} did not say what was waited for, but:\n{}",
                    self.name,
                    seen.join("\n")
                );
            };
            let found = wanted(&line);
            seen.push(line);
            if found {
                return Ok(seen);
            }
        }
    }

    /// Lines that have come and were not asked for yet.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.lines.try_iter()
    }

    /// Returns its process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// If it has ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill(Pid::from_raw(self.child.id().cast_signed()), signal)?)
    }

    /// Waits until it has ended by itself, and returns its remaining lines.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn ended(&mut self, patience: Duration) -> anyhow::Result<Vec<String>> {
        let end = Instant::now() + patience;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > end {
                bail!("{} goes on", self.name);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(self.rest())
    }

    /// Returns the lines that were not asked for yet, of a program that has ended.
    fn rest(&self) -> Vec<String> {
        let mut rest = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(REST) {
            rest.push(line);
        }
        rest
    }

    /// Asks it to end with a signal, waits, and returns how it ended and its remaining lines.
    ///
    /// # Errors
    /// If it does not end; then it is killed.
    pub fn stop(
        &mut self,
        signal: Signal,
    ) -> anyhow::Result<(std::process::ExitStatus, Vec<String>)> {
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), signal);
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                return Ok((status, self.rest()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child.kill()?;
        bail!("{} did not end on {signal}", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = kill(
                Pid::from_raw(self.child.id().cast_signed()),
                Signal::SIGTERM,
            );
            std::thread::sleep(Duration::from_millis(100));
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Returns a command that the kernel kills when the thread that started it ends, be it by a signal
/// (`PR_SET_PDEATHSIG`, prctl(2)): no guard runs then. Standard streams are not taken over.
fn bound_to_this_thread(command: &Command) -> Command {
    let mut bound = Command::new("setpriv");
    bound.args(["--pdeathsig", "KILL", "--"]);
    bound.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        bound.current_dir(folder);
    }
    bound
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_program_ends_with_its_thread_without_its_guard() {
        let id = std::thread::spawn(|| {
            let process = Process::start(Command::new("sleep").arg("600")).unwrap();
            let id = process.id();
            // `setpriv` asks the kernel for the signal, and only then becomes the program.
            let name = format!("/proc/{id}/comm");
            while std::fs::read_to_string(&name).unwrap().trim() != "sleep" {
                std::thread::sleep(Duration::from_millis(1));
            }
            // As after a kill: no destructor runs.
            std::mem::forget(process);
            id
        });
        let id = id.join().unwrap();
        let status = PathBuf::from(format!("/proc/{id}/stat"));
        let runs = || {
            let stat = std::fs::read_to_string(&status).unwrap_or_default();
            // Dead, and still this process's child that nobody waited for, it is a zombie.
            !stat.is_empty() && !stat.contains(") Z ")
        };
        let end = Instant::now() + PATIENCE;
        while runs() {
            assert!(Instant::now() < end, "it runs on");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
