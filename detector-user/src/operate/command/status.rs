//! `tlswhy status`: the running agent's own account.

use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use jiff::Timestamp;

use super::show;
use crate::operate::cli::{EXIT_DONE, EXIT_FAILED, StatusArgs};
use crate::operate::config::Config;
use crate::operate::config::defaults::RUNTIME_DIRECTORY;
use crate::outlet::status::{REPORT_MAX, Report, SOCKET};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the agent and prints its answer. Returns exit code 1 if the agent hangs.
///
/// # Errors
/// No agent is running, it does not answer, or its answer is not understood.
pub fn run(arguments: &StatusArgs) -> anyhow::Result<u8> {
    let socket = socket(arguments.socket.as_deref(), arguments.config.as_deref())?;
    let (text, report) = report(&socket)?;
    let now = Timestamp::now();
    if arguments.is_json() {
        // As the agent wrote it, which may be of a later version with more fields.
        show(&text)?;
    } else {
        show(&report.text(now, arguments.configuration).to_string())?;
    }
    if report.is_old(now) {
        complain!(
            "tlswhy: the agent hangs: its last report is of {}",
            report.time
        );
        return Ok(EXIT_FAILED);
    }
    Ok(EXIT_DONE)
}

/// Asks the agent for its report; also returns the text as it came.
///
/// # Errors
/// No agent is running, it does not answer, or its answer is not understood.
pub(super) fn report(socket: &Path) -> anyhow::Result<(String, Report)> {
    let answer = ask(socket)?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let report = serde_json::from_str(&text).with_context(|| {
        format!(
            "cannot understand the answer from {}; are agent and command of the same version?",
            socket.display()
        )
    })?;
    Ok((text, report))
}

/// Returns the agent's socket: the one that is given, or that of the configuration.
///
/// # Errors
/// The configuration that is given cannot be read.
pub(super) fn socket(given: Option<&Path>, config: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(socket) = given {
        return Ok(socket.to_owned());
    }
    let configured = Config::of_agent(config)?;
    let directory = configured.and_then(|config| config.settings.runtime_directory);
    Ok(directory
        .unwrap_or_else(|| RUNTIME_DIRECTORY.into())
        .join(SOCKET))
}

fn ask(socket: &Path) -> anyhow::Result<Vec<u8>> {
    let path = socket.display();
    let mut stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                bail!(
                    "no agent is running: nobody listens on {path}; start it with `systemctl start tlswhy`"
                )
            }
            ErrorKind::PermissionDenied => {
                bail!("permission denied for {path}; run as root or as a member of its group")
            }
            _ => return Err(error).with_context(|| format!("cannot ask the agent on {path}")),
        },
    };
    read_to_end(&mut stream).with_context(|| format!("no answer from the agent on {path}"))
}

/// Reads an answer that is neither too long nor too slow: another program may listen there.
fn read_to_end(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    let mut answer = Vec::new();
    let mut part = [0; 16 * 1024];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let count = match stream.read(&mut part) {
            Ok(0) => return Ok(answer),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Err(ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        };
        answer.extend_from_slice(part.get(..count).unwrap_or_default());
        if answer.len() > REPORT_MAX {
            return Err(io::Error::other("it is too long"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn without_an_agent_it_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SOCKET);
        let said = |path: &Path| ask(path).unwrap_err().to_string();
        assert!(said(&path).starts_with("no agent is running"));
        drop(UnixListener::bind(&path).unwrap());
        assert!(said(&path).starts_with("no agent is running"));
    }

    #[test]
    fn an_answer_without_end_is_cut() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let writer = std::thread::spawn(move || {
            let mut theirs = theirs;
            let line = [b'x'; 4096];
            while std::io::Write::write_all(&mut theirs, &line).is_ok() {}
        });
        assert!(read_to_end(&mut ours).is_err());
        drop(ours);
        writer.join().unwrap();
    }
}
