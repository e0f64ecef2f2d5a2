//! Reading the log: what is there is applied, and a reader that can't go on is told of.

use isthmus_log::{ReadError, StoredMessage};
use isthmus_replication::follow::ReaderEnd;

use super::task::ShardTask;

/// Messages that are applied before anything else gets its turn.
const MESSAGES_TOGETHER: usize = 64;

impl ShardTask {
    /// Applies what was read, and what is there beside it.
    pub(super) fn read(&mut self, first: Result<StoredMessage, ReadError>) {
        let mut next = Some(first);
        let mut left = MESSAGES_TOGETHER;
        while let Some(read) = next.take() {
            match read {
                Ok(message) => {
                    if !self.apply(message) {
                        break;
                    }
                }
                Err(error) => {
                    self.read_failed(&error);
                    break;
                }
            }
            left -= 1;
            if left > 0 {
                next = self
                    .reader
                    .as_mut()
                    .and_then(|reader| reader.try_next().transpose());
            }
        }
        self.shared.tell_moved();
    }

    fn read_failed(&mut self, error: &ReadError) {
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
