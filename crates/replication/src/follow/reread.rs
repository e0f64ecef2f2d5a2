//! The rule that a log is read again from the fork of an unknown life.

use crate::coordinates::Life;
use crate::header::LifeLink;

/// Decides when a log is read again from the fork of a life.
///
/// Messages after the fork may have been read before the log lost its tail, and a single message
/// can be the same as before although others differ. So every reader of a log reads it again from
/// the fork the first time that it meets a life.
#[derive(Debug, Default)]
pub struct RereadRule {
    /// The newest life that was already known when the messages after its fork were read.
    newest: Option<Life>,
}

impl RereadRule {
    /// Input: a life record was read. Returns whether the log has to be read again from its fork.
    pub fn handle_life(&mut self, link: &LifeLink) -> bool {
        let is_due = link.parent.is_some() && link.life.supersedes(self.newest);
        if is_due {
            self.newest = Some(link.life);
        }
        is_due
    }
}
