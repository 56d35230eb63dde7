//! The eBPF programs' own messages, off unless asked for.

use anyhow::Context;
use aya::programs::{Program, ProgramError};
use aya_log::EbpfLogger;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tracing::{debug, error, info, trace, warn};

use crate::source::tap::load::Kernel;

/// The target of the programs' messages in the agent's log.
pub const TARGET: &str = "ebpf";

/// Forwards the programs' messages to the agent's log.
///
/// Messages that are off cost nothing: the level is a constant of the loaded object, by which the verifier removes
/// the code of every message that is not wanted.
pub struct Diagnostics(Option<AsyncFd<EbpfLogger<Messages>>>);

/// Sink of the programs' messages for aya-log.
struct Messages;

impl log::Log for Messages {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let message = record.args();
        match record.level() {
            log::Level::Error => error!(target: TARGET, "{message}"),
            log::Level::Warn => warn!(target: TARGET, "{message}"),
            log::Level::Info => info!(target: TARGET, "{message}"),
            log::Level::Debug => debug!(target: TARGET, "{message}"),
            log::Level::Trace => trace!(target: TARGET, "{message}"),
        }
    }

    fn flush(&self) {}
}

impl Diagnostics {
    /// Begins to read messages if `wanted`. Needs a running event loop.
    ///
    /// # Errors
    /// If the object has no ring for them, or the event loop does not take it.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types that may lie about their descriptor; this one owns it"
    )]
    pub fn start(kernel: &mut Kernel, wanted: bool) -> anyhow::Result<Self> {
        if !wanted {
            return Ok(Self(None));
        }
        let logger = match kernel {
            Kernel::Loaded(ebpf) => EbpfLogger::init_with_logger(ebpf, Messages)?,
            Kernel::Adopted { programs, .. } => {
                let program = programs
                    .values()
                    .next()
                    .context("no program in the eBPF object")?;
                let id = id_of(program)?;
                match EbpfLogger::init_from_id_with_logger(id, Messages) {
                    Ok(logger) => logger,
                    // The library looks for them among all programs of the machine, which a service may not
                    // list, and says then that there is none. Its messages are not worth an agent.
                    Err(error) => {
                        warn!(
                            "cannot read the messages of adopted eBPF programs: {error}; they are read with \
                             CAP_SYS_ADMIN, or after `tlswhy detach`"
                        );
                        return Ok(Self(None));
                    }
                }
            }
        };
        Ok(Self(Some(AsyncFd::with_interest(
            logger,
            Interest::READABLE,
        )?)))
    }

    /// Waits until there are messages; for ever where they are off.
    pub async fn readable(&self) {
        match &self.0 {
            Some(logger) => {
                if let Ok(mut guard) = logger.readable().await {
                    guard.clear_ready();
                }
            }
            None => std::future::pending().await,
        }
    }

    /// Forwards all pending messages.
    pub fn flush(&mut self) {
        if let Some(logger) = &mut self.0 {
            logger.get_mut().flush();
        }
    }
}

fn id_of(program: &Program) -> Result<u32, ProgramError> {
    match program {
        Program::Xdp(program) => program.info(),
        Program::SchedClassifier(program) => program.info(),
        _ => Err(ProgramError::NotLoaded),
    }
    .map(|info| info.id())
}
