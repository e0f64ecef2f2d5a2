//! The commands of `isthmus`, one module each.

mod aside;
mod chaos;
mod compare;
mod completions;
mod config;
mod demo;
mod doctor;
mod events;
mod init;
mod kv;
mod lab;
mod load;
mod record_history;
mod region;
mod signals;
mod status;
mod token;
mod trace;
mod up;
mod why;

use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;

use crate::failure::Failure;
use crate::fleet::exec_child::ExecChild;

/// Isthmus keeps one keyspace alive in several cloud regions at once.
#[derive(Debug, Parser)]
#[command(
    name = "isthmus",
    version = isthmus_runtime::version(),
    about,
    max_term_width = 110,
    after_help = "Example:\n  isthmus init shop --regions eu-west,us-east,ap-south && isthmus up shop --rtt 80ms\n\n\
                  Exit codes: 0 done, 1 the machine or a running process is not as needed, 2 what was compared differs or something must be fixed, 3 something should be fixed, 64 arguments or settings are wrong."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Up(up::Up),
    Demo(demo::Demo),
    Chaos(chaos::Chaos),
    Lab(lab::Lab),
    Load(load::Load),
    Compare(compare::Compare),
    Kv(kv::Kv),
    Status(status::Status),
    Doctor(doctor::Doctor),
    Why(why::Why),
    Trace(trace::Trace),
    Events(events::Events),
    Aside(aside::Aside),
    Region(region::Region),
    Config(config::Config),
    Token(token::Token),
    Completions(completions::Completions),
    #[command(name = crate::fleet::exec_child::NAME, hide = true)]
    ExecChild(ExecChild),
}

/// Runs one command until it ends.
pub fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Init(command) => command.run(),
        Command::Up(command) => runtime()?.block_on(command.run()),
        Command::Lab(command) => runtime()?.block_on(command.run()),
        Command::Load(command) => runtime()?.block_on(command.run()),
        Command::Compare(command) => runtime()?.block_on(command.run()),
        Command::Kv(command) => runtime()?.block_on(command.run()),
        Command::Region(command) => runtime()?.block_on(command.run()),
        Command::Config(command) => command.run(),
        Command::Token(command) => command.run(),
        Command::Completions(command) => command.run(),
        Command::Status(command) => runtime()?.block_on(command.run()),
        Command::Aside(command) => runtime()?.block_on(command.run()),
        Command::Events(command) => runtime()?.block_on(command.run()),
        Command::Trace(command) => runtime()?.block_on(command.run()),
        Command::Doctor(command) => runtime()?.block_on(command.run()),
        Command::Why(command) => runtime()?.block_on(command.run()),
        Command::Demo(command) => runtime()?.block_on(command.run()),
        Command::Chaos(command) => runtime()?.block_on(command.run()),
        Command::ExecChild(command) => Err(Failure::environment(command.run())),
    }
}

fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::environment)
}
