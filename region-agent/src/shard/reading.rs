//! Reading the log: applies what is ready, and passes on why a reader can't continue.

use isthmus_log::{ReadError, Reader, ReadsLog, StoredMessage};
use isthmus_replication::follow::ReaderEnd;

use super::task::ShardTask;

/// The most messages applied before anything else gets its turn.
const MESSAGES_TOGETHER: usize = 64;

impl ShardTask {
    /// Applies the message that was read, and those that are ready.
    pub(super) fn read(&mut self, first: Result<StoredMessage, ReadError>) {
        self.take_ready(first, MESSAGES_TOGETHER);
        self.shared.tell_moved();
    }
}

impl ReadsLog for ShardTask {
    fn reader(&mut self) -> &mut Option<Reader> {
        &mut self.reader
    }

    fn take(&mut self, message: StoredMessage) -> bool {
        self.apply(message)
    }

    fn reader_ended(&mut self, error: &ReadError) {
        self.reader = None;
        let end = match error {
            ReadError::Stopped => ReaderEnd::Stopped,
            ReadError::LifeSuspected(suspicion) => ReaderEnd::Suspected(*suspicion),
            ReadError::Gone { .. } => ReaderEnd::Gone(error.to_string()),
            other => ReaderEnd::Unreadable(other.to_string()),
        };
        self.follow(|follow, now, fold| follow.handle_reader_end(now, fold, end));
    }
}
