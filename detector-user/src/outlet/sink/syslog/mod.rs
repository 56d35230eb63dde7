//! Verdicts to a syslog server: RFC 5424 over UDP (RFC 5426), TCP (RFC 6587) and TLS (RFC 5425).
//!
//! UDP proves nothing of its delivery. Over TCP and TLS, messages stay in memory until the other side's
//! kernel has acknowledged them, and are sent again over the next connection; syslog itself has no
//! acknowledgement of a server that has read them.

mod datagrams;
mod message;
mod server;
mod stream;

use super::fold::Repeats;
use super::folding::WriteRepeats;
use super::{Sink, SinkError};
use crate::verdict::Verdict;
use datagrams::Datagrams;
use message::Form;
use server::Transport;
use stream::Stream;

pub use server::{Facility, SyslogServer, SyslogSettings, is_sd_id};

const NAME: &str = "syslog";

/// Sends each verdict as one message.
pub struct Syslog {
    form: Form,
    way: Way,
}

enum Way {
    Datagrams(Datagrams),
    Stream(Box<Stream>),
}

impl Syslog {
    /// Sends to `server`, as soon as it can be reached.
    #[must_use]
    pub fn new(server: &SyslogServer, settings: &SyslogSettings) -> Self {
        let way = match server.transport {
            Transport::Udp => Way::Datagrams(Datagrams::new(server.clone())),
            Transport::Tcp => Way::Stream(Box::new(Stream::new(server.clone(), None))),
            Transport::Tls => {
                let files = settings.tls.clone();
                Way::Stream(Box::new(Stream::new(server.clone(), Some(files))))
            }
        };
        Self {
            form: Form::new(settings, server.transport.message_max()),
            way,
        }
    }

    fn send(&mut self, message: &str) -> Result<(), SinkError> {
        match &mut self.way {
            Way::Datagrams(datagrams) => datagrams.send(message.as_bytes()),
            Way::Stream(stream) => stream.send(message.as_bytes()),
        }
    }
}

impl Sink for Syslog {
    fn name(&self) -> &'static str {
        NAME
    }

    fn write(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        let message = self.form.verdict(verdict)?;
        self.send(&message)?;
        self.form.count();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        match &mut self.way {
            Way::Datagrams(_) => Ok(()),
            Way::Stream(stream) => stream.finish(),
        }
    }

    fn tick(&mut self) -> Result<(), SinkError> {
        match &mut self.way {
            Way::Datagrams(_) => Ok(()),
            Way::Stream(stream) => stream.poll(),
        }
    }

    /// A server may close the connection at any time.
    fn has_periodic_work(&self) -> bool {
        matches!(self.way, Way::Stream(_))
    }

    /// Begins a new connection, with the files and the name's addresses of now.
    fn reopen(&mut self) -> Result<(), SinkError> {
        match &mut self.way {
            Way::Datagrams(datagrams) => datagrams.close(),
            Way::Stream(stream) => stream.finish()?,
        }
        Ok(())
    }

    fn unreported(&self) -> u64 {
        match &self.way {
            Way::Datagrams(_) => 0,
            Way::Stream(stream) => stream.unacknowledged(),
        }
    }
}

impl WriteRepeats for Syslog {
    fn write_repeats(&mut self, repeats: &Repeats) -> Result<(), SinkError> {
        let message = self.form.repeats(repeats)?;
        self.send(&message)?;
        self.form.count();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
