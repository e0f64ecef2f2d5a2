#![allow(clippy::unwrap_used)]

use std::sync::{Mutex, PoisonError};

use futures::future::BoxFuture;

use super::*;

#[derive(Default)]
struct Book {
    hosts: Mutex<BTreeMap<String, Vec<IpAddr>>>,
    services: BTreeMap<String, Vec<(String, u16)>>,
}

impl Book {
    fn put(&self, name: &str, ips: &[&str]) {
        let ips = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        self.hosts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), ips);
    }
}

impl Names for Book {
    fn hosts<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, LookupError>> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = hosts.get(name).cloned();
        Box::pin(async move { answer.ok_or(LookupError::Failed("no such name".to_owned())) })
    }

    fn services<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<(String, u16)>, LookupError>> {
        Box::pin(async move { self.services.get(name).cloned().ok_or(LookupError::Empty) })
    }
}

fn at(seconds: u64) -> Mono {
    Mono::from_nanos(seconds * 1_000_000_000)
}

async fn dialled(addresses: &mut PeerAddresses, seconds: u64, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    for _ in 0..count {
        found.push(addresses.next(at(seconds)).await.unwrap().to_string());
    }
    found
}

#[tokio::test]
async fn written_addresses_are_dialled_in_turn() {
    let written = ["127.0.0.1:1", "[::1]:2"]
        .map(|text| text.parse().unwrap())
        .to_vec();
    let mut addresses = PeerAddresses::new(written, Arc::new(Book::default()));
    assert_eq!(
        dialled(&mut addresses, 1, 3).await,
        ["127.0.0.1:1", "[::1]:2", "127.0.0.1:1"]
    );
}

#[tokio::test]
async fn a_name_is_asked_again_and_keeps_its_last_good_answer() {
    let book = Arc::new(Book::default());
    book.put("gw.example.org", &["10.0.0.1"]);
    let written = vec!["dns:gw.example.org:7443".parse().unwrap()];
    let mut addresses = PeerAddresses::new(written, Arc::clone(&book) as Arc<dyn Names>);
    assert_eq!(dialled(&mut addresses, 10, 1).await, ["10.0.0.1:7443"]);

    book.put("gw.example.org", &["10.0.0.2", "10.0.0.3"]);
    assert_eq!(
        dialled(&mut addresses, 11, 1).await,
        ["10.0.0.1:7443"],
        "asked again too soon"
    );
    addresses.next(at(13)).await.unwrap();
    assert_eq!(
        addresses
            .all()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["10.0.0.2:7443", "10.0.0.3:7443"]
    );

    book.put("gw.example.org", &[]);
    addresses.next(at(20)).await.unwrap();
    assert_eq!(addresses.all().len(), 2, "an empty answer took the last good one");
}

#[tokio::test]
async fn services_bring_their_ports_and_an_unanswered_name_fails() {
    let mut book = Book::default();
    book.services.insert(
        "_isthmus._tcp.example.org".to_owned(),
        vec![
            ("a.example.org".to_owned(), 7001),
            ("b.example.org".to_owned(), 7002),
        ],
    );
    book.put("a.example.org", &["10.0.0.1"]);
    book.put("b.example.org", &["10.0.0.2"]);
    let book: Arc<dyn Names> = Arc::new(book);
    let mut found = PeerAddresses::new(
        vec!["srv:_isthmus._tcp.example.org".parse().unwrap()],
        Arc::clone(&book),
    );
    assert_eq!(
        dialled(&mut found, 1, 2).await,
        ["10.0.0.1:7001", "10.0.0.2:7002"]
    );

    let mut lost = PeerAddresses::new(vec!["dns:nowhere.example.org:1".parse().unwrap()], book);
    assert!(
        lost.next(at(1))
            .await
            .unwrap_err()
            .to_string()
            .contains("no such name")
    );
}
