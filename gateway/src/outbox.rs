//! Outgoing frames of a link: control before data, each in its own bounded queue.

use isthmus_link::FrameError;
use isthmus_link::connection::LinkWriter;
use isthmus_replication::limits;
use isthmus_replication::link::frame::Frame;
use tokio::sync::mpsc;

/// Capacity for control frames. They are small: one report for every lane that a link may have.
const CONTROL: usize = limits::LANES;
/// Capacity for ranges. Credit bounds what is in flight beyond that.
const DATA: usize = 8;

/// The queues for the frames of one link. Clones feed the same link.
#[derive(Debug, Clone)]
pub struct Outbox {
    control: mpsc::Sender<Frame>,
    data: mpsc::Sender<Frame>,
}

/// The other end of an [`Outbox`].
#[derive(Debug)]
pub struct Leaving {
    control: mpsc::Receiver<Frame>,
    data: mpsc::Receiver<Frame>,
}

/// The link has ended, or takes frames too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the link accepts no more frames")]
pub struct Refused;

/// Creates the queues of a new link.
#[must_use]
pub fn outbox() -> (Outbox, Leaving) {
    let (control, control_leaving) = mpsc::channel(CONTROL);
    let (data, data_leaving) = mpsc::channel(DATA);
    let leaving = Leaving {
        control: control_leaving,
        data: data_leaving,
    };
    (Outbox { control, data }, leaving)
}

impl Outbox {
    /// Queues a control frame without waiting.
    ///
    /// # Errors
    /// [`Refused`] if the queue is full or the link has ended.
    pub fn control(&self, frame: Frame) -> Result<(), Refused> {
        self.control.try_send(frame).map_err(|_| Refused)
    }

    /// Reserves room for one range, if there is any.
    #[must_use]
    pub fn try_room(&self) -> Option<mpsc::Permit<'_, Frame>> {
        self.data.try_reserve().ok()
    }

    /// Waits for room for one range. Cancelling takes no room.
    ///
    /// # Errors
    /// [`Refused`] if the link has ended.
    pub async fn room(&self) -> Result<mpsc::Permit<'_, Frame>, Refused> {
        self.data.reserve().await.map_err(|_| Refused)
    }
}

impl Leaving {
    /// Writes frames until every [`Outbox`] is dropped, then the remaining ones, then closes.
    ///
    /// # Errors
    /// [`FrameError`] if the connection fails.
    pub async fn write(mut self, mut writer: LinkWriter) -> Result<(), FrameError> {
        while let Some(frame) = self.next().await {
            writer.feed(frame.encode()).await?;
            while let Some(frame) = self.ready() {
                writer.feed(frame.encode()).await?;
            }
            writer.flush().await?;
        }
        writer.close().await
    }

    async fn next(&mut self) -> Option<Frame> {
        tokio::select! {
            biased;
            Some(frame) = self.control.recv() => Some(frame),
            Some(frame) = self.data.recv() => Some(frame),
            else => None,
        }
    }

    fn ready(&mut self) -> Option<Frame> {
        self.control.try_recv().or_else(|_| self.data.try_recv()).ok()
    }
}
