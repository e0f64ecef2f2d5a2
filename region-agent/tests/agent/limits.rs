//! Full memory, full logs, clocks that are wrong.

use isthmus_log::testing::until;
use serde_json::Value;

use crate::support::{BOUND, Region, header};

async fn code(answer: reqwest::Response) -> String {
    let problem: Value = answer.json().await.unwrap();
    problem["code"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn scenario_46_the_soft_limit_refuses_puts_and_accepts_deletes() {
    let region = Region::alone();
    let agent = region.agent_with("agent-1", &[("ISTHMUS_MEMORY__SOFT", "128KiB")]);
    agent.ready("write").await;
    let mut n = 0;
    let refused = loop {
        let answer = agent.put(&format!("carts/{n}"), vec![b'x'; 16 * 1024]).await;
        if answer.status() != 200 {
            break answer;
        }
        n += 1;
    };
    assert_eq!(
        (refused.status().as_u16(), code(refused).await.as_str()),
        (507, "memory_full")
    );
    assert!((7..=9).contains(&n), "{n} values of 16 KiB fit into 128 KiB");
    for key in 0..n {
        assert_eq!(agent.delete(&format!("carts/{key}")).await.status(), 200);
    }
    assert_eq!(agent.put("carts/again", "x").await.status(), 200);
}

#[tokio::test]
async fn above_the_hard_limit_nothing_more_is_applied() {
    let region = Region::alone();
    let variables = [
        ("ISTHMUS_MEMORY__SOFT", "64KiB"),
        ("ISTHMUS_MEMORY__HARD", "64KiB"),
    ];
    let agent = region.agent_with("agent-1", &variables);
    agent.ready("write").await;
    let writes = (0..8).map(|n| agent.put(format!("carts/{n}?timeout=2s").leak(), vec![b'x'; 32 * 1024]));
    futures::future::join_all(writes).await;
    agent.not_ready("read", "hard memory limit").await;
    agent.not_ready("write", "does not serve").await;
}

#[tokio::test]
async fn scenario_19_a_full_log_refuses_writes_until_it_is_trimmed() {
    let region = Region::with_small_logs("2MiB");
    let (agent, other) = (region.agent("agent-1").await, region.agent("agent-2").await);
    other.signal("-STOP");
    let refused = until("the log is full", BOUND, || async {
        let answer = agent.put("carts/a", vec![b'x'; 48 * 1024]).await;
        (answer.status() != 200).then_some(answer)
    })
    .await;
    assert_eq!(
        (refused.status().as_u16(), code(refused).await.as_str()),
        (507, "log_full")
    );
    assert!(agent.value("carts/a").await.is_some());
    other.signal("-CONT");
    until("what both agents have checkpointed is trimmed", BOUND, || async {
        (agent.put("carts/a", "small").await.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn scenario_08_an_agent_ahead_refuses_writes_and_is_no_steward() {
    let region = Region::alone();
    let offset = region.folder.path().join("offset");
    std::fs::write(&offset, "0s").unwrap();
    let one = region.agent_with(
        "agent-1",
        &[("ISTHMUS_CLOCK_OFFSET_FILE", offset.to_str().unwrap())],
    );
    one.ready("write").await;
    one.until_status("agent-1 is steward", |status| status["steward"] == "agent-1")
        .await;
    let two = region.agent("agent-2").await;
    assert_eq!(one.put("carts/a", "1").await.status(), 200);
    std::fs::write(&offset, "+8h").unwrap();
    let refused = until("the write is refused", BOUND, || async {
        let answer = one.put("carts/a", "from the future").await;
        (answer.status() != 200).then_some(answer)
    })
    .await;
    assert_eq!(
        (refused.status().as_u16(), code(refused).await.as_str()),
        (503, "clock_ahead")
    );
    one.not_ready("write", "clock is ahead").await;
    two.until_status("agent-2 is steward", |status| status["steward"] == "agent-2")
        .await;
    assert_eq!(two.put("carts/a", "2").await.status(), 200);
    let session = header(&two.get("carts/a").await, "isthmus-session");
    let got = crate::support::send(
        one.client
            .get(one.kv("carts/a"))
            .header("isthmus-session", session),
    )
    .await;
    assert_eq!(
        got.text().await.unwrap(),
        "2",
        "nothing of the refused write is left"
    );
    std::fs::write(&offset, "0s").unwrap();
    one.ready("write").await;
    until("the write is taken again", BOUND, || async {
        (one.put("carts/a", "3").await.status() == 200).then_some(())
    })
    .await;
}

/// The clock is an hour ahead for a moment: no live value may be hidden for longer or destroyed,
/// not even across a restart.
#[tokio::test]
async fn a_clock_an_hour_ahead_destroys_no_value_that_lives() {
    let region = Region::alone();
    let offset = region.folder.path().join("offset");
    std::fs::write(&offset, "0s").unwrap();
    let variables = [("ISTHMUS_CLOCK_OFFSET_FILE", offset.to_str().unwrap())];
    let mut wrong = region.agent_with("agent-1", &variables);
    wrong.ready("write").await;
    let right = region.agent("agent-2").await;
    let keys: Vec<String> = (0..20).map(|n| format!("carts/{n}")).collect();
    for key in &keys {
        assert_eq!(right.put(&format!("{key}?ttl=45m"), "alive").await.status(), 200);
    }
    crate::support::equal(&[&wrong, &right]).await;
    std::fs::write(&offset, "+1h").unwrap();
    until("the clock is an hour ahead", BOUND, || async {
        let status = wrong.status().await;
        (status["clock_offset_ms"].as_f64()?.abs() > 3_000_000.0).then_some(())
    })
    .await;
    for key in &keys {
        assert_eq!(wrong.value(key).await.as_deref(), Some("alive"), "{key}");
    }
    let checkpointed = |status: &serde_json::Value| {
        let shards = status["shards"].as_array().cloned().unwrap_or_default();
        let written = |shard: &serde_json::Value| shard["checkpoint"]["dirty"] == 0;
        !shards.is_empty() && shards.iter().all(written)
    };
    wrong
        .until_status("everything is in a checkpoint", checkpointed)
        .await;
    std::fs::write(&offset, "0s").unwrap();
    wrong.signal("-TERM");
    assert_eq!(wrong.ended().await, Some(0));
    wrong.start_again();
    wrong.ready("read").await;
    for key in &keys {
        assert_eq!(wrong.value(key).await.as_deref(), Some("alive"), "{key}");
    }
}
