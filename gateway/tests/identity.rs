//! Which gateways may link: one of another CA is refused with the reason, and a revoked one loses
//! its live link.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::time::{Duration, SystemTime};

use common::{Authority, Contents, EU, SOON, US, World, expected, link, region};
use isthmus_log::testing::until;
use serde_json::Value;

const RTT: Duration = Duration::from_millis(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_of_another_ca_is_refused_and_the_reason_is_counted() {
    let world = World::two_regions(RTT).await;
    let _eu = world.publisher(EU).await;
    let _us = world.publisher(US).await;
    let one = world.gateway(EU, 1);
    one.leads().await;

    let elsewhere = tempfile::tempdir_in(world.folder.path()).unwrap();
    let impostor = Authority::new(US);
    let trust = elsewhere.path().join("trust");
    std::fs::create_dir(&trust).unwrap();
    std::fs::write(trust.join("us-east.pem"), impostor.pem()).unwrap();
    std::fs::copy(
        world.folder.path().join("trust/eu-west.pem"),
        trust.join("eu-west.pem"),
    )
    .unwrap();
    std::fs::copy(
        world.folder.path().join("set.yaml"),
        elsewhere.path().join("set.yaml"),
    )
    .unwrap();
    let folder = elsewhere.path().join(US);
    std::fs::create_dir(&folder).unwrap();
    impostor.issue(US).write(&folder);
    std::fs::copy(
        world.folder_of(US).join("gateway.yaml"),
        folder.join("gateway.yaml"),
    )
    .unwrap();

    let rogue = world.gateway_of(&folder, US, 1);
    until("a refused link and a refused dial", SOON, || async {
        let events: Value = serde_json::from_str(&one.text("/v1/events").await?).ok()?;
        let recorded = |kind| {
            let of_kind = |event: &&Value| event["kind"] == kind && event["fields"]["reason"] == "unknown_ca";
            events
                .as_array()
                .is_some_and(|events| events.iter().any(|event| of_kind(&event)))
        };
        (recorded("link_refused") && recorded("link_down")).then_some(())
    })
    .await;
    one.counts("isthmus_link_refused_total{reason=\"unknown_ca\"}", 2.0)
        .await;
    let status = rogue
        .becomes("a refusal", |status| link(status, EU)["last_error"].is_string())
        .await;
    assert_ne!(link(&status, EU)["state"], "connected");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_gateways_link_ends_and_returns_with_nothing_lost() {
    let world = World::two_regions(RTT).await;
    let eu = world.publisher(EU).await;
    let mut us = world.publisher(US).await;
    let revoked = world.folder_of(EU).join("revoked.txt");
    std::fs::write(&revoked, "").unwrap();
    let settings = world.folder_of(EU).join("gateway.yaml");
    let with_list =
        common::read(&settings).replace("key: gateway.key", "key: gateway.key, revoked: revoked.txt");
    std::fs::write(&settings, with_list).unwrap();
    let (one, other) = world.one_gateway_each();
    other.connected(EU).await;
    us.put_numbered(0, 5).await;
    Contents::with_keys(&eu.ports, &region(US), 5).await;

    std::fs::write(&revoked, world.fingerprint(US)).unwrap();
    one.counts("isthmus_link_refused_total{reason=\"revoked\"}", 1.0)
        .await;
    other
        .becomes("no link", |status| link(status, EU)["state"] != "connected")
        .await;
    us.put_numbered(5, 5).await;
    std::fs::write(&revoked, "").unwrap();
    let arrived = Contents::with_keys(&eu.ports, &region(US), 10).await;
    assert_eq!(arrived.keys, expected(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_certificate_exits_with_64_and_names_the_place() {
    let world = World::two_regions(RTT).await;
    let folder = world.folder_of(EU);
    let certificate = std::fs::read(folder.join("gateway.crt")).unwrap();
    let trust = world.folder.path().join("trust/us-east.pem");
    let good = std::fs::read(&trust).unwrap();
    let of_us = std::fs::read(world.folder_of(US).join("gateway.crt")).unwrap();
    for (file, content, place) in [
        (folder.join("gateway.crt"), b"garbage".to_vec(), "gateway.yaml:5:"),
        (folder.join("gateway.crt"), of_us, "gateway.yaml:5:"),
        (trust.clone(), b"garbage".to_vec(), "set.yaml:"),
    ] {
        std::fs::write(&file, content).unwrap();
        let mut gateway = world.gateway(EU, 1);
        let status = gateway.ended().await;
        assert_eq!(status.code(), Some(64), "{}", gateway.log());
        assert!(
            gateway.log().contains(place) && gateway.log().contains(": put "),
            "{}",
            gateway.log()
        );
        std::fs::remove_file(folder.join("gateway-1.log")).unwrap();
        std::fs::write(folder.join("gateway.crt"), &certificate).unwrap();
        std::fs::write(&trust, &good).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ends_soon_is_reported() {
    let world = World::two_regions(RTT).await;
    let _eu = world.publisher(EU).await;
    let authority = Authority::new(EU);
    std::fs::write(world.folder.path().join("trust/eu-west.pem"), authority.pem()).unwrap();
    let end = SystemTime::now() + Duration::from_secs(3 * 24 * 3_600);
    let ending = authority.issue_with(EU, |parameters| parameters.not_after = end.into());
    ending.write(&world.folder_of(EU));
    let gateway = world.gateway(EU, 1);
    let recorded = until("the end of the certificate", SOON, || async {
        let events: Value = serde_json::from_str(&gateway.text("/v1/events").await?).ok()?;
        let of_kind = |event: &&Value| event["kind"] == "certificate_ends";
        events.as_array()?.iter().find(of_kind).cloned()
    })
    .await;
    assert_eq!(recorded["severity"], "warning", "{recorded}");
    let left = recorded["fields"]["seconds_left"].as_u64().unwrap();
    assert!((2 * 24 * 3_600..=3 * 24 * 3_600).contains(&left), "{recorded}");
}
