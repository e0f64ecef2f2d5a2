//! Setting aside: a bounded queue from the code that detects a loss to the region's journals
//! (design.md section 9).
//!
//! The code that detects a loss never waits: a loss that finds the queue full is counted, and
//! reported once. One task appends the queued entries, however long that takes.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use isthmus_log::{AppendError, Appended, EntryName, Journal, JournalName};
use isthmus_replication::aside::{Entry, Reason};
use isthmus_runtime::Process;
use isthmus_runtime::clock::Clock;
use isthmus_runtime::events::throttle::Throttle;
use isthmus_runtime::events::{Events, Severity, Source};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Maximum number of queued entries.
const WAITING: usize = 4096;
/// Maximum size of the queued entries, in bytes; a larger entry is accepted if the queue is empty.
const WAITING_BYTES: usize = 32 * 1024 * 1024;
/// Retry interval for an unanswered append.
const AGAIN: Duration = Duration::from_secs(1);
/// Time limit for appending the queued entries when a process stops.
const LAST: Duration = Duration::from_secs(2);
/// A journal that takes longer than this counts as late.
const AT_ONCE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReason {
    reason: &'static str,
}

/// The queue for losses. Clones share it.
#[derive(Debug, Clone)]
pub struct Aside {
    queue: mpsc::Sender<Entry>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    events: Events,
    waiting_bytes: AtomicUsize,
    loss_reported: AtomicBool,
    /// Whether the journal was late and has stored nothing since.
    late: AtomicBool,
    kept: Family<OfReason, Counter>,
    lost: Family<OfReason, Counter>,
    throttle: Mutex<Throttle<Reason>>,
}

/// The queued entries that are to be appended.
#[derive(Debug)]
pub struct Waiting {
    queue: mpsc::Receiver<Entry>,
    shared: Arc<Shared>,
}

/// The queue of `process`: the sending and the receiving side.
#[must_use]
pub fn queue<S>(process: &Process<S>) -> (Aside, Waiting) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let shared = Arc::new(Shared {
        clock: process.clock.clone(),
        events: process.events.clone(),
        waiting_bytes: AtomicUsize::new(0),
        loss_reported: AtomicBool::new(false),
        late: AtomicBool::new(false),
        kept: Family::default(),
        lost: Family::default(),
        throttle: Mutex::default(),
    });
    process.metrics.register(|registry| {
        let (kept, lost) = (shared.kept.clone(), shared.lost.clone());
        registry.register("aside", "Entries that this process set aside first", kept);
        registry.register("aside_lost", "Entries that could not be set aside", lost);
    });
    let aside = Aside {
        queue: sender,
        shared: Arc::clone(&shared),
    };
    let waiting = Waiting {
        queue: receiver,
        shared,
    };
    (aside, waiting)
}

impl Aside {
    /// Queues a loss; never waits.
    pub fn keep(&self, entry: Entry) {
        let (bytes, reason) = (entry.bytes(), entry.reason());
        let before = self.shared.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let has_room = before == 0 || before + bytes <= WAITING_BYTES;
        if !has_room || self.queue.try_send(entry).is_err() {
            self.shared.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.shared
                .lost(reason, "the queue to the region's journal is full");
        }
    }

    /// Appends a loss before the caller continues if the journal is not late; queues it otherwise.
    /// Only the first call that finds the journal late waits for it.
    pub async fn keep_first(&self, journal: &dyn Journal, entry: Entry) {
        if self.shared.late.load(Ordering::Relaxed) {
            return self.keep(entry);
        }
        match timeout(AT_ONCE, until_kept(journal, &entry)).await {
            Ok(Ok(Appended::New)) => self.shared.kept(&entry),
            Ok(Ok(Appended::Known)) => {}
            Ok(Err(error)) => self.shared.lost(entry.reason(), &error.to_string()),
            Err(_) => {
                self.shared.late.store(true, Ordering::Relaxed);
                self.keep(entry);
            }
        }
    }
}

impl Shared {
    fn kept(&self, entry: &Entry) {
        let (reason, now) = (entry.reason(), self.clock.mono());
        let label = OfReason {
            reason: reason.as_str(),
        };
        self.kept.get_or_create(&label).inc();
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(suppressed) = throttle.take(now, reason, 1) else {
            return;
        };
        drop(throttle);
        let entries = suppressed + 1;
        let (severity, kind) = match reason {
            Reason::Conflict => (Severity::Notice, "aside"),
            Reason::Clock | Reason::TooLate | Reason::Undecodable | Reason::Late => {
                (Severity::Warning, "aside")
            }
        };
        let text = format!("set aside ({}): see isthmus aside list", reason.as_str());
        let id = format!("{}.{}", entry.shard.group, entry.name());
        let fields = json!({ "reason": reason.as_str(), "entries": entries, "newest": id });
        let source = Source::default().because(reason.as_str());
        self.events.record_from(&source, severity, kind, text, fields);
    }

    fn lost(&self, reason: Reason, why: &str) {
        let reason = reason.as_str();
        self.lost.get_or_create(&OfReason { reason }).inc();
        if !self.loss_reported.swap(true, Ordering::Relaxed) {
            let text = format!(
                "an entry could not be set aside: {why}; isthmus_aside_lost_total counts further ones"
            );
            let fields = json!({ "reason": reason });
            self.events.record(Severity::Alarm, "aside_lost", text, fields);
        }
    }
}

impl Waiting {
    /// Appends the queued entries until `stop`.
    ///
    /// # Errors
    /// None: an append to a journal that does not answer is retried for ever.
    pub async fn append(
        mut self,
        journal: Arc<dyn Journal>,
        stop: CancellationToken,
    ) -> Result<(), Infallible> {
        loop {
            // If no sender is left, for example after a failed start, this waits for `stop`.
            let entry = tokio::select! {
                () = stop.cancelled() => break,
                Some(entry) = self.queue.recv() => entry,
            };
            let kept = tokio::select! {
                kept = until_kept(&*journal, &entry) => Some(kept),
                () = stop.cancelled() => timeout(LAST, until_kept(&*journal, &entry)).await.ok(),
            };
            self.note(&entry, kept);
        }
        let rest = async {
            while let Ok(entry) = self.queue.try_recv() {
                let kept = until_kept(&*journal, &entry).await;
                self.note(&entry, Some(kept));
            }
        };
        if timeout(LAST, rest).await.is_err() {
            tracing::warn!("this process stopped before it could set aside all waiting entries");
        }
        Ok(())
    }

    /// Records the outcome of an append; `None` if time ran out.
    fn note(&self, entry: &Entry, kept: Option<Result<Appended, AppendError>>) {
        self.shared
            .waiting_bytes
            .fetch_sub(entry.bytes(), Ordering::Relaxed);
        if matches!(kept, Some(Ok(_))) {
            self.shared.late.store(false, Ordering::Relaxed);
        }
        match kept {
            Some(Ok(Appended::New)) => self.shared.kept(entry),
            Some(Ok(Appended::Known)) => {}
            Some(Err(error)) => self.shared.lost(entry.reason(), &error.to_string()),
            None => self.shared.lost(entry.reason(), "the process is stopping"),
        }
    }
}

/// Appends an entry, and retries while the outcome is unknown.
async fn until_kept(journal: &dyn Journal, entry: &Entry) -> Result<Appended, AppendError> {
    let name = entry.name();
    let name = EntryName::parse(&name).map_err(|_| AppendError::Refused {
        stream: "aside".to_owned(),
        code: 0,
        description: format!("{name} is not a valid entry name"),
    })?;
    let (aside, bytes) = (JournalName::Aside(entry.shard.group.clone()), entry.encode());
    loop {
        match journal.append(&aside, &name, bytes.clone()).await {
            Err(error) if error.may_be_stored() => {
                tracing::debug!(%error, "an entry to set aside waits for the region's journal");
            }
            answer => return answer,
        }
        sleep(AGAIN).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use isthmus_log::memory::{MemoryRegion, Servers};
    use isthmus_log::{LocalClock, PageFrom, RegionNames};
    use isthmus_replication::aside::{Kept, KeptWrite, Why};
    use isthmus_replication::cell::{CellId, Content, ContentType, Field};
    use isthmus_replication::coordinates::{Sequence, Shard, WriterId};
    use isthmus_replication::hlc::Hlc;
    use isthmus_replication::names::{BucketName, GroupName, Key, RegionName, SetName};
    use isthmus_replication::time::Wall;
    use isthmus_replication::version::Version;
    use isthmus_runtime::clock::Clock;
    use isthmus_runtime::metrics::Metrics;
    use isthmus_runtime::telemetry::Tracer;

    use super::*;
    use tokio::time::Instant;

    fn process() -> Process<()> {
        Process::new((), Clock::system(), Metrics::new("test", "0"), Tracer::off())
    }

    fn entry(hlc: u64, bytes: usize) -> Entry {
        let region = RegionName::parse("eu-west").unwrap();
        Entry {
            shard: Shard {
                group: GroupName::parse("default").unwrap(),
                partition: 0,
            },
            at: Wall::from_millis(hlc),
            kept: Kept::Write(KeptWrite {
                why: Why::Clock,
                id: CellId {
                    bucket: BucketName::parse("carts").unwrap(),
                    key: Key::parse("17").unwrap(),
                    field: Field::NONE,
                },
                version: Version {
                    hlc: Hlc::from_bits(hlc),
                    region,
                    writer: WriterId(7),
                },
                expires_at: None,
                content: Content::Value {
                    bytes: vec![0; bytes].into(),
                    content_type: ContentType::default(),
                },
            }),
        }
    }

    fn region() -> MemoryRegion {
        let clock = Clock::system();
        let clock: LocalClock = Arc::new(move || clock.now());
        let names = RegionNames {
            set: SetName::parse("shop").unwrap(),
            region: RegionName::parse("eu-west").unwrap(),
        };
        MemoryRegion::new(names, clock)
    }

    /// A region that is unreachable, and its journal.
    async fn region_without_answers() -> (MemoryRegion, Arc<dyn Journal>, JournalName) {
        let region = region();
        let journal = region.ports().journal;
        let name = JournalName::Aside(GroupName::parse("default").unwrap());
        journal.ensure(&name, true, 1).await.unwrap();
        region.set_servers(Servers::Away);
        (region, journal, name)
    }

    #[tokio::test(start_paused = true)]
    async fn a_journal_that_is_late_is_waited_for_once() {
        let (region, journal, _) = region_without_answers().await;
        let (aside, waiting) = queue(&process());
        let began = Instant::now();
        for hlc in 0..20 {
            aside.keep_first(&*journal, entry(hlc, 10)).await;
        }
        assert_eq!(began.elapsed(), AT_ONCE);

        region.set_servers(Servers::Answer);
        let stop = CancellationToken::new();
        let mut appending = tokio::task::JoinSet::new();
        appending.spawn(waiting.append(Arc::clone(&journal), stop.clone()));
        while aside.shared.late.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(10)).await;
        }
        region.set_servers(Servers::Away);
        let began = Instant::now();
        aside.keep_first(&*journal, entry(20, 10)).await;
        assert_eq!(
            began.elapsed(),
            AT_ONCE,
            "a journal that answers again is waited for again"
        );
        stop.cancel();
        appending.join_all().await;
    }

    #[tokio::test(start_paused = true)]
    async fn entries_without_room_are_counted_and_reported_once() {
        let process = process();
        let (region, journal, default) = region_without_answers().await;
        let (aside, waiting) = queue(&process);
        for hlc in 0..40 {
            aside.keep(entry(hlc, 1024 * 1024 - 1024));
        }
        let lost = "isthmus_aside_lost_total{reason=\"clock\"} 8\n";
        assert!(
            process.metrics.text().contains(lost),
            "{}",
            process.metrics.text()
        );
        let said = process.events.after(0);
        assert_eq!(
            said.iter().map(|event| event.kind).collect::<Vec<_>>(),
            ["aside_lost"]
        );

        let stop = CancellationToken::new();
        let appending = waiting.append(Arc::clone(&journal), stop.clone());
        let coming_back = async {
            sleep(AGAIN * 3).await;
            region.set_servers(Servers::Answer);
            loop {
                let page = journal.page(&default, PageFrom::Sequence(Sequence(1)), 100).await;
                if page.is_ok_and(|page| page.entries.len() == 32) {
                    break stop.cancel();
                }
                sleep(AGAIN).await;
            }
        };
        let (appended, ()) = tokio::join!(appending, coming_back);
        appended.unwrap();
        let kept = "isthmus_aside_total{reason=\"clock\"} 32\n";
        assert!(
            process.metrics.text().contains(kept),
            "{}",
            process.metrics.text()
        );
        let throttle: Vec<_> = process.events.after(1).iter().map(|event| event.kind).collect();
        assert_eq!(throttle, ["aside"]);
    }
}
