//! The control door of a network: it obeys clients that present the secret, and nothing else that
//! reaches the port.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use isthmus_wan::{Command, ControlClient, ControlError, ControlSecret, Shape, Wan};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const LONG: Duration = Duration::from_secs(20);

/// A network between two regions.
async fn network(shape: Shape) -> Wan {
    let wan = Wan::new(shape);
    wan.link("eu", "us", ANY, ANY).await.unwrap();
    wan
}

#[tokio::test]
async fn the_control_door_obeys_and_refuses() {
    let wan = network(Shape::of_round_trip(Duration::from_millis(80))).await;
    let door = wan.serve_control(ANY, secret()).await.unwrap();
    let mut client = ControlClient::connect(door, &secret()).await.unwrap();
    let cut = Command::Cut {
        from: "eu".into(),
        to: "us".into(),
        one_way: true,
        for_ms: None,
    };
    let answer = client.send(&cut).await.unwrap();
    let cut_paths: Vec<_> = answer.paths.iter().filter(|path| path.cut).collect();
    assert_eq!(cut_paths.len(), 1);
    assert_eq!((cut_paths[0].from.as_str(), cut_paths[0].delay_ms), ("eu", 40));
    let unknown = Command::Reset {
        from: "eu".into(),
        to: "mars".into(),
    };
    let refused = client.send(&unknown).await.unwrap_err();
    assert!(
        matches!(&refused, ControlError::Refused(why) if why.contains("eu, us")),
        "{refused}"
    );
    assert!(
        client
            .send(&Command::Heal { from: None, to: None })
            .await
            .unwrap()
            .paths
            .iter()
            .all(|path| !path.cut)
    );
}

fn secret() -> ControlSecret {
    ControlSecret::of_random([7; 32])
}

/// The door's answer to `sent`, up to the close, which must come within its time limit.
async fn answered(door: SocketAddr, sent: &[u8]) -> String {
    let mut stream = TcpStream::connect(door).await.unwrap();
    // The door may close the connection before everything is sent.
    stream.write_all(sent).await.ok();
    let mut answer = Vec::new();
    let closed = timeout(LONG, stream.read_to_end(&mut answer)).await;
    if let Err(error) = closed.expect("the door closes") {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    String::from_utf8(answer).unwrap()
}

/// A command as `isthmus lab` sends it.
const CUT: &str = r#"{"do":"cut","from":"eu","to":"us"}"#;

#[tokio::test]
async fn the_control_door_obeys_no_page_in_a_browser() {
    let wan = network(Shape::default()).await;
    let door = wan.serve_control(ANY, secret()).await.unwrap();
    let other = ControlSecret::of_random([8; 32]);
    let post = format!(
        "POST / HTTP/1.1\r\nHost: {door}\r\nOrigin: http://example.org\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n\n{CUT}\n",
        CUT.len() + 2
    );
    let knowing = format!("POST / HTTP/1.1\r\n\r\n\nsecret {}\n{CUT}\n", secret().text());
    let before = [
        post,
        knowing,
        format!("{CUT}\n"),
        format!("secret {}\n{CUT}\n", other.text()),
        format!("{}\n{CUT}\n", secret().text()),
        format!("secret {}\r\n{CUT}\n", secret().text()),
        format!("{}\n{CUT}\n", "x".repeat(8192)),
    ];
    for sent in before {
        assert_eq!(answered(door, sent.as_bytes()).await, "", "{sent}");
        assert!(wan.report().iter().all(|path| !path.cut), "{sent}");
    }
    // After the secret, nothing that follows a bad line is obeyed either.
    for bad in ["{\"do\":\"explode\"}", "POST / HTTP/1.1\r", &"x".repeat(8192)] {
        let sent = format!("secret {}\n{bad}\n{CUT}\n", secret().text());
        let answer = answered(door, sent.as_bytes()).await;
        assert!(
            answer.starts_with("{\"ok\":true") && answer.lines().count() <= 2,
            "{answer}"
        );
        assert!(wan.report().iter().all(|path| !path.cut), "{bad}");
    }
    assert!(matches!(
        ControlClient::connect(door, &other).await,
        Err(ControlError::NotAdmitted)
    ));
}

#[tokio::test]
async fn who_says_nothing_holds_no_place_at_the_control_door() {
    let wan = network(Shape::default()).await;
    let door = wan.serve_control(ANY, secret()).await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(door).await.unwrap());
    }
    // Each third of the hundred connections before it has 2 s.
    let admitted = async {
        loop {
            match ControlClient::connect(door, &secret()).await {
                Ok(client) => return client,
                Err(error) => assert!(matches!(error, ControlError::Silent), "{error}"),
            }
        }
    };
    let mut client = timeout(LONG, admitted).await.expect("a place is free again");
    assert!(client.send(&Command::Show).await.unwrap().ok);
    for mut stream in silent {
        let closed = timeout(LONG, stream.read(&mut [0])).await.expect("it is closed");
        assert!(matches!(closed, Ok(0) | Err(_)));
    }
}
