//! Points of a TLS connection by the last segment seen, its direction and payload.

use super::flow::{Flow, Side};

/// A moment of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Behind the ClientHello.
    ClientHello,
    /// Behind the first segment of the server's answer.
    ServerHello,
    /// Behind all of the server's first flight.
    ServerFlight,
    /// Behind the client's answer to that flight.
    ClientFinished,
    /// In the midst of application data.
    Data,
}

/// All, in order.
pub const STAGES: [Stage; 5] = [
    Stage::ClientHello,
    Stage::ServerHello,
    Stage::ServerFlight,
    Stage::ClientFinished,
    Stage::Data,
];

impl Stage {
    /// Returns its name for file names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientHello => "client-hello",
            Self::ServerHello => "server-hello",
            Self::ServerFlight => "server-flight",
            Self::ClientFinished => "client-finished",
            Self::Data => "data",
        }
    }

    /// Returns the segment behind which it is. `None` if the connection never came so far.
    #[must_use]
    pub fn place(self, flow: &Flow) -> Option<usize> {
        let client = flow.data_of(Side::Client);
        let server = flow.data_of(Side::Server);
        let first_answer = *server.first()?;
        let finished = client.iter().copied().find(|index| *index > first_answer)?;
        match self {
            Self::ClientHello => client.iter().copied().rfind(|index| *index < first_answer),
            Self::ServerHello => Some(first_answer),
            Self::ServerFlight => server.iter().copied().rfind(|index| *index < finished),
            Self::ClientFinished => Some(finished),
            Self::Data => {
                let data: Vec<usize> = server.into_iter().filter(|at| *at > finished).collect();
                // Tickets come first, the close last.
                let place = data.get(data.len() / 2).copied();
                place.filter(|_| data.len() >= 3)
            }
        }
    }
}
