//! What one region's log accepts appears in the other's, once and in order, whatever happens to links and gateways.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::time::Duration;

use common::{Contents, EU, Publisher, US, World, link, region};
use isthmus_log::testing::until;

const RTT: Duration = Duration::from_millis(20);

async fn put_all(publisher: &mut Publisher, from: usize, count: usize) {
    for number in from..from + count {
        publisher.put(&[&format!("key-{number:05}")]).await;
    }
}

fn expected(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("key-{number:05}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_appear_once_and_in_order_in_the_other_region() {
    let world = World::two_regions(RTT).await;
    let mut eu = world.publisher(EU).await;
    let mut us = world.publisher(US).await;
    put_all(&mut eu, 0, 20).await;
    let (one, other) = world.one_gateway_each();
    one.connected(US).await;
    other.connected(EU).await;
    put_all(&mut eu, 20, 200).await;
    us.put(&["from-us"]).await;

    let arrived = Contents::with_keys(&us.ports, &region(EU), 220).await;
    assert_eq!(arrived.keys, expected(220));
    let back = Contents::with_keys(&eu.ports, &region(US), 1).await;
    assert_eq!(back.keys, ["from-us"]);
    assert_eq!(
        arrived.fold.highest_stamp() > isthmus_replication::hlc::Hlc::ZERO,
        true
    );
}
