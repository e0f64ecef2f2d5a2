//! Faults planted on purpose, to show that the simulator finds each of them (docs/testing.md).
//!
//! They are compiled in only with the feature `planted`, which only the simulator enables; in every
//! other build [`is`] is `false`.

/// A planted fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Planted {
    /// Of two writes with equal stamps, the one that arrived first stays.
    TieRule = 1,
    /// A write is acknowledged when the log has it, before it is read back.
    AcknowledgedEarly,
    /// A range is accepted wherever it begins.
    RangeRule,
    /// A stamp may be behind without limit.
    MaxBehind,
    /// A cursor is one higher than the range that moved it.
    CursorPlusOne,
    /// A value's expiry is dropped when the change is applied.
    Expiry,
    /// Stamps ahead are judged by the reader's clock.
    ReaderClock,
    /// The acknowledgement of one write in eight is lost on its way to the client.
    LostOutcome,
    /// Changes of another region are forwarded again.
    ForwardedAgain,
    /// A lane sends its ranges as ranges of another shard.
    ShardSwapped,
    /// Every run of every process writes under the same identifier.
    WriterReused,
    /// Positions of an ended life count as positions of the current life, even above the fork.
    LifeIgnored,
    /// A range may follow any message at its sequence.
    PreviousIgnored,
    /// A message may count twice.
    MessageId,
    /// Agents do not give back their writes from a lost tail.
    NotGivenBack,
    /// Stamps do not follow the applied stamps.
    StampsIgnoreApplied,
    /// A checkpoint records a log position that is later than its cells.
    CheckpointLate,
    /// A change loses its `seen` when it replaces another in conflation.
    SeenDropped,
    /// A write that loses on arrival counts as known if its winner has seen a greater stamp of its
    /// region.
    SeenByRegion,
    /// Expired values are swept by the clock of the process that holds them.
    SweptByOwnClock,
    /// Agents do not give back their writes from a lost tail if a peer was the first to notice the
    /// loss.
    DoubtGivesNothingBack,
    /// Tombstones are collected once every region has them, although an older put may still arrive.
    CollectedByCursors,
    /// The source of a sync leaves its tombstones out.
    SyncWithoutTombstones,
    /// A cell of a sync replaces a newer one.
    RepairPicksOlder,
}

impl Planted {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::TieRule,
        Self::AcknowledgedEarly,
        Self::RangeRule,
        Self::MaxBehind,
        Self::CursorPlusOne,
        Self::Expiry,
        Self::ReaderClock,
        Self::LostOutcome,
        Self::ForwardedAgain,
        Self::ShardSwapped,
        Self::WriterReused,
        Self::LifeIgnored,
        Self::PreviousIgnored,
        Self::MessageId,
        Self::NotGivenBack,
        Self::StampsIgnoreApplied,
        Self::CheckpointLate,
        Self::SeenDropped,
        Self::SeenByRegion,
        Self::SweptByOwnClock,
        Self::DoubtGivesNothingBack,
        Self::CollectedByCursors,
        Self::SyncWithoutTombstones,
        Self::RepairPicksOlder,
    ];

    /// Its name on the simulator's command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TieRule => "tie-rule",
            Self::AcknowledgedEarly => "acknowledged-early",
            Self::RangeRule => "range-rule",
            Self::MaxBehind => "max-behind",
            Self::CursorPlusOne => "cursor-plus-one",
            Self::Expiry => "expiry",
            Self::ReaderClock => "reader-clock",
            Self::LostOutcome => "lost-outcome",
            Self::ForwardedAgain => "forwarded-again",
            Self::ShardSwapped => "shard-swapped",
            Self::WriterReused => "writer-reused",
            Self::LifeIgnored => "life-ignored",
            Self::PreviousIgnored => "previous-ignored",
            Self::MessageId => "message-id",
            Self::NotGivenBack => "not-given-back",
            Self::StampsIgnoreApplied => "stamps-ignore-applied",
            Self::CheckpointLate => "checkpoint-late",
            Self::SeenDropped => "seen-dropped",
            Self::SeenByRegion => "seen-by-region",
            Self::SweptByOwnClock => "swept-by-own-clock",
            Self::DoubtGivesNothingBack => "doubt-gives-nothing-back",
            Self::CollectedByCursors => "collected-by-cursors",
            Self::SyncWithoutTombstones => "sync-without-tombstones",
            Self::RepairPicksOlder => "repair-picks-older",
        }
    }
}

#[cfg(feature = "planted")]
static IN: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// Plants a fault in this process.
#[cfg(feature = "planted")]
pub fn plant(fault: Planted) {
    IN.store(fault as u8, std::sync::atomic::Ordering::Relaxed);
}

/// Whether `fault` was planted in this process.
#[cfg(feature = "planted")]
#[must_use]
pub fn is(fault: Planted) -> bool {
    IN.load(std::sync::atomic::Ordering::Relaxed) == fault as u8
}

/// Whether `fault` was planted: always false.
#[cfg(not(feature = "planted"))]
#[must_use]
pub const fn is(_fault: Planted) -> bool {
    false
}
