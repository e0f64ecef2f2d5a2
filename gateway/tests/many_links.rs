//! A region's certificate opens only a limited number of links at a gateway.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use common::{EU, SOON, US, World, region};
use isthmus_link::{CredentialFiles, Credentials, LinkLimits, Place, TrustSource, dial};
use isthmus_log::testing::until;

/// The most links of a region: twice the number that is greeted.
const AT_ONCE: usize = 16;
const MORE: usize = 10;

/// The credentials of a gateway of `of`.
fn credentials(world: &World, of: &str) -> Credentials {
    let folder = world.folder_of(of);
    let place = Place {
        trust_domain: "example.org".parse().unwrap(),
        set: "shop".parse().unwrap(),
        region: region(of),
    };
    let trust = [EU, US].map(|name| {
        let file = world.folder.path().join(format!("trust/{name}.pem"));
        (region(name), TrustSource { file, identity: None })
    });
    let files = CredentialFiles {
        certificate: folder.join("gateway.crt"),
        key: folder.join("gateway.key"),
        revoked: None,
        trust: trust.into_iter().collect(),
    };
    Credentials::load(place, files).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_links_are_bounded_and_keep_no_leader_out() {
    let world = World::two_regions(Duration::from_millis(5)).await;
    let _us = world.publisher(US).await;
    let _eu = world.publisher(EU).await;
    let gateway = world.gateway(US, 1);
    gateway.leads().await;
    let (credentials, limits) = (credentials(&world, EU), LinkLimits::default());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, world.place(US).links[0]));
    let mut silent = vec![];
    for _ in 0..AT_ONCE + MORE {
        silent.push(dial(address, &region(US), &credentials, &limits).await.unwrap());
    }
    gateway
        .counts(
            "isthmus_link_refused_total{reason=\"too_many_links\"}",
            MORE as f64,
        )
        .await;
    let status = gateway.status().await.unwrap();
    assert!(status["accepted"].as_array().unwrap().len() <= AT_ONCE);
    drop(silent);
    until("no silent link is left", SOON, || async {
        let status = gateway.status().await?;
        status["accepted"].as_array()?.is_empty().then_some(())
    })
    .await;
    world.gateway(EU, 1).connected(US).await;
}
