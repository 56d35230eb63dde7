//! Arguments that select connections and verdicts, of `tlswhy run` and `tlswhy pcap`.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args};
use glob::Pattern;
use ipnet::IpNet;

use crate::cause::judge::hang_up::Endings;
use crate::operate::config::values::{confidence, name_glob, network};
use crate::operate::scope::{Filter, Ignored};
use crate::verdict::Cause;

/// Filters of verdicts and connections, as arguments.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Filters")]
pub struct FilterArgs {
    /// Network of clients on which verdicts are written; repeatable [default: any]
    #[arg(long = "client", value_name = "CIDR", value_parser = network, action = ArgAction::Append)]
    pub clients: Vec<IpNet>,

    /// Network of servers on which verdicts are written; repeatable [default: any]
    #[arg(long = "server", value_name = "CIDR", value_parser = network, action = ArgAction::Append)]
    pub servers: Vec<IpNet>,

    /// Server port on which verdicts are written; repeatable [default: any]
    #[arg(long = "port", value_name = "PORT", value_parser = port(), action = ArgAction::Append)]
    pub ports: Vec<u16>,

    /// Server names on which verdicts are written, such as '*.example.com'; repeatable [default: any]
    #[arg(long = "name", value_name = "GLOB", value_parser = name_glob, action = ArgAction::Append)]
    pub names: Vec<Pattern>,

    /// Cause of verdicts that are written; repeatable [default: any]
    #[arg(long = "cause", value_name = "CAUSE", value_parser = cause(), action = ArgAction::Append)]
    pub causes: Vec<Cause>,

    /// Minimum confidence of verdicts that are written, 0 to 1 [default: 0]
    #[arg(long, value_name = "NUMBER", value_parser = confidence)]
    pub min_confidence: Option<f64>,

    /// Endings of connections in use that are written, too: resets amid a record (broken), or all resets
    /// [default: failures only]
    #[arg(long, value_name = "ENDINGS", value_parser = endings())]
    pub endings: Option<Endings>,

    /// Network of clients whose connections are ignored; repeatable [default: none]
    #[arg(long = "ignore-client", value_name = "CIDR", value_parser = network, action = ArgAction::Append)]
    pub ignored_clients: Vec<IpNet>,

    /// Network of servers whose connections are ignored; repeatable [default: none]
    #[arg(long = "ignore-server", value_name = "CIDR", value_parser = network, action = ArgAction::Append)]
    pub ignored_servers: Vec<IpNet>,

    /// Server port whose connections are ignored; repeatable [default: none]
    #[arg(long = "ignore-port", value_name = "PORT", value_parser = port(), action = ArgAction::Append)]
    pub ignored_ports: Vec<u16>,

    /// Server names whose connections are ignored; repeatable [default: none]
    #[arg(long = "ignore-name", value_name = "GLOB", value_parser = name_glob, action = ArgAction::Append)]
    pub ignored_names: Vec<Pattern>,
}

impl FilterArgs {
    /// Returns the verdicts that are written.
    #[must_use]
    pub fn filter(&self) -> Filter {
        Filter {
            clients: self.clients.clone(),
            servers: self.servers.clone(),
            ports: self.ports.clone(),
            names: self.names.clone(),
            causes: self.causes.clone(),
            min_confidence: self.min_confidence.unwrap_or_default(),
            endings: self.endings.unwrap_or_default(),
        }
    }

    /// Returns the connections that are ignored.
    #[must_use]
    pub fn ignored(&self) -> Ignored {
        Ignored {
            clients: self.ignored_clients.clone(),
            servers: self.ignored_servers.clone(),
            ports: self.ignored_ports.clone(),
            networks: Vec::new(),
            names: self.ignored_names.clone(),
        }
    }
}

pub(super) fn port() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..)
}

fn endings() -> impl TypedValueParser<Value = Endings> {
    PossibleValuesParser::new(Endings::ALL.map(Endings::name))
        .try_map(|name| name.parse::<Endings>())
}

pub(super) fn cause() -> impl TypedValueParser<Value = Cause> {
    PossibleValuesParser::new(Filter::causes().map(Cause::name))
        .try_map(|name| Filter::cause(&name).ok_or("not a cause"))
}
