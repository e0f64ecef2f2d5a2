//! The reports that a receiving lane has sent to its sender.

use crate::link::frame::Frame;
use crate::link::lane::{Hold, LaneReport};

/// The reports of a lane to its sender.
///
/// Invariant: a report is due when it differs from the last one, when a generation begins, or when
/// a range arrived that the log already has. A generation after the first begins with a Reset; all
/// other reports are Acks.
#[derive(Debug)]
pub(super) struct Reports {
    generation: u64,
    last: Option<LaneReport>,
    ack_due: bool,
    reset_due: bool,
}

impl Reports {
    pub(super) fn new() -> Self {
        Self {
            generation: 1,
            last: None,
            ack_due: false,
            reset_due: false,
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The session begins with `report`.
    pub(super) fn begin(&mut self, report: LaneReport) {
        self.last = Some(report);
    }

    /// Begins the next generation and returns its number.
    pub(super) fn begin_generation(&mut self) -> u64 {
        self.generation += 1;
        self.reset_due = true;
        self.generation
    }

    /// Makes an Ack due even if nothing has changed.
    pub(super) fn repeat(&mut self) {
        self.ack_due = true;
    }

    /// Whether `report` is to be sent.
    pub(super) fn is_due(&self, report: &LaneReport) -> bool {
        self.reset_due || self.ack_due || self.last.as_ref() != Some(report)
    }

    /// The hold in the last report.
    pub(super) fn reported_hold(&self) -> Option<Hold> {
        self.last.as_ref().and_then(|last| last.hold)
    }

    /// The frame of `report`, which is due.
    pub(super) fn send(&mut self, report: LaneReport) -> Frame {
        self.last = Some(report.clone());
        self.ack_due = false;
        match std::mem::take(&mut self.reset_due) {
            true => Frame::Reset(report),
            false => Frame::Ack(report),
        }
    }
}
