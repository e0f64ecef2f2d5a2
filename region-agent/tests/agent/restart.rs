//! Agents that end and come back, and agents next to each other.

use isthmus_log::testing::until;
use isthmus_replication::coordinates::Shard;
use isthmus_replication::names::{GroupName, ProcessName};

use crate::support::{BOUND, Region, equal};

#[tokio::test]
async fn an_agent_waits_for_streams_it_may_not_create_and_names_them() {
    let region = Region::alone();
    let waiting = region.agent_with("agent-1", &[("ISTHMUS_LOG__CREATE", "false")]);
    until("the agent says what is missing", BOUND, || async {
        let reason = waiting.not_ready_now("read").await?;
        reason
            .contains("does not exist: create it with the operator's credentials")
            .then_some(())
    })
    .await;
    let other = region.agent("agent-2").await;
    until("the agent says that it may not read", BOUND, || async {
        let reason = waiting.not_ready_now("read").await?;
        reason
            .contains("isthmus region init --process agent-1")
            .then_some(())
    })
    .await;
    let (operator, _) = region.ports().await;
    let name = ProcessName::parse("agent-1").unwrap();
    let shard = |partition| Shard {
        group: GroupName::parse("default").unwrap(),
        partition,
    };
    operator.provide(&name, &[0, 1].map(shard), 2).await.unwrap();
    waiting.ready("write").await;
    assert_eq!(waiting.put("carts/a", "1").await.status(), 200);
    equal(&[&waiting, &other]).await;
}

#[tokio::test]
async fn a_killed_agent_serves_all_acknowledged_writes_after_restart() {
    let region = Region::alone();
    let mut agent = region.agent("agent-1").await;
    for n in 0..50 {
        assert_eq!(
            agent
                .put(&format!("carts/checkpointed-{n}"), n.to_string())
                .await
                .status(),
            200
        );
    }
    agent
        .until_status("a checkpoint holds it", |status| {
            status["shards"]
                .as_array()
                .is_some_and(|shards| shards.iter().all(|shard| shard["checkpoint"]["dirty"] == 0))
        })
        .await;
    for n in 0..50 {
        assert_eq!(
            agent
                .put(&format!("carts/of-the-log-{n}"), n.to_string())
                .await
                .status(),
            200
        );
    }
    assert_eq!(agent.delete("carts/checkpointed-7").await.status(), 200);
    agent.kill();
    agent.start_again();
    agent.ready("write").await;
    for n in 0..50 {
        let expected = (n != 7).then(|| n.to_string());
        assert_eq!(agent.value(&format!("carts/checkpointed-{n}")).await, expected);
        assert_eq!(
            agent.value(&format!("carts/of-the-log-{n}")).await,
            Some(n.to_string())
        );
    }
    let log = std::fs::read_to_string(region.folder.path().join("agent-1.log")).unwrap();
    assert!(log.contains("loaded a checkpoint"), "{log}");
}

#[tokio::test]
async fn scenario_20_a_corrupted_checkpoint_is_loudly_discarded() {
    let region = Region::alone();
    let mut agent = region.agent("agent-1").await;
    for n in 0..20 {
        assert_eq!(
            agent.put(&format!("carts/{n}"), n.to_string()).await.status(),
            200
        );
    }
    agent.signal("-TERM");
    assert_eq!(agent.ended().await, Some(0));
    let folder = region.folder.path().join("data/agent-1");
    for entry in std::fs::read_dir(&folder).unwrap() {
        std::fs::write(entry.unwrap().path(), [0x5a; 5000]).unwrap();
    }
    agent.start_again();
    agent.ready("write").await;
    agent.event("checkpoint_discarded").await;
    for n in 0..20 {
        assert_eq!(agent.value(&format!("carts/{n}")).await, Some(n.to_string()));
    }
}

#[tokio::test]
async fn agents_beside_each_other_serve_the_same_keys_and_are_equal() {
    let region = Region::alone();
    let (one, two) = (region.agent("agent-1").await, region.agent("agent-2").await);
    let writes = (0..200).map(|n| {
        let agent = if n % 2 == 0 { &one } else { &two };
        async move {
            agent
                .put(&format!("carts/{}", n % 20), n.to_string())
                .await
                .status()
        }
    });
    let statuses = futures::future::join_all(writes).await;
    assert!(statuses.iter().all(|status| *status == 200));
    equal(&[&one, &two]).await;
    let three = region.agent("agent-3").await;
    equal(&[&one, &two, &three]).await;
    for n in 0..20 {
        let key = format!("carts/{n}");
        assert_eq!(one.value(&key).await, three.value(&key).await);
    }
    for agent in [&one, &two, &three] {
        agent
            .until_status("all members and the steward are known", |status| {
                let members = status["members"].as_array();
                members.is_some_and(|members| members.len() == 3) && status["steward"].is_string()
            })
            .await;
    }
}

#[tokio::test]
async fn another_agent_becomes_steward_when_the_steward_is_killed() {
    let region = Region::alone();
    let mut agents = [region.agent("agent-1").await, region.agent("agent-2").await];
    let status = agents[0]
        .until_status("there is a steward", |status| status["steward"].is_string())
        .await;
    let steward = usize::from(status["steward"] == "agent-2");
    agents[steward].kill();
    let other = &agents[1 - steward];
    let name = format!("agent-{}", 2 - steward);
    other
        .until_status("the other is steward", |status| {
            status["steward"] == name.as_str()
        })
        .await;
    let before = other.status().await["shards"][0]["sequence"].as_u64().unwrap();
    other
        .until_status("it appends marks", |status| {
            status["shards"][0]["sequence"].as_u64().unwrap() > before + 1
        })
        .await;
}

#[tokio::test]
async fn scenario_29_on_sigterm_an_agent_completes_what_it_has_begun() {
    let region = Region::alone();
    let mut agent = region.agent("agent-1").await;
    let writes: Vec<_> = (0..100)
        .map(|n| {
            let request = agent.client.put(agent.kv(&format!("carts/{n}"))).body("x");
            tokio::spawn(async move { request.send().await.map(|answer| answer.status().as_u16()) })
        })
        .collect();
    agent.signal("-TERM");
    assert_eq!(agent.ended().await, Some(0));
    let mut acknowledged = Vec::new();
    for (n, write) in writes.into_iter().enumerate() {
        if write.await.unwrap().is_ok_and(|status| status == 200) {
            acknowledged.push(n);
        }
    }
    agent.start_again();
    agent.ready("read").await;
    for n in acknowledged {
        assert_eq!(agent.value(&format!("carts/{n}")).await.as_deref(), Some("x"));
    }
}

#[tokio::test]
async fn scenario_19_reads_go_on_and_writes_are_refused_without_nats() {
    let mut region = Region::alone();
    let agent = region.agent("agent-1").await;
    assert_eq!(agent.put("carts/a", "1").await.status(), 200);
    region.nats.kill();
    until("writes are refused unsent", BOUND, || async {
        let answer = agent.put("carts/b?timeout=1s", "2").await;
        let problem: serde_json::Value = answer.json().await.ok()?;
        (problem["code"] == "log_not_writable").then_some(())
    })
    .await;
    assert_eq!(agent.value("carts/a").await.as_deref(), Some("1"));
    agent.not_ready("write", "unreachable").await;
    region.nats.start_again();
    agent.ready("write").await;
    assert_eq!(agent.put("carts/c", "3").await.status(), 200);
    assert_eq!(agent.value("carts/c").await.as_deref(), Some("3"));
    let metrics = agent.metrics().await;
    assert!(
        metrics.contains("isthmus_writes_total{outcome=\"log_not_writable\"}"),
        "{metrics}"
    );
}

#[tokio::test]
async fn settings_that_differ_from_the_stream_exit_with_64() {
    let region = Region::alone();
    let agent = region.agent("agent-1").await;
    drop(agent);
    let said = |name: &str| std::fs::read_to_string(region.folder.path().join(name)).unwrap();
    let mut other = region.agent_with("agent-2", &[("ISTHMUS_LOG__MAX_BYTES", "32MiB")]);
    assert_eq!(other.ended().await, Some(64));
    let log = said("agent-2.log");
    assert!(
        log.contains("variable ISTHMUS_LOG__MAX_BYTES") && log.contains("33554432"),
        "{log}"
    );

    let region_of_smaller_logs = Region {
        max_bytes: "16MiB",
        ..region
    };
    let mut other = region_of_smaller_logs.agent_with("agent-3", &[]);
    assert_eq!(other.ended().await, Some(64));
    let log = std::fs::read_to_string(region_of_smaller_logs.folder.path().join("agent-3.log")).unwrap();
    assert!(
        log.contains("agent-3.yaml:7:") && log.contains("nats stream edit"),
        "{log}"
    );
}
