//! `isthmus-region-agent`.

use std::process::ExitCode;

use isthmus_region_agent::agent;
use isthmus_runtime::{Program, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PROGRAM: Program = Program {
    name: "isthmus-region-agent",
    about: "The door for applications of one region: writes its log, serves its keys.",
    example: "isthmus-region-agent --settings eu-west/region-agent.yaml",
};

fn main() -> ExitCode {
    run(PROGRAM, agent::assemble)
}
