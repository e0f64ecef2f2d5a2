//! A region whose NATS and agents have lost their disks takes everything from the other one.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use isthmus_e2e::{Agent, Running, until};
use serde_json::Value;

const EU: &str = "eu-west";
const US: &str = "us-east";
const SOON: Duration = Duration::from_secs(90);
const KEYS: usize = 24;

async fn put_all(agent: &Agent, name: &str) -> anyhow::Result<()> {
    for number in 0..KEYS {
        agent
            .put("shop", &format!("{name}-{number}"), "", &number.to_string())
            .await?
            .ok()?;
    }
    Ok(())
}

async fn read_all(agent: &Agent, name: &str) -> anyhow::Result<()> {
    until(&format!("every {name} is there"), SOON, || async {
        for number in 0..KEYS {
            let answer = agent.value("shop", &format!("{name}-{number}")).await?;
            ensure!(
                answer.status == 200 && answer.text() == number.to_string(),
                "{name}-{number}: {} {}",
                answer.status,
                answer.text()
            );
        }
        Ok(())
    })
    .await
}

/// Waits until checkpoints cover what the agent holds now.
async fn checkpointed(agent: &Agent) -> anyhow::Result<()> {
    let sequences = |status: &Value, pointer: &str| {
        let shards = status["shards"].as_array().into_iter().flatten();
        let sequences = shards.map(|shard| shard.pointer(pointer).and_then(Value::as_u64));
        sequences
            .collect::<Option<Vec<_>>>()
            .context("shards with sequences")
    };
    let held = sequences(&agent.status().await?, "/sequence")?;
    until("checkpoints hold it", SOON, || async {
        let written = sequences(&agent.status().await?, "/checkpoint/sequence")?;
        let all = written.iter().zip(&held).all(|(written, held)| written >= held);
        ensure!(all, "{written:?} of {held:?}");
        Ok(())
    })
    .await
}

/// The data folders of a region: that of NATS and those of its agents.
fn folders(running: &Running) -> anyhow::Result<(PathBuf, Vec<PathBuf>)> {
    let data = running.set().join(EU).join("data");
    let (mut nats, mut agents) = (None, Vec::new());
    for entry in std::fs::read_dir(&data)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        match name.as_str() {
            name if name.starts_with("nats") => nats = Some(path),
            name if name.starts_with("agent") => agents.push(path),
            _ => {}
        }
    }
    Ok((nats.context("a folder of NATS")?, agents))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_region_comes_back_and_forwards_what_it_takes() -> anyhow::Result<()> {
    let running = Running::start(&[EU, US], &[]).await?;
    let (eu, us) = (running.agent(EU), running.agent(US));
    put_all(&eu, "before").await?;
    put_all(&us, "theirs").await?;
    read_all(&us, "before").await?;
    let (nats, agents) = folders(&running)?;
    running.down(EU).await?;
    for folder in agents.into_iter().chain([nats]) {
        std::fs::remove_dir_all(folder)?;
    }
    running.lab(&["start", "all@eu-west"])?;
    let mut taken = Vec::new();
    let began = Instant::now();
    for number in 0.. {
        ensure!(began.elapsed() < SOON, "the region does not come back");
        // There is no answer until its listeners are open.
        let key = format!("early-{number}");
        if let Ok(answer) = eu.put("shop", &key, "?timeout=1s", "early").await
            && answer.status == 200
        {
            taken.push(key);
        }
        let Ok(last) = eu.value("shop", &format!("before-{}", KEYS - 1)).await else {
            continue;
        };
        if last.status == 200 && !taken.is_empty() {
            break;
        }
    }
    for name in ["before", "theirs"] {
        read_all(&eu, name).await?;
    }
    put_all(&eu, "after").await?;
    read_all(&us, "after").await?;
    until("what was taken has left the region", SOON, || async {
        for key in &taken {
            us.value("shop", key).await?.ok()?;
        }
        Ok(())
    })
    .await?;
    running.identical(SOON).await?;
    Ok(())
}

/// A region whose NATS lost its disk while the whole region was down: its agents' checkpoints hold
/// everything that it had.
#[tokio::test(flavor = "multi_thread")]
async fn a_region_whose_nats_lost_its_disk_gives_back_unsent_writes() -> anyhow::Result<()> {
    let running = Running::start(&[EU, US], &[]).await?;
    let (agents, us) = (running.agents(EU), running.agent(US));
    let [one, two] = &agents[..] else {
        anyhow::bail!("a region has two agents, not {}", agents.len());
    };
    put_all(one, "sent").await?;
    put_all(&us, "theirs").await?;
    for (agent, name) in [(&us, "sent"), (one, "theirs"), (two, "theirs")] {
        read_all(agent, name).await?;
    }
    running.lab(&["cut", EU, US])?;
    put_all(two, "unsent").await?;
    for agent in &agents {
        read_all(agent, "unsent").await?;
        checkpointed(agent).await?;
    }
    let (nats, _) = folders(&running)?;
    running.down(EU).await?;
    std::fs::remove_dir_all(nats)?;
    running.lab(&["start", "all@eu-west"])?;
    running.lab(&["heal"])?;
    read_all(&us, "unsent").await?;
    for agent in &agents {
        for name in ["sent", "unsent", "theirs"] {
            read_all(agent, name).await?;
        }
    }
    Ok(())
}
