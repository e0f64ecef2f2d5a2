//! A reader of one log; both implementations deliver into it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::task::OwnedTask;
use crate::{ReadError, StoredMessage};

/// Capacity of a reader's queue.
const WAITING: usize = 64;

/// The messages of one log in order, without gaps, each once, until an error that is not temporary.
///
/// After an interruption (an unreachable server, an election, a deleted consumer) the reader
/// continues once it has checked that the log still has its last message.
#[derive(Debug)]
pub struct Reader {
    messages: mpsc::Receiver<Result<StoredMessage, ReadError>>,
    ended: Option<ReadError>,
    counts: Arc<ReaderCounts>,
    _task: OwnedTask,
}

/// Counters of a reader.
#[derive(Debug, Default)]
pub struct ReaderCounts {
    opened: AtomicU64,
    stalled: AtomicU64,
}

impl ReaderCounts {
    /// How often a consumer was opened: 1 for the first, one more for every interruption.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// How often the watchdog found that the log had grown but no message had arrived.
    #[must_use]
    pub fn stalled(&self) -> u64 {
        self.stalled.load(Ordering::Relaxed)
    }

    pub(crate) fn count_opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_stalled(&self) {
        self.stalled.fetch_add(1, Ordering::Relaxed);
    }
}

/// Where an implementation delivers the messages that it reads.
#[derive(Debug, Clone)]
pub(crate) struct Delivery(mpsc::Sender<Result<StoredMessage, ReadError>>);

/// The owner has dropped its reader.
#[derive(Debug)]
pub(crate) struct Abandoned;

impl Delivery {
    /// Delivers a message; waits for room in the queue.
    pub(crate) async fn message(&self, message: StoredMessage) -> Result<(), Abandoned> {
        self.0.send(Ok(message)).await.map_err(|_| Abandoned)
    }

    pub(crate) async fn end(self, error: ReadError) {
        // The owner may be gone.
        let _ = self.0.send(Err(error)).await;
    }
}

impl Reader {
    /// A reader of the messages that `work` delivers; `work` ends with the reader.
    pub(crate) fn new<W>(work: impl FnOnce(Delivery, Arc<ReaderCounts>) -> W) -> Self
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let (sender, messages) = mpsc::channel(WAITING);
        let counts = Arc::new(ReaderCounts::default());
        let task = OwnedTask::spawn(work(Delivery(sender), Arc::clone(&counts)));
        Self {
            messages,
            ended: None,
            counts,
            _task: task,
        }
    }

    /// The next message. Cancel safe. After an error every call returns that error.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn next(&mut self) -> Result<StoredMessage, ReadError> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        let next = self.messages.recv().await.unwrap_or(Err(ReadError::Stopped));
        self.note(next)
    }

    /// The next message if there is one already.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn try_next(&mut self) -> Result<Option<StoredMessage>, ReadError> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        match self.messages.try_recv() {
            Ok(next) => self.note(next).map(Some),
            Err(mpsc::error::TryRecvError::Empty) => Ok(None),
            Err(mpsc::error::TryRecvError::Disconnected) => self.note(Err(ReadError::Stopped)).map(Some),
        }
    }

    /// Its counters; they stay readable after the reader ended.
    #[must_use]
    pub fn counts(&self) -> Arc<ReaderCounts> {
        Arc::clone(&self.counts)
    }

    fn note(&mut self, next: Result<StoredMessage, ReadError>) -> Result<StoredMessage, ReadError> {
        if let Err(error) = &next {
            self.ended = Some(error.clone());
        }
        next
    }
}

/// A task that reads a log with one reader, and does other things in between.
pub trait ReadsLog {
    /// Its reader, while it has one.
    fn reader(&mut self) -> &mut Option<Reader>;

    /// Takes a message. Returns whether the next one may follow at once.
    fn take(&mut self, message: StoredMessage) -> bool;

    /// The reader has ended with this error.
    fn reader_ended(&mut self, error: &ReadError);

    /// Takes `first` and the messages that are ready, at most `most` of them, so that other work
    /// gets its turn.
    fn take_ready(&mut self, first: Result<StoredMessage, ReadError>, most: usize) {
        let mut next = Some(first);
        for taken in 1..=most {
            let message = match next {
                Some(Ok(message)) => message,
                Some(Err(error)) => return self.reader_ended(&error),
                None => return,
            };
            if !self.take(message) || taken == most {
                return;
            }
            let reader = self.reader().as_mut();
            next = reader.and_then(|reader| reader.try_next().transpose());
        }
    }
}

/// The next message of a reader. Waits for ever if there is no reader. Cancel safe.
///
/// # Errors
/// [`ReadError`].
pub async fn next_message(reader: &mut Option<Reader>) -> Result<StoredMessage, ReadError> {
    match reader {
        Some(reader) => reader.next().await,
        None => std::future::pending().await,
    }
}
