//! What leaves over a link: control before data, each in its own bounded queue.

use isthmus_link::FrameError;
use isthmus_link::connection::LinkWriter;
use isthmus_replication::limits;
use isthmus_replication::link::frame::Frame;
use tokio::sync::mpsc;

/// Control frames that wait: small ones, a report for every lane that a link may have.
const CONTROL: usize = limits::LANES;
/// Ranges that wait; credit bounds what is under way beyond.
const DATA: usize = 8;

/// Where the frames of one link go. Clones go to the same link.
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

/// The link takes nothing any more, or not fast enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the link takes no more frames")]
pub struct Refused;

/// A new link's queues.
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
    /// Takes a control frame at once.
    ///
    /// # Errors
    /// [`Refused`] when the queue is full or the link is over.
    pub fn control(&self, frame: Frame) -> Result<(), Refused> {
        self.control.try_send(frame).map_err(|_| Refused)
    }

    /// Room among the data, if there is any.
    #[must_use]
    pub fn try_room(&self) -> Option<mpsc::Permit<'_, Frame>> {
        self.data.try_reserve().ok()
    }

    /// Waits for room among the data. Cancelling takes no room.
    ///
    /// # Errors
    /// [`Refused`] when the link is over.
    pub async fn room(&self) -> Result<mpsc::Permit<'_, Frame>, Refused> {
        self.data.reserve().await.map_err(|_| Refused)
    }
}

impl Leaving {
    /// Writes frames until every [`Outbox`] is gone, then what is left, then closes.
    ///
    /// # Errors
    /// How the connection failed.
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
