//! Full memory in all regions.

use std::time::Duration;

use anyhow::ensure;
use isthmus_e2e::{Running, until};

const REGIONS: [&str; 2] = ["eu-west", "us-east"];
const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn scenario_46_deletes_cure_memory_that_is_full_in_all_regions() -> anyhow::Result<()> {
    let running = Running::start(&REGIONS, &[]).await?;
    for region in REGIONS {
        let path = running.set().join(region).join("region-agent.yaml");
        let written = std::fs::read_to_string(&path)?;
        std::fs::write(&path, written + "memory: { soft: 1MiB, hard: 8MiB }\n")?;
        running.lab(&["kill", &format!("agents@{region}")])?;
    }
    let value = "x".repeat(16 * 1024);
    let mut written = 0;
    for region in REGIONS {
        let agent = running.agent(region);
        until(&format!("{region} is full"), SOON, || {
            written += 1;
            let (key, agent, value) = (format!("k/{written}"), &agent, &value);
            async move {
                let answer = agent.put("shop", &key, "?timeout=2s", value).await?;
                ensure!(
                    answer.status == 507 && answer.json()?["code"] == "memory_full",
                    "{}",
                    answer.status
                );
                Ok(())
            }
        })
        .await?;
    }
    let agent = running.agent("eu-west");
    for key in 1..=written {
        until(&format!("k/{key} is deleted"), SOON, || async {
            agent.delete("shop", &format!("k/{key}")).await?.ok()
        })
        .await?;
    }
    for region in REGIONS {
        let agent = running.agent(region);
        until(&format!("{region} takes values again"), SOON, || async {
            agent
                .put("shop", &format!("again/{region}"), "", &value)
                .await?
                .ok()
        })
        .await?;
    }
    running.identical(SOON).await?;
    ensure!(running.agent("us-east").value("shop", "k/1").await?.status == 404);
    Ok(())
}
