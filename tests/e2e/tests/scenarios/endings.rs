//! SIGTERM under load.

use std::time::Duration;

use anyhow::ensure;
use isthmus_e2e::{Load, Running, until};
use rustix::process::Signal;

const EU: &str = "eu-west";
const US: &str = "us-east";
const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn scenario_29_sigterm_under_load_ends_in_time_without_loss() -> anyhow::Result<()> {
    let running = Running::start(&[EU, US], &["--rtt", "20ms"]).await?;
    let load = Load::start(&running.agents(EU), 4);
    let reader = running.agent(US);
    load.seen_by(&reader, SOON).await?;
    let leader = running.leader(EU).await?;
    for name in ["agent-1", leader.name.as_str(), "agent-2"] {
        let before = running.process(EU, name)?;
        before.signal(Signal::TERM)?;
        until(&format!("{name} has ended and runs again"), SOON, || async {
            ensure!(running.process(EU, name)? != before, "{name} still runs");
            Ok(())
        })
        .await?;
        load.seen_by(&reader, SOON).await?;
    }
    until("isthmus up says how each has ended", SOON, || async {
        let said = std::fs::read_to_string(running.folder().join("up.log"))?;
        for name in ["agent-1", leader.name.as_str(), "agent-2"] {
            let ended = format!("{name} of {EU} ended with exit code 0");
            ensure!(said.contains(&ended), "{name} did not end in order: {said}");
        }
        Ok(())
    })
    .await?;
    let tally = load.end().await?;
    running.identical(SOON).await?;
    for agent in running.all_agents() {
        tally.all_on(&agent).await?;
    }
    println!(
        "{} acknowledged, {} refused, {} unknown",
        tally.acknowledged.len(),
        tally.refused,
        tally.unknown
    );
    Ok(())
}
