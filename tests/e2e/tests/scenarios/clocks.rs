//! A clock that is far ahead affects only its own process.

use std::time::Duration;

use anyhow::ensure;
use isthmus_e2e::{Running, until};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn scenario_08_only_the_agent_eight_hours_ahead_is_refused() -> anyhow::Result<()> {
    let running = Running::start(&["eu-west", "us-east"], &[]).await?;
    let agents = running.agents("eu-west");
    let (wrong, right) = (&agents[0], &agents[1]);
    wrong.put("shop", "a", "", "before").await?.ok()?;
    running.lab(&["clock", "agent-1@eu-west", "+8h"])?;
    until("the write is refused", SOON, || async {
        let answer = wrong.put("shop", "a", "", "from the future").await?;
        ensure!(answer.status == 503, "{}", answer.status);
        ensure!(answer.json()?["code"] == "clock_ahead", "{}", answer.text());
        Ok(())
    })
    .await?;
    right.put("shop", "a", "", "after").await?.ok()?;
    for agent in running.all_agents() {
        until("the right agent's write is seen", SOON, || async {
            let found = agent.value("shop", "a").await?.ok()?;
            ensure!(found.text() == "after", "{}", found.text());
            Ok(())
        })
        .await?;
    }
    running.lab(&["clock", "agent-1@eu-west", "0s"])?;
    until("the write is taken again", SOON, || async {
        wrong.put("shop", "a", "", "again").await?.ok()
    })
    .await?;
    running.identical(SOON).await?;
    let found = running.agent("us-east").value("shop", "a").await?.ok()?;
    ensure!(found.text() == "again", "{}", found.text());
    Ok(())
}
