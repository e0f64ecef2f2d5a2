//! Messages and requests between processes.

use std::time::Duration;

use bytes::Bytes;
use isthmus_log::{PeerError, Ports, Role};

use super::common::*;

const LONG: Duration = Duration::from_secs(30);

pub(crate) async fn subscribers_hear_what_is_published_on_their_subjects(ports: Ports) {
    let mut all = ports.peers.subscribe("applied.>").await.unwrap();
    let mut one = ports.peers.subscribe("applied.default.1").await.unwrap();
    for partition in 0..3 {
        let payload = Bytes::from(vec![partition]);
        ports
            .peers
            .publish(&format!("applied.default.{partition}"), payload)
            .await
            .unwrap();
    }
    ports
        .peers
        .publish("cursors.default.1", Bytes::new())
        .await
        .unwrap();
    for partition in 0..3 {
        let heard = within("it is heard", all.next()).await.unwrap();
        assert_eq!(
            (heard.suffix, heard.payload),
            (format!("applied.default.{partition}"), vec![partition].into())
        );
        assert_eq!(heard.reply, None);
    }
    assert_eq!(within("it is heard", one.next()).await.unwrap().payload, vec![1]);
}

pub(crate) async fn a_request_is_answered(ports: Ports) {
    let asked = |suffix: &'static str, timeout| {
        ports
            .peers
            .request(Role::Agent, suffix, Bytes::from_static(b"who"), timeout)
    };
    assert_eq!(asked("status.leader", LONG).await, Err(PeerError::NoResponders));
    let mut questions = ports.peers.subscribe("status.*").await.unwrap();
    let answering = async {
        let question = questions.next().await.unwrap();
        assert_eq!(question.payload, "who");
        ports
            .peers
            .respond(&question.reply.unwrap(), Bytes::from_static(b"me"))
            .await
            .unwrap();
    };
    let (answer, ()) = tokio::join!(asked("status.leader", LONG), answering);
    assert_eq!(answer, Ok(Bytes::from_static(b"me")));
    let silence = asked("status.leader", Duration::from_millis(50)).await;
    assert_eq!(silence, Err(PeerError::Unanswered));
}
