//! Inboxes: what a request reveals about a process, and that a reply subject can't direct an answer
//! anywhere else.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::*;
use futures::StreamExt as _;
use isthmus_log::Role;

#[tokio::test(flavor = "multi_thread")]
async fn inboxes_cannot_be_guessed_and_answers_reach_only_the_asker() {
    let region = OnNats::start().await;
    let ports = region.ports();
    ports.log.ensure(&shard(), &settings()).await.unwrap();
    let other = connect(vec![region.server.url()]).await.ports();
    let listener = async_nats::connect(region.server.url()).await.unwrap();
    let mut asked = listener.subscribe("isthmus.>").await.unwrap();
    let mut of_streams = listener.subscribe("$JS.API.STREAM.INFO.>").await.unwrap();
    let mut questions = ports.peers.subscribe("report").await.unwrap();
    heard_by_the_server(&listener).await;

    // Answers of servers: each process has its own prefix.
    let mut prefixes = Vec::new();
    for ports in [&ports, &other] {
        ports.log.bounds(&shard()).await.unwrap();
        let reply = within("it is heard", of_streams.next())
            .await
            .unwrap()
            .reply
            .unwrap();
        let own = reply.strip_prefix("_INBOX.isthmus.shop.eu-west.agent.").unwrap();
        prefixes.push(own.split('.').next().unwrap().to_owned());
    }
    assert!(
        prefixes[0] != prefixes[1] && prefixes[0].len() == 32,
        "{prefixes:?}"
    );

    // A request reveals nothing about them, nor about the inbox of the next request.
    let mut inboxes = Vec::new();
    for _ in 0..2 {
        let question = other.peers.request(Role::Agent, "report", Bytes::new(), BOUND);
        let answering = async {
            let question = questions.next().await.unwrap();
            ports
                .peers
                .respond(&question.reply.unwrap(), Bytes::new())
                .await
                .unwrap();
        };
        let (answer, ()) = tokio::join!(question, answering);
        assert_eq!(answer, Ok(Bytes::new()));
        let heard = within("it is heard", asked.next()).await.unwrap();
        let reply = heard.reply.unwrap().to_string();
        let drawn = reply
            .strip_prefix("_INBOX.isthmus.shop.eu-west.agent.answer.")
            .unwrap();
        assert!(
            drawn.len() == 32 && !prefixes.iter().any(|prefix| reply.contains(prefix)),
            "{reply}"
        );
        inboxes.push(drawn.to_owned());
    }
    assert_ne!(inboxes[0][..16], inboxes[1][..16]);

    // No answer is published to a subject that somebody else names.
    for foreign in [
        "isthmus.shop.eu-west.log.default.0.us-east".to_owned(),
        "$KV.ISTHMUS_shop_eu-west_LEASES.leader".to_owned(),
        "$JS.API.STREAM.PURGE.ISTHMUS_shop_eu-west_default_0".to_owned(),
        format!("_INBOX.isthmus.shop.eu-west.agent.{}.x", prefixes[1]),
    ] {
        let subject = ports.names.peer_subject("report");
        listener
            .publish_with_reply(subject, foreign.clone(), Bytes::new())
            .await
            .unwrap();
        let question = within("it is heard", questions.next()).await.unwrap();
        assert_eq!(question.reply, None, "{foreign}");
    }
}
