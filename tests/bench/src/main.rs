//! `make bench-smoke`: replicated changes per second and lag between two regions, measured by a
//! client at the doors. Figures of one run are comparable with each other, not with those of
//! another machine.

mod backlog;
mod lag;
mod throughput;

use clap::Parser;
use isthmus_e2e::Running;

/// Runs two regions on this machine and measures how fast changes of one are readable in the other.
#[derive(Debug, Parser)]
#[command(after_help = "Example:\n  isthmus-bench --changes 20000 --json")]
struct Arguments {
    /// Changes written for the throughput figure.
    #[arg(long, default_value_t = 60_000)]
    changes: usize,
    /// Bytes of each value.
    #[arg(long, default_value_t = 128)]
    value_bytes: usize,
    /// Writes timed for the lag figure.
    #[arg(long, default_value_t = 500)]
    lag_samples: usize,
    /// Measure instead how long a backlog of so many changes, 19 of 20 of them of one key, takes
    /// over a link of 1 Mb/s.
    #[arg(long, value_name = "CHANGES")]
    backlog: Option<usize>,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

const ORIGIN: &str = "east";
const PEER: &str = "west";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    eprintln!("starting two regions");
    let running = Running::start(&[ORIGIN, PEER], &["--rtt", "0ms"]).await?;
    if let Some(changes) = arguments.backlog {
        let drained = backlog::measure(&running, changes, arguments.value_bytes)
            .await?
            .as_secs_f64();
        if arguments.json {
            println!(
                "{}",
                serde_json::json!({ "backlog_changes": changes, "drained_s": drained })
            );
        } else {
            println!("backlog       {changes} changes drained in {drained:.1} s");
        }
        return Ok(());
    }
    eprintln!(
        "writing {} changes of {} bytes",
        arguments.changes, arguments.value_bytes
    );
    let rate = throughput::measure(&running, arguments.changes, arguments.value_bytes).await?;
    eprintln!("timing {} writes", arguments.lag_samples);
    let lag = lag::measure(&running, arguments.lag_samples).await?;
    if arguments.json {
        let report = serde_json::json!({
            "acknowledged_per_second": rate.acknowledged,
            "replicated_per_second": rate.replicated,
            "lag_ms": { "p50": lag.p50, "p99": lag.p99, "max": lag.max },
        });
        println!("{report}");
    } else {
        println!("acknowledged  {:>9.0} changes/s", rate.acknowledged);
        println!("replicated    {:>9.0} changes/s", rate.replicated);
        println!(
            "lag           p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
            lag.p50, lag.p99, lag.max
        );
    }
    Ok(())
}
