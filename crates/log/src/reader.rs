//! A reader of one log: what both twins deliver into.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::task::OwnedTask;
use crate::{ReadError, StoredMessage};

/// Messages that wait for a reader's owner.
const WAITING: usize = 64;

/// The messages of one log in order, without holes, each once, until an error that cannot pass by itself.
///
/// A server that is away, an election, a consumer that was deleted: the reader goes on after them, having checked that
/// its last message still is what it was.
#[derive(Debug)]
pub struct Reader {
    messages: mpsc::Receiver<Result<StoredMessage, ReadError>>,
    ended: Option<ReadError>,
    counts: Arc<ReaderCounts>,
    _task: OwnedTask,
}

/// What a reader counts.
#[derive(Debug, Default)]
pub struct ReaderCounts {
    opened: AtomicU64,
    stalled: AtomicU64,
}

impl ReaderCounts {
    /// How often a consumer was made: 1 for the first, more for every interruption.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// How often the watchdog found that the log had moved and nothing had come.
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

/// Where a twin puts what it reads.
#[derive(Debug, Clone)]
pub(crate) struct Delivery(mpsc::Sender<Result<StoredMessage, ReadError>>);

/// The owner has dropped its reader.
#[derive(Debug)]
pub(crate) struct Abandoned;

impl Delivery {
    /// Waits for room.
    pub(crate) async fn message(&self, message: StoredMessage) -> Result<(), Abandoned> {
        self.0.send(Ok(message)).await.map_err(|_| Abandoned)
    }

    pub(crate) async fn end(self, error: ReadError) {
        // An owner that has gone does not ask why.
        let _ = self.0.send(Err(error)).await;
    }
}

impl Reader {
    /// A reader whose messages come from `work`, which ends with it.
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

    /// The next message. Cancelling loses nothing; after an error every call gives that error.
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

    /// The next message if one is there already.
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

    /// What it counts; stays readable after it ended.
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
