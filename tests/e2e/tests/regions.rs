//! Three regions: a write in one is visible in the others, and all end equal.

use std::time::Duration;

use anyhow::ensure;
use isthmus_e2e::{Agent, Running, until};
use reqwest::StatusCode;

const REGIONS: [&str; 3] = ["eu-west", "us-east", "ap-south"];
const SOON: Duration = Duration::from_secs(20);

async fn three_regions() -> anyhow::Result<Running> {
    Running::start(&REGIONS, &["--rtt", "20ms"]).await
}

async fn becomes(agents: &[Agent], key: &str, status: StatusCode, value: Option<&str>) -> anyhow::Result<()> {
    until(
        &format!("{key} is {status} {value:?} on every agent"),
        SOON,
        || async {
            for agent in agents {
                let answer = agent.value("shop", key).await?;
                ensure!(
                    answer.status == status,
                    "{key} is {}: {}",
                    answer.status,
                    answer.text()
                );
                ensure!(
                    value.is_none_or(|value| answer.text() == value),
                    "{key} is {}",
                    answer.text()
                );
            }
            Ok(())
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_deletes_and_expiries_reach_every_agent_everywhere() -> anyhow::Result<()> {
    let running = three_regions().await?;
    let all = running.all_agents();
    ensure!(all.len() == 6, "{} agents", all.len());

    running
        .agent("eu-west")
        .put("shop", "cart/17", "", "apples")
        .await?
        .ok()?;
    becomes(&all, "cart/17", StatusCode::OK, Some("apples")).await?;

    running.agent("us-east").delete("shop", "cart/17").await?.ok()?;
    becomes(&all, "cart/17", StatusCode::NOT_FOUND, None).await?;

    running
        .agent("ap-south")
        .put("shop", "flash", "?ttl=10s", "sale")
        .await?
        .ok()?;
    becomes(&all, "flash", StatusCode::OK, Some("sale")).await?;
    becomes(&all, "flash", StatusCode::NOT_FOUND, None).await?;
    running.identical(SOON).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writes_of_one_key_in_three_regions_end_identical() -> anyhow::Result<()> {
    let running = three_regions().await?;
    for round in 0..20 {
        let put = |region: &'static str| {
            let agent = running.agent(region);
            async move {
                agent
                    .put("shop", "contended", "", &format!("{region} {round}"))
                    .await?
                    .ok()
            }
        };
        tokio::try_join!(put("eu-west"), put("us-east"), put("ap-south"))?;
    }
    running.identical(SOON).await?;
    let first = running.agent("eu-west").value("shop", "contended").await?.ok()?;
    ensure!(
        first.text().ends_with(" 19"),
        "an earlier round won: {}",
        first.text()
    );
    becomes(
        &running.all_agents(),
        "contended",
        StatusCode::OK,
        Some(&first.text()),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_link_heals_and_catches_up() -> anyhow::Result<()> {
    let running = three_regions().await?;
    running.lab(&["cut", "eu-west", "ap-south"])?;
    for n in 0..50 {
        running
            .agent("eu-west")
            .put("shop", &format!("eu/{n}"), "", "1")
            .await?
            .ok()?;
        running
            .agent("ap-south")
            .put("shop", &format!("ap/{n}"), "", "1")
            .await?
            .ok()?;
    }
    becomes(&running.agents("us-east"), "eu/49", StatusCode::OK, None).await?;
    let cut_off = running.agent("ap-south").value("shop", "eu/49").await?;
    ensure!(
        cut_off.status == StatusCode::NOT_FOUND,
        "a write crossed the cut: {}",
        cut_off.status
    );
    running.lab(&["heal"])?;
    let cells = running.identical(Duration::from_secs(30)).await?;
    ensure!(cells == 100, "{cells} cells");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_19_a_restart_of_a_nats_server_is_survived() -> anyhow::Result<()> {
    let running = three_regions().await?;
    running
        .agent("eu-west")
        .put("shop", "before", "", "1")
        .await?
        .ok()?;
    running.lab(&["kill", "nats@eu-west"])?;
    let agent = running.agent("eu-west");
    until("writes are taken again", Duration::from_secs(40), || async {
        agent.put("shop", "after", "?timeout=2s", "2").await?.ok()
    })
    .await?;
    becomes(&running.all_agents(), "before", StatusCode::OK, Some("1")).await?;
    becomes(&running.all_agents(), "after", StatusCode::OK, Some("2")).await?;
    running.identical(SOON).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_comes_back_with_its_data() -> anyhow::Result<()> {
    let running = Running::start(&["eu-west"], &[]).await?;
    for n in 0..200 {
        running
            .agent("eu-west")
            .put("shop", &format!("k/{n}"), "", &n.to_string())
            .await?
            .ok()?;
    }
    running.lab(&["kill", "agents@eu-west"])?;
    becomes(&running.agents("eu-west"), "k/199", StatusCode::OK, Some("199")).await?;
    until("every shard is read again", SOON, || async {
        let cells = running.identical(SOON).await?;
        ensure!(cells == 200, "{cells} cells");
        Ok(())
    })
    .await
}
