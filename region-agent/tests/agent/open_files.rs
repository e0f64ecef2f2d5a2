//! A process that may open few files: clients can't take those that operators, NATS and checkpoints
//! need.

use std::io::{Read, Write};
use std::net::TcpStream;

use isthmus_log::testing::until;
use reqwest::Url;

use crate::support::{BOUND, Region, send};

/// Connections that are not accepted fit into the backlog of a listener.
const FEW: usize = 256;

fn connect(url: &str) -> TcpStream {
    let port = Url::parse(url).unwrap().port().unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream
}

#[tokio::test]
async fn clients_cannot_take_files_of_operators_nats_and_checkpoints() {
    let region = Region::alone();
    let agent = region.agent_after("agent-1", &format!("ulimit -n {FEW}"));
    agent.ready("write").await;
    let mut clients: Vec<TcpStream> = (0..FEW).map(|_| connect(&agent.http("/"))).collect();
    let first = clients.first_mut().unwrap();
    first
        .write_all(b"PUT /v1/kv/carts/a HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx")
        .unwrap();
    let mut line = [0; 12];
    first.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"HTTP/1.1 200");
    let taken = || async { (agent.open_files() > FEW / 2).then_some(()) };
    until("clients have taken what they get", BOUND, taken).await;
    // Each of these requests opens its own connection.
    for _ in 0..20 {
        let request = reqwest::Client::new().get(agent.admin("/v1/status"));
        assert_eq!(send(request).await.status(), 200);
        assert!(
            agent.open_files() < FEW - 16,
            "{} files are open",
            agent.open_files()
        );
    }
    assert!(agent.log().contains("LimitNOFILE"), "{}", agent.log());
    let finding = agent.finding("open files").await;
    assert_eq!(finding["verdict"], "warn", "{finding}");
    assert!(
        finding["mend"].as_str().unwrap().contains("LimitNOFILE"),
        "{finding}"
    );
    drop(clients);
    until("the door serves again", BOUND, || async {
        let value = agent.client.get(agent.kv("carts/a")).send().await.ok()?;
        (value.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_file_limit_that_leaves_nothing_fails_the_start_with_a_fix() {
    let region = Region::alone();
    let mut agent = region.agent_after("agent-1", "ulimit -n 80");
    assert_eq!(agent.ended().await, Some(1));
    let log = agent.log();
    assert!(
        log.contains("may open 80 files and needs") && log.contains("ulimit -n"),
        "{log}"
    );
}

#[tokio::test]
async fn the_limit_is_raised_as_far_as_it_may_be() {
    let region = Region::alone();
    let agent = region.agent_after("agent-1", "ulimit -Sn 300");
    agent.ready("write").await;
    assert!(agent.file_limit() > 4096 + 256, "{}", agent.file_limit());
    assert_eq!(agent.finding("open files").await["verdict"], "ok");
}

#[tokio::test]
async fn a_listener_goes_on_when_files_are_to_be_had_again() {
    let region = Region::alone();
    let agent = region.agent("agent-1").await;
    let before = agent.file_limit();
    agent.limit_open_files(agent.open_files() as u64);
    let mut waiting = connect(&agent.http("/"));
    waiting
        .write_all(b"GET /openapi.json HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .unwrap();
    until("the agent says that it accepts nothing", BOUND, || async {
        agent.log().contains("can't accept connections").then_some(())
    })
    .await;
    agent.limit_open_files(before);
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let reported = agent.log().matches("can't accept connections").count();
    assert_eq!(reported, 1, "it is reported once a minute");
}
