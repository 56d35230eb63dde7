//! Arguments for the operator's knowledge about interception.

use std::net::IpAddr;

use clap::builder::PossibleValue;
use clap::{ArgAction, Args, ValueEnum};

use crate::cause::inspection_ca::InspectionCa;
use crate::cause::knowledge::{InterceptedWhen, Knowledge};

/// The operator's knowledge about interception, as arguments.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Knowledge about the interceptor")]
pub struct KnowledgeArgs {
    /// CA that signs intercepted certificates: a PEM or DER file, or its name; repeatable [default: none]
    #[arg(long = "inspection-ca", value_name = "FILE-OR-NAME", action = ArgAction::Append)]
    inspection_cas: Vec<InspectionCa>,

    /// Whether connections are intercepted
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = InterceptedWhen::Auto)]
    intercepted: InterceptedWhen,

    /// Address of an explicit proxy, or from which an interceptor opens connections of its own; repeatable
    /// [default: none]
    #[arg(long = "interceptor", value_name = "ADDRESS", action = ArgAction::Append)]
    interceptors: Vec<IpAddr>,
}

impl From<KnowledgeArgs> for Knowledge {
    fn from(arguments: KnowledgeArgs) -> Self {
        Self {
            inspection_cas: arguments.inspection_cas,
            intercepted: arguments.intercepted,
            interceptors: arguments.interceptors,
        }
    }
}

impl ValueEnum for InterceptedWhen {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Auto => "By evidence only",
            Self::Always => "Every connection is intercepted",
            Self::Never => "No connection is intercepted",
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}
