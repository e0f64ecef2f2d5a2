//! A log's name, a fold one message further, and a peer's doubt.

use super::*;
use crate::coordinates::{Cursor, Shard};
use crate::fold::Message;
use crate::header::Lineage;
use crate::names::{GroupName, ProcessName, RegionName, SetName};
use crate::peer::PeerDoubt;
use crate::time::Wall;

pub(super) fn log(region: &str) -> LogName {
    LogName {
        set: SetName::parse("shop").unwrap(),
        region: RegionName::parse(region).unwrap(),
        shard: Shard {
            group: GroupName::parse("default").unwrap(),
            partition: 0,
        },
    }
}

/// The fold after one more message, which is malformed.
pub(super) fn passed(mut fold: Fold) -> Fold {
    let malformed = crate::header::HeaderError::Malformed("no header");
    let message = Message {
        sequence: fold.at().sequence.next(),
        timestamp: Wall::default(),
        token: None,
        header: Err(&malformed),
    };
    fold.apply(message).unwrap();
    fold
}

pub(super) fn doubt(fold: &Fold, cursor: Cursor, landmarks: Vec<Cursor>, lineage: Lineage) -> PeerDoubt {
    PeerDoubt {
        shard: fold.log().shard.clone(),
        gateway: ProcessName::parse("gw-1").unwrap(),
        peer: RegionName::parse("us-east").unwrap(),
        cursor,
        landmarks,
        lineage,
    }
}
