//! A network between two regions with an echo server in one of them, under each fault.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use isthmus_wan::{Command, ControlSecret, Shape, Wan};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(20);

struct Lab {
    wan: Wan,
    proxy: SocketAddr,
    accepted: tokio::sync::watch::Receiver<usize>,
    _tasks: JoinSet<()>,
}

async fn lab(shape: Shape) -> Lab {
    let listener = TcpListener::bind(ANY).await.unwrap();
    let target = listener.local_addr().unwrap();
    let (count, accepted) = tokio::sync::watch::channel(0);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut echoes = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            count.send_modify(|count| *count += 1);
            stream.set_nodelay(true).unwrap();
            echoes.spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await.ok();
                writer.shutdown().await.ok();
            });
        }
    });
    let wan = Wan::new(shape);
    let link = wan.link("eu", "us", ANY, target).await.unwrap();
    Lab {
        wan,
        proxy: link.proxy,
        accepted,
        _tasks: tasks,
    }
}

impl Lab {
    async fn dial(&self) -> TcpStream {
        let stream = TcpStream::connect(self.proxy).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    fn order(&self, command: Command) {
        self.wan.apply(&command).unwrap();
    }
}

fn cut(one_way: bool) -> Command {
    Command::Cut {
        from: "eu".into(),
        to: "us".into(),
        one_way,
        for_ms: None,
    }
}

fn heal() -> Command {
    Command::Heal { from: None, to: None }
}

async fn echo(stream: &mut TcpStream, text: &[u8]) -> Duration {
    let start = Instant::now();
    stream.write_all(text).await.unwrap();
    let mut answer = vec![0; text.len()];
    timeout(LONG, stream.read_exact(&mut answer))
        .await
        .expect("an echo")
        .unwrap();
    assert_eq!(answer, text);
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_echo_shows_the_round_trip_within_3_ms() {
    let lab = lab(Shape::of_round_trip(Duration::from_millis(80))).await;
    let mut stream = lab.dial().await;
    echo(&mut stream, b"warm up").await;
    let mut times = Vec::new();
    for _ in 0..31 {
        times.push(echo(&mut stream, b"ping").await);
    }
    times.sort();
    let (least, median) = (times[0], times[15]);
    println!(
        "round trip through the proxy: least {least:?}, median {median:?}, most {:?}",
        times[30]
    );
    assert!(least >= Duration::from_millis(77), "least {least:?}");
    assert!((77..=83).contains(&median.as_millis()), "median {median:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delay_does_not_bound_bandwidth() {
    let lab = lab(Shape::of_round_trip(Duration::from_millis(200))).await;
    let mut stream = lab.dial().await;
    let bytes = vec![7_u8; 16 * 1024 * 1024];
    let start = Instant::now();
    let (mut reader, mut writer) = stream.split();
    let sending = async { writer.write_all(&bytes).await.unwrap() };
    let receiving = async {
        let mut answer = vec![0; bytes.len()];
        reader.read_exact(&mut answer).await.unwrap();
        answer
    };
    let ((), answer) = timeout(LONG, async { tokio::join!(sending, receiving) })
        .await
        .expect("all bytes");
    assert_eq!(answer, bytes);
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "16 MiB there and back took {:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_cut_stalls_and_heals_without_losing_a_byte() {
    let lab = lab(Shape::default()).await;
    let mut stream = lab.dial().await;
    echo(&mut stream, b"before").await;
    lab.order(cut(false));
    stream.write_all(b"during").await.unwrap();
    let mut answer = [0; 6];
    assert!(
        timeout(SHORT, stream.read_exact(&mut answer)).await.is_err(),
        "bytes passed a cut"
    );
    lab.order(heal());
    timeout(LONG, stream.read_exact(&mut answer))
        .await
        .expect("held bytes")
        .unwrap();
    assert_eq!(&answer, b"during");
}

#[tokio::test]
async fn a_connection_dialled_during_a_cut_waits_or_is_forgotten() {
    let mut lab = lab(Shape::default()).await;
    lab.order(cut(false));
    let mut given_up = lab.dial().await;
    given_up.write_all(b"hello?").await.unwrap();
    let mut patient = lab.dial().await;
    patient.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    assert!(timeout(SHORT, patient.read_exact(&mut answer)).await.is_err());
    drop(given_up);
    let mut witness = lab.dial().await;
    assert!(timeout(SHORT, witness.read(&mut [0])).await.is_err());
    lab.order(heal());
    timeout(LONG, patient.read_exact(&mut answer))
        .await
        .expect("the echo")
        .unwrap();
    echo(&mut witness, b"too").await;
    assert_eq!(
        *lab.accepted.borrow_and_update(),
        2,
        "the dialler that left must not reach the target"
    );
}

#[tokio::test]
async fn a_one_way_cut_lets_the_other_direction_flow() {
    let lab = lab(Shape::default()).await;
    let mut stream = lab.dial().await;
    echo(&mut stream, b"before").await;
    lab.order(Command::Cut {
        from: "us".into(),
        to: "eu".into(),
        one_way: true,
        for_ms: None,
    });
    let there = || {
        lab.wan
            .report()
            .iter()
            .find(|path| path.from == "eu")
            .unwrap()
            .passed_bytes
    };
    let passed = there();
    stream.write_all(b"arrives").await.unwrap();
    let mut answer = [0; 7];
    assert!(
        timeout(SHORT, stream.read_exact(&mut answer)).await.is_err(),
        "the answer passed the cut"
    );
    let arriving = async {
        while there() < passed + 7 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, arriving)
        .await
        .expect("the bytes that no cut holds");
    assert_eq!(there(), passed + 7);
    lab.order(heal());
    timeout(LONG, stream.read_exact(&mut answer))
        .await
        .expect("the held answer")
        .unwrap();
}

#[tokio::test]
async fn a_timed_cut_heals_by_itself() {
    let lab = lab(Shape::default()).await;
    let mut stream = lab.dial().await;
    echo(&mut stream, b"before").await;
    let ordered = Instant::now();
    lab.order(Command::Cut {
        from: "eu".into(),
        to: "us".into(),
        one_way: false,
        for_ms: Some(400),
    });
    echo(&mut stream, b"after").await;
    let took = ordered.elapsed();
    assert!(took >= Duration::from_millis(390), "passed after {took:?}");
}

#[tokio::test]
async fn a_black_hole_neither_closes_nor_resets_and_never_wakes() {
    let lab = lab(Shape::default()).await;
    let mut stream = lab.dial().await;
    echo(&mut stream, b"before").await;
    lab.order(Command::BlackHole {
        from: "eu".into(),
        to: "us".into(),
    });
    let mut fresh = lab.dial().await;
    for stream in [&mut stream, &mut fresh] {
        stream.write_all(b"lost").await.unwrap();
        assert!(timeout(SHORT, stream.read(&mut [0])).await.is_err());
    }
    lab.order(heal());
    stream.write_all(b"lost too").await.unwrap();
    assert!(timeout(SHORT, stream.read(&mut [0])).await.is_err());
    echo(&mut lab.dial().await, b"a new connection works").await;
}

#[tokio::test]
async fn a_reset_ends_connections_once() {
    let lab = lab(Shape::default()).await;
    let mut stream = lab.dial().await;
    echo(&mut stream, b"before").await;
    lab.order(Command::Reset {
        from: "eu".into(),
        to: "us".into(),
    });
    let error = timeout(LONG, stream.read(&mut [0]))
        .await
        .expect("an end")
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    echo(&mut lab.dial().await, b"again").await;
}

#[tokio::test]
async fn a_rate_bounds_throughput_and_memory() {
    let lab = lab(Shape {
        rate: Some(128 * 1024),
        ..Shape::default()
    })
    .await;
    let mut stream = lab.dial().await;
    let took = echo(&mut stream, &vec![1; 64 * 1024]).await;
    assert!(
        took >= Duration::from_millis(900),
        "64 KiB each way at 128 KiB/s took {took:?}"
    );
}

#[tokio::test]
async fn jitter_keeps_the_order_of_bytes() {
    let shape = Shape {
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(20),
        rate: None,
    };
    let lab = lab(shape).await;
    let mut stream = lab.dial().await;
    let (mut reader, mut writer) = stream.split();
    let sending = async {
        for number in 0..50_u8 {
            writer.write_all(&[number]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let mut answer = [0; 50];
    let (_, read) = tokio::join!(sending, timeout(LONG, reader.read_exact(&mut answer)));
    read.expect("all bytes").unwrap();
    assert!(
        answer
            .iter()
            .enumerate()
            .all(|(at, number)| at == usize::from(*number))
    );
}

#[tokio::test]
async fn closing_one_side_travels_and_ends_the_other() {
    let lab = lab(Shape::of_round_trip(Duration::from_millis(20))).await;
    let mut stream = lab.dial().await;
    stream.write_all(b"last words").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    timeout(LONG, stream.read_to_end(&mut answer))
        .await
        .expect("the end")
        .unwrap();
    assert_eq!(answer, b"last words");
}

#[tokio::test]
async fn only_loopback_is_served() {
    let lab = lab(Shape::default()).await;
    let everywhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
    assert!(lab.wan.link("eu", "us", everywhere, ANY).await.is_err());
    let secret = ControlSecret::of_random([0; 32]);
    assert!(lab.wan.serve_control(everywhere, secret).await.is_err());
}
