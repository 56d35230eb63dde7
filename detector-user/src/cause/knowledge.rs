//! The operator's own statements about interception.

use std::net::IpAddr;

use clap::{ArgAction, Args, ValueEnum};

use crate::cause::inspection_ca::InspectionCa;

/// What the operator knows and the wire does not show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "What you know about the interceptor")]
pub struct Knowledge {
    /// The CA that signs intercepted certificates: a PEM or DER file, or its name; repeatable
    #[arg(long = "inspection-ca", value_name = "FILE-OR-NAME", action = ArgAction::Append)]
    pub inspection_cas: Vec<InspectionCa>,

    /// Whether connections here are intercepted
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = InterceptedWhen::Auto)]
    pub intercepted: InterceptedWhen,

    /// Addresses from which interceptors open connections of their own.
    #[arg(skip)]
    pub interceptors: Vec<IpAddr>,
}

/// Whether connections are intercepted, as far as the operator knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum InterceptedWhen {
    /// By evidence only
    #[default]
    Auto,
    /// All of them are
    Always,
    /// None of them is
    Never,
}
