//! Ranges in transit from one link to the heads of the shards, bounded in bytes.
//!
//! A lane's window bounds what its receiving machine holds, and the machine refuses what exceeds
//! it. But a head that waits for its log judges nothing for a while. Until then a link may leave
//! one window's worth of ranges per shard in the head's inbox. A peer that keeps to its credit
//! never waits here; one that does not is read no further.

use std::collections::BTreeMap;
use std::sync::Arc;

use isthmus_replication::coordinates::Shard;
use isthmus_replication::limits;
use isthmus_replication::link::lane::RangeFrame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The room of one link.
#[derive(Debug)]
pub(super) struct Transit {
    shards: BTreeMap<Shard, Arc<Semaphore>>,
}

impl Transit {
    pub(super) fn new<'a>(shards: impl Iterator<Item = &'a Shard>) -> Self {
        let room = |shard: &Shard| {
            let room = Semaphore::new(limits::LANE_WINDOW_BYTES as usize);
            (shard.clone(), Arc::new(room))
        };
        Self {
            shards: shards.map(room).collect(),
        }
    }

    /// Waits until `range` has room, which is kept until the permit is dropped. A range larger than
    /// all the room of its shard waits until the room is empty. None for a shard that is not this
    /// region's.
    pub(super) async fn room(&self, range: &RangeFrame) -> Option<OwnedSemaphorePermit> {
        let room = Arc::clone(self.shards.get(&range.shard)?);
        let bytes = u32::try_from(range.cost()).unwrap_or(u32::MAX);
        room.acquire_many_owned(bytes.min(limits::LANE_WINDOW_BYTES))
            .await
            .ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use futures::FutureExt;
    use isthmus_replication::names::GroupName;

    use super::*;

    fn range(partition: u16, bytes: usize) -> RangeFrame {
        RangeFrame {
            shard: Shard {
                group: GroupName::parse("default").unwrap(),
                partition,
            },
            generation: 1,
            header: Bytes::new(),
            body: vec![0; bytes].into(),
        }
    }

    #[test]
    fn a_shards_ranges_wait_for_room_without_delaying_other_shards() {
        let window = limits::LANE_WINDOW_BYTES as usize;
        let shards = [range(0, 0).shard, range(1, 0).shard];
        let transit = Transit::new(shards.iter());
        let room = |partition, bytes| transit.room(&range(partition, bytes)).now_or_never();
        let first = room(0, window / 2 + 1).unwrap().unwrap();
        assert!(room(0, window / 2).is_none());
        assert!(room(1, window / 2).unwrap().is_some());
        drop(first);
        let larger = room(0, 2 * window).unwrap().unwrap();
        assert!(room(0, 1).is_none());
        drop(larger);
        assert!(room(0, 1).unwrap().is_some());
        assert!(room(7, 1).unwrap().is_none());
    }
}
