//! The smallest process: it has the settings of an agent, waits, and stops on a signal.
//!
//! `cargo run -p isthmus-runtime --example idle -- --settings eu-west/region-agent.yaml`

use std::convert::Infallible;
use std::process::ExitCode;

use isthmus_runtime::health::Probe;
use isthmus_runtime::settings::AgentSettings;
use isthmus_runtime::supervise::TaskKind;
use isthmus_runtime::{Process, Program, run};

const PROGRAM: Program = Program {
    name: "idle",
    about: "Waits for a signal to stop.",
    example: "idle --settings eu-west/region-agent.yaml",
};

fn main() -> ExitCode {
    run(PROGRAM, assemble)
}

async fn assemble(process: Process<AgentSettings>) -> anyhow::Result<()> {
    let waiting = process.health.condition("waiting", &[Probe::Read, Probe::Write]);
    let broken = std::env::var_os("ISTHMUS_TEST_BROKEN").is_some();
    if let Ok(text) = std::env::var("ISTHMUS_TEST_LOGGED") {
        tracing::info!(of = %text, "{text}");
    }
    process
        .supervisor
        .spawn(TaskKind::Work, "wait", move |stop| async move {
            assert!(!broken, "broken on demand");
            waiting.met();
            tracing::info!("waits");
            stop.cancelled().await;
            Ok::<_, Infallible>(())
        })?;
    Ok(())
}
