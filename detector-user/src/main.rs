//! `tlswhy`: tells why TLS connections through a gateway broke.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use detector_user::operate::cli::{Cli, Command, EXIT_DONE, EXIT_FAILED, EXIT_USAGE};
use detector_user::operate::command;
use detector_user::operate::config::ConfigError;

/// The system allocator took a third of the agent's time for a connection.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse_arguments(std::env::args_os()) {
        Ok(cli) => ended(run(cli.command)),
        Err(wrong) if wrong.use_stderr() => wrong.exit(),
        Err(help) => ended(command::show_help(&help).map(|()| EXIT_DONE)),
    }
}

fn run(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Run(arguments) => command::run::run(*arguments),
        Command::CheckConfig(arguments) => command::check_config::run(&arguments),
        Command::Status(arguments) => command::status::run(&arguments),
        Command::Top(arguments) => command::top::run(*arguments),
        Command::Detach(arguments) => command::detach::run(&arguments),
        Command::Pcap(arguments) => command::pcap::run(*arguments, command::report::write),
        Command::Verdicts(arguments) => command::verdicts::run(&arguments),
        Command::Groups(arguments) => command::groups::run(&arguments),
        Command::Why(arguments) => command::why::run(&arguments),
        Command::Report(arguments) => command::report::run(&arguments),
        Command::Compare(arguments) => command::compare::run(*arguments),
        Command::Explain(arguments) => command::explain::run(&arguments),
        Command::Exclusions(arguments) => command::exclusions::run(*arguments),
        Command::Fleet(arguments) => command::fleet::run(&arguments),
        Command::Probe(arguments) => command::probe::run(&arguments),
        Command::Doctor(arguments) => command::doctor::run(&arguments),
    }
}

/// Prints a failure, and returns the exit code.
fn ended(result: anyhow::Result<u8>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            command::print_error(&error);
            // A service with an invalid configuration need not be started again.
            let is_misconfigured = error.is::<ConfigError>();
            ExitCode::from(if is_misconfigured {
                EXIT_USAGE
            } else {
                EXIT_FAILED
            })
        }
    }
}
