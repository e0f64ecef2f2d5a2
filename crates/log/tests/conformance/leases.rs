//! Leases, their watch, and members.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use isthmus_log::{
    Ended, Lease, LeaseError, LeaseEvent, LeaseName, Member, MemberChange, Members, Membership, Ports,
    Renewal, Revision, Role,
};
use isthmus_replication::names::ProcessName;

use super::common::*;

async fn leases(ports: &Ports) {
    ports.leases.ensure(true, 1).await.unwrap();
}

const TTL: Duration = Duration::from_secs(1);

const LONG: Duration = Duration::from_secs(30);

pub(crate) async fn a_free_lease_is_taken_by_one(ports: Ports) {
    leases(&ports).await;
    let leader = LeaseName::leader();
    assert_eq!(ports.leases.get(&leader).await, Ok(Lease::default()));
    let takers = (0..8).map(|_| {
        ports
            .leases
            .put(&leader, Revision(0), Bytes::from_static(b"g"), LONG)
    });
    let outcomes = join_all(takers).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(
        outcomes
            .iter()
            .filter(|outcome| **outcome == Err(LeaseError::Conflict))
            .count(),
        7
    );
    let created = ports.leases.create(&leader, Bytes::new(), LONG).await;
    assert_eq!(created, Err(LeaseError::Conflict));
}

pub(crate) async fn a_lease_is_renewed_and_taken_over_by_its_revision(ports: Ports) {
    leases(&ports).await;
    let leader = LeaseName::leader();
    let taken = ports
        .leases
        .create(&leader, Bytes::from_static(b"gateway-1"), LONG)
        .await
        .unwrap();
    let renewed = ports
        .leases
        .renew(&leader, taken, Bytes::from_static(b"gateway-1"), LONG)
        .await
        .unwrap();
    assert!(renewed > taken);
    let over = ports
        .leases
        .put(&leader, renewed, Bytes::from_static(b"gateway-2"), LONG)
        .await
        .unwrap();
    let late = ports
        .leases
        .renew(&leader, renewed, Bytes::from_static(b"gateway-1"), LONG)
        .await;
    assert_eq!(late, Err(LeaseError::Conflict));
    let held = Lease {
        revision: over,
        payload: Some(Bytes::from_static(b"gateway-2")),
    };
    assert_eq!(ports.leases.get(&leader).await, Ok(held));
}

pub(crate) async fn a_released_lease_can_be_taken(ports: Ports) {
    leases(&ports).await;
    let leader = LeaseName::leader();
    let taken = ports.leases.create(&leader, Bytes::new(), LONG).await.unwrap();
    let wrong = ports.leases.release(&leader, Revision(taken.0 + 5)).await;
    assert_eq!(wrong, Err(LeaseError::Conflict));
    ports.leases.release(&leader, taken).await.unwrap();
    let free = ports.leases.get(&leader).await.unwrap();
    assert!(free.payload.is_none() && free.revision > taken);
    ports.leases.create(&leader, Bytes::new(), LONG).await.unwrap();
}

pub(crate) async fn a_lease_that_nobody_renews_ends(ports: Ports) {
    leases(&ports).await;
    let leader = LeaseName::leader();
    let taken = ports
        .leases
        .create(&leader, Bytes::from_static(b"g"), TTL)
        .await
        .unwrap();
    let renewed = ports
        .leases
        .renew(&leader, taken, Bytes::from_static(b"g"), TTL)
        .await
        .unwrap();
    let leases = ports.leases.as_ref();
    let free = isthmus_log::testing::until("the lease ends", BOUND, || async {
        leases
            .get(&LeaseName::leader())
            .await
            .ok()
            .filter(|lease| lease.payload.is_none())
    });
    assert!(free.await.revision > renewed);
    ports
        .leases
        .create(&leader, Bytes::from_static(b"h"), TTL)
        .await
        .unwrap();
}

pub(crate) async fn a_lease_of_less_than_a_second_is_refused(ports: Ports) {
    leases(&ports).await;
    let refused = ports
        .leases
        .create(&LeaseName::leader(), Bytes::new(), Duration::from_millis(999))
        .await;
    assert_eq!(refused, Err(LeaseError::TooShort));
}

pub(crate) async fn a_watch_tells_what_is_held_and_what_becomes_of_it(ports: Ports) {
    leases(&ports).await;
    let (steward, leader) = (LeaseName::steward(), LeaseName::leader());
    let held = ports
        .leases
        .create(&steward, Bytes::from_static(b"a"), LONG)
        .await
        .unwrap();
    let mut watch = ports.leases.watch();
    let snapshot = LeaseEvent::Snapshot(vec![(steward.clone(), held, Bytes::from_static(b"a"))]);
    assert_eq!(within("a snapshot", watch.next()).await, Some(snapshot));

    let revision = ports
        .leases
        .create(&leader, Bytes::from_static(b"g"), TTL)
        .await
        .unwrap();
    let taken = LeaseEvent::Held {
        name: leader.clone(),
        revision,
        payload: Bytes::from_static(b"g"),
    };
    assert_eq!(within("it is held", watch.next()).await, Some(taken));
    let Some(LeaseEvent::Ended { name, reason, .. }) = within("it ends", watch.next()).await else {
        panic!("a lease that ran out went unnoticed");
    };
    assert_eq!((name, reason), (leader, Ended::Expired));

    ports.leases.release(&steward, held).await.unwrap();
    let Some(LeaseEvent::Ended { name, reason, .. }) = within("it is released", watch.next()).await else {
        panic!("a lease that was released went unnoticed");
    };
    assert_eq!((name, reason), (steward, Ended::Released));
    let empty = within("a snapshot", ports.leases.watch().next()).await;
    assert_eq!(empty, Some(LeaseEvent::Snapshot(Vec::new())));
}

pub(crate) async fn members_come_and_go_with_their_leases(ports: Ports) {
    leases(&ports).await;
    let member = |role, name: &str| Member {
        role,
        process: ProcessName::parse(name).unwrap(),
    };
    let (agent, gateway) = (member(Role::Agent, "agent-1"), member(Role::Gateway, "gateway-1"));
    let mut watch = ports.leases.watch();
    let mut members = Members::default();
    assert_eq!(
        members.note(&within("a snapshot", watch.next()).await.unwrap()),
        []
    );

    let put = |member: &Member, revision, payload: &'static [u8], ttl| {
        let (leases, lease) = (ports.leases.clone(), member.lease());
        async move {
            leases
                .put(&lease, revision, Bytes::from_static(payload), ttl)
                .await
                .unwrap()
        }
    };
    let one = br#"{"run":"feed","term":1}"#;
    let held = put(&agent, Revision(0), one, LONG).await;
    assert_eq!(
        members.note(&within("an event", watch.next()).await.unwrap()),
        [MemberChange::Up(agent.clone(), Bytes::from_static(one))]
    );
    let held = put(&agent, held, one, LONG).await;
    assert_eq!(members.note(&within("an event", watch.next()).await.unwrap()), []);
    let two = br#"{"run":"feed","term":2}"#;
    let held = put(&agent, held, two, LONG).await;
    assert_eq!(
        members.note(&within("an event", watch.next()).await.unwrap()),
        [MemberChange::Announced(agent.clone())]
    );
    put(&gateway, Revision(0), b"", TTL).await;
    assert_eq!(
        members.note(&within("an event", watch.next()).await.unwrap()),
        [MemberChange::Up(gateway.clone(), Bytes::new())]
    );
    assert_eq!(members.iter().count(), 2);
    let down = MemberChange::Down(gateway, Ended::Expired, Bytes::new());
    assert_eq!(down.fact(), None);
    assert_eq!(
        members.note(&within("an event", watch.next()).await.unwrap()),
        [down]
    );

    ports.leases.release(&agent.lease(), held).await.unwrap();
    let down = MemberChange::Down(agent, Ended::Released, Bytes::from_static(two));
    assert_eq!(down.fact().as_deref(), Some("agent-agent-1-feed-2"));
    assert_eq!(
        members.note(&within("an event", watch.next()).await.unwrap()),
        [down]
    );
    assert_eq!(members.of(Role::Agent).count(), 0);
}

pub(crate) async fn an_expired_membership_is_retaken_and_a_foreign_one_reported(ports: Ports) {
    leases(&ports).await;
    let member = Member {
        role: Role::Agent,
        process: ProcessName::parse("agent-1").unwrap(),
    };
    let mut membership = Membership::new(ports.clone(), &member);
    assert_eq!(membership.term(), 1);
    assert_eq!(membership.renew(Bytes::from_static(b"one")).await, Renewal::Held);
    assert_eq!(membership.term(), 1);
    let held = ports.leases.get(&member.lease()).await.unwrap();
    ports
        .leases
        .release(&member.lease(), held.revision)
        .await
        .unwrap();
    assert_eq!(membership.renew(Bytes::from_static(b"one")).await, Renewal::Open);
    assert_eq!(membership.term(), 2);
    assert_eq!(membership.renew(Bytes::from_static(b"one")).await, Renewal::Held);
    let held = ports.leases.get(&member.lease()).await.unwrap();
    ports
        .leases
        .put(&member.lease(), held.revision, Bytes::from_static(b"two"), LONG)
        .await
        .unwrap();
    assert_eq!(membership.renew(Bytes::from_static(b"one")).await, Renewal::Taken);
    membership.leave().await;
}
