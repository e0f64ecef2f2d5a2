//! Temporary errors of a disk: what failed meanwhile resumes by itself.

use isthmus_log::testing::until;

use crate::support::{Agent, BOUND, Region};

/// Less than a checkpoint of the values below, and more than the logs of an agent.
const FULL: u64 = 512 * 1024;

async fn checkpoints(agent: &Agent, outcome: &str) -> u64 {
    let sample = format!("isthmus_checkpoints_total{{outcome=\"{outcome}\"}} ");
    let metrics = agent.metrics().await;
    let line = metrics.lines().find_map(|line| line.strip_prefix(&sample));
    line.map_or(0, |count| count.parse().unwrap())
}

async fn more_checkpoints(agent: &Agent, outcome: &str) {
    let before = checkpoints(agent, outcome).await;
    // A shard writes a checkpoint when something has changed.
    until(&format!("checkpoints are {outcome}"), BOUND, || async {
        assert_eq!(agent.put("carts/again", "x").await.status(), 200);
        (checkpoints(agent, outcome).await >= before + 2).then_some(())
    })
    .await;
}

/// Writes values that no checkpoint can contain, since the disk is full.
async fn write_to_a_full_disk(agent: &Agent) {
    agent.limit_files(Some(FULL));
    for key in 0..80 {
        let put = agent.put(&format!("carts/{key}"), value(key)).await;
        assert_eq!(put.status(), 200);
    }
    more_checkpoints(agent, "failed").await;
    agent.event("checkpoint_failed").await;
}

fn value(key: u8) -> String {
    String::from(char::from(b'a' + key % 20)).repeat(48 * 1024)
}

/// Waits until both checkpoints contain everything, and reads it after a kill.
async fn holds_all_after_a_kill(agent: &mut Agent) {
    agent.event("checkpoint_resumed").await;
    let all_written = |status: &serde_json::Value| {
        let shards = status["shards"].as_array().unwrap();
        shards.iter().all(|shard| {
            let written = shard["checkpoint"]["sequence"].as_u64().unwrap();
            written > 0 && written + 5 >= shard["sequence"].as_u64().unwrap()
        })
    };
    agent.until_status("both shards are written", all_written).await;
    agent.kill();
    agent.start_again();
    agent.ready("write").await;
    let log = agent.log();
    assert!(
        !log.contains("discarded") && log.matches("loaded a checkpoint").count() == 2,
        "{log}"
    );
    for key in 0..80 {
        assert!(
            agent.value(&format!("carts/{key}")).await == Some(value(key)),
            "{key}"
        );
    }
}

#[tokio::test]
async fn checkpoints_resume_when_the_disk_has_room_again() {
    let region = Region::alone();
    let mut agent = region.agent("agent-1").await;
    more_checkpoints(&agent, "written").await;
    write_to_a_full_disk(&agent).await;
    agent.limit_files(None);
    more_checkpoints(&agent, "written").await;
    holds_all_after_a_kill(&mut agent).await;
}

#[tokio::test]
async fn a_checkpoint_lost_meanwhile_is_written_again() {
    let region = Region::alone();
    let mut agent = region.agent("agent-1").await;
    for key in 0..80 {
        let put = agent.put(&format!("carts/before-{key}"), "kept").await;
        assert_eq!(put.status(), 200);
    }
    more_checkpoints(&agent, "written").await;
    write_to_a_full_disk(&agent).await;
    for shard in 0..2 {
        let file = format!("data/agent-1/default-{shard}.redb");
        std::fs::remove_file(region.folder.path().join(file)).unwrap();
    }
    agent.limit_files(None);
    holds_all_after_a_kill(&mut agent).await;
    for key in 0..80 {
        let held = agent.value(&format!("carts/before-{key}")).await;
        assert_eq!(held.as_deref(), Some("kept"));
    }
}
