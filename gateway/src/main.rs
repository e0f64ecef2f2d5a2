//! `isthmus-gateway`: sends the changes of its region to every other one, and receives theirs.

use std::process::ExitCode;

use isthmus_runtime::Program;
use isthmus_runtime::settings::GatewaySettings;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let program = Program {
        name: "isthmus-gateway",
        about: "Forwards the changes of its region to every other region over mTLS, and appends theirs to its region's log.",
        example: "isthmus-gateway --settings gateway.yaml",
    };
    isthmus_runtime::run::<GatewaySettings, _, _>(program, isthmus_gateway::assemble)
}
