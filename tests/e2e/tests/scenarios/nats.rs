//! Faults of a region's NATS.

use std::time::Duration;

use anyhow::{Context, ensure};
use isthmus_e2e::nats::{jetstream, logs};
use isthmus_e2e::{Load, Running, until};

const EU: &str = "eu-west";
const US: &str = "us-east";
const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn scenario_19_deleted_consumers_are_made_again() -> anyhow::Result<()> {
    let running = Running::start(&[EU, US], &["--rtt", "20ms"]).await?;
    let load = Load::start(&running.agents(EU), 4);
    let reader = running.agent(US);
    load.seen_by(&reader, SOON).await?;
    let mut deleted = 0;
    for region in [EU, US] {
        let server = running.nats(region);
        for log in logs(&server).await? {
            let names = jetstream(&server, &format!("CONSUMER.NAMES.{log}"), "").await?;
            for name in names["consumers"].as_array().context("a list of consumers")? {
                let name = name.as_str().context("a name")?;
                jetstream(&server, &format!("CONSUMER.DELETE.{log}.{name}"), "").await?;
                deleted += 1;
            }
        }
    }
    ensure!(deleted >= 8, "{deleted} consumers were there");
    load.seen_by(&reader, SOON).await?;
    let tally = load.end().await?;
    let cells = running.applied_once(EU, US, SOON).await?;
    tally.all_on(&reader).await?;
    println!(
        "{deleted} consumers deleted; {cells} cells, {} unknown",
        tally.unknown
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_19_a_deleted_log_is_reported_and_other_shards_go_on() -> anyhow::Result<()> {
    let running = Running::start(&[EU, US], &["--rtt", "20ms"]).await?;
    let agent = running.agent(EU);
    for n in 0..40 {
        agent.put("shop", &format!("k/{n}"), "", "before").await?.ok()?;
    }
    let server = running.nats(EU);
    jetstream(&server, "STREAM.DELETE.ISTHMUS_dev_eu-west_default_0", "").await?;
    let says = |name: &'static str, what: &'static str| {
        let log = running.set().join(EU).join(format!("{name}.log"));
        async move {
            until(&format!("{name} says: {what}"), SOON, || async {
                ensure!(std::fs::read_to_string(&log)?.contains(what), "it does not");
                Ok(())
            })
            .await
        }
    };
    says(
        "agent-1",
        "ISTHMUS_dev_eu-west_default_0 does not exist, as NATS reported three times",
    )
    .await?;
    let (mut taken, mut refused) = (0, 0);
    for n in 0..40 {
        match agent
            .put("shop", &format!("k/{n}"), "?timeout=2s", "after")
            .await?
            .status
            .as_u16()
        {
            200 => taken += 1,
            503 => refused += 1,
            other => anyhow::bail!("k/{n}: {other}"),
        }
    }
    ensure!(taken >= 20 && refused >= 1, "{taken} taken, {refused} refused");
    running.lab(&["kill", "agent-1@eu-west"])?;
    let other = running.agents(EU).swap_remove(1);
    let peer = running.agent(US);
    for n in 0..40 {
        let key = format!("k/{n}");
        until(
            "the log is made again and gets back what it held",
            SOON,
            || async { other.put("shop", &key, "?timeout=2s", "again").await?.ok() },
        )
        .await?;
        until("and goes on to the peer", SOON, || async {
            let value = peer.value("shop", &key).await?.ok()?;
            ensure!(value.text() == "again", "{}", value.text());
            Ok(())
        })
        .await?;
    }
    Ok(())
}
