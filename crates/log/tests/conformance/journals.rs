//! Storing named entries.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use isthmus_log::{
    AppendError, Appended, EnsureError, EntryName, JournalName, JournalPage, LogError, PageFrom, Ports,
};
use isthmus_replication::coordinates::Sequence;
use isthmus_replication::time::Wall;

use super::common::*;

const BEGIN: PageFrom = PageFrom::Time(Wall::from_micros(0));

fn aside() -> JournalName {
    JournalName::Aside(shard().group)
}

fn name(text: &str) -> EntryName {
    EntryName::parse(text).unwrap()
}

async fn append(ports: &Ports, journal: &JournalName, named: &str) -> Appended {
    let entry = Bytes::from(format!("entry {named}"));
    ports.journal.append(journal, &name(named), entry).await.unwrap()
}

async fn with_journals(ports: &Ports) {
    for journal in [JournalName::Events, aside()] {
        ports.journal.ensure(&journal, true, 1).await.unwrap();
    }
}

fn names(page: &JournalPage) -> Vec<&str> {
    page.entries.iter().map(|entry| entry.name.as_str()).collect()
}

pub(crate) async fn an_entry_comes_once_by_its_name_however_many_append_it(ports: Ports) {
    with_journals(&ports).await;
    let appends = (0..20).map(|writer| {
        let entry = Bytes::from(format!("written by {writer}"));
        let ports = &ports;
        async move { ports.journal.append(&aside(), &name("x"), entry).await.unwrap() }
    });
    let appended = join_all(appends).await;
    let new = appended.iter().filter(|one| **one == Appended::New).count();
    assert_eq!(new, 1, "{appended:?}");
    assert_eq!(append(&ports, &aside(), "y").await, Appended::New);
    let page = ports.journal.page(&aside(), BEGIN, 10).await.unwrap();
    assert_eq!((names(&page), page.is_last), (vec!["x", "y"], true));
    let held = ports.journal.get(&aside(), &name("y")).await.unwrap().unwrap();
    assert_eq!((&held, &held.entry[..]), (&page.entries[1], &b"entry y"[..]));
    assert_eq!(ports.journal.get(&aside(), &name("z")).await, Ok(None));
    let events = ports.journal.page(&JournalName::Events, BEGIN, 10).await.unwrap();
    assert_eq!((names(&events), events.is_last), (vec![], true));
}

pub(crate) async fn entries_are_paged_in_order_from_a_place_or_a_time(ports: Ports) {
    with_journals(&ports).await;
    let (events, count) = (JournalName::Events, 25);
    let all: Vec<String> = (0..count).map(|n| format!("e{n}")).collect();
    for named in &all {
        append(&ports, &events, named).await;
    }
    let (mut from, mut read, mut pages) = (BEGIN, Vec::new(), 0);
    loop {
        let page = ports.journal.page(&events, from, 10).await.unwrap();
        assert!(page.entries.len() <= 10);
        read.extend(page.entries);
        pages += 1;
        from = PageFrom::Sequence(page.next);
        if page.is_last {
            break;
        }
    }
    assert_eq!(pages, 3);
    assert_eq!(
        read.iter()
            .map(|entry| entry.name.to_string())
            .collect::<Vec<_>>(),
        all
    );
    assert!(read.is_sorted_by_key(|entry| (entry.sequence, entry.stored_at)));
    for entry in &read {
        let page = ports
            .journal
            .page(&events, PageFrom::Time(entry.stored_at), count)
            .await
            .unwrap();
        let expected = read.iter().filter(|other| other.stored_at >= entry.stored_at);
        assert!(page.entries.iter().eq(expected), "from {:?}", entry.stored_at);
    }
    let now = ports.journal.time(&events).await.unwrap();
    assert!(now >= read[count - 1].stored_at);
    let later = PageFrom::Time(read[count - 1].stored_at.after(Duration::from_secs(1)));
    let page = ports.journal.page(&events, later, 10).await.unwrap();
    assert_eq!((names(&page), page.is_last), (vec![], true));
    append(&ports, &events, "next").await;
    let news = ports
        .journal
        .page(&events, PageFrom::Sequence(page.next), 10)
        .await
        .unwrap();
    assert_eq!(names(&news), ["next"]);
}

pub(crate) async fn a_removed_entry_is_gone_and_does_not_come_back(ports: Ports) {
    with_journals(&ports).await;
    for named in ["a", "b", "c"] {
        append(&ports, &aside(), named).await;
    }
    assert_eq!(ports.journal.remove(&aside(), &name("b")).await, Ok(true));
    assert_eq!(ports.journal.remove(&aside(), &name("b")).await, Ok(false));
    assert_eq!(
        ports.journal.remove(&aside(), &name("never-there")).await,
        Ok(false)
    );
    assert_eq!(append(&ports, &aside(), "b").await, Appended::Known);
    assert_eq!(ports.journal.get(&aside(), &name("b")).await, Ok(None));
    append(&ports, &aside(), "d").await;
    let page = ports.journal.page(&aside(), BEGIN, 2).await.unwrap();
    assert_eq!(names(&page), ["a", "c"]);
    assert!(!page.is_last);
    let next = PageFrom::Sequence(page.next);
    let page = ports.journal.page(&aside(), next, 2).await.unwrap();
    assert_eq!((names(&page), page.is_last), (vec!["d"], true));
}

pub(crate) async fn an_entry_takes_the_place_of_the_one_of_its_name(ports: Ports) {
    with_journals(&ports).await;
    let events = JournalName::Events;
    let replace = async |named: &str, text: &'static str| {
        let entry = Bytes::from_static(text.as_bytes());
        let replaced = ports.journal.replace(&events, &name(named), entry).await;
        assert_eq!(replaced, Ok(()));
    };
    append(&ports, &events, "a").await;
    for text in ["first", "second", "third"] {
        replace("slot-0", text).await;
        replace("slot-1", text).await;
    }
    append(&ports, &events, "b").await;
    let page = ports.journal.page(&events, BEGIN, 10).await.unwrap();
    assert_eq!(names(&page), ["a", "slot-0", "slot-1", "b"]);
    assert_eq!(page.entries[1].entry, "third");
    let held = ports.journal.get(&events, &name("slot-1")).await.unwrap();
    assert_eq!(held.unwrap().entry, "third");
}

/// The events journal of a region is bounded to 16 MiB.
pub(crate) async fn the_oldest_entries_give_way(ports: Ports) {
    with_journals(&ports).await;
    let (events, entry) = (JournalName::Events, Bytes::from(vec![7; 900 * 1024]));
    for n in 0..24 {
        let named = name(&format!("e{n}"));
        let appended = ports.journal.append(&events, &named, entry.clone()).await;
        assert_eq!(appended, Ok(Appended::New));
    }
    let page = ports.journal.page(&events, BEGIN, 100).await.unwrap();
    let kept = page.entries.len();
    assert!((16..=18).contains(&kept), "{kept} entries are kept");
    let newest: Vec<String> = (24 - kept..24).map(|n| format!("e{n}")).collect();
    assert_eq!(names(&page), newest);
    assert_eq!(ports.journal.get(&events, &name("e0")).await, Ok(None));
}

pub(crate) async fn a_missing_journal_is_said_to_be_missing(ports: Ports) {
    let stream = ports.names.journal(&aside());
    assert_eq!(
        ports.journal.ensure(&aside(), false, 1).await,
        Err(EnsureError::Missing {
            stream: stream.clone()
        })
    );
    assert_eq!(
        ports
            .journal
            .page(&aside(), PageFrom::Sequence(Sequence(1)), 10)
            .await,
        Err(LogError::Missing {
            stream: stream.clone()
        })
    );
    let entry = Bytes::from_static(b"x");
    assert_eq!(
        ports.journal.append(&aside(), &name("x"), entry).await,
        Err(AppendError::Unanswered { stream })
    );
}
