//! Every bound of the core, in one place.

use std::time::Duration;

/// Longest name of a set, region, group, bucket or process, in bytes (design.md section 6).
pub const NAME_BYTES: usize = 32;
/// Longest key, in bytes (design.md section 6).
pub const KEY_BYTES: usize = 1024;
/// Longest field, in bytes.
pub const FIELD_BYTES: usize = 1024;
/// Longest content type, in bytes.
pub const CONTENT_TYPE_BYTES: usize = 255;
/// Most regions of a set; bounds `seen`, the fold state and a header's size.
pub const REGIONS: usize = 64;
/// Most partitions of a group.
pub const PARTITIONS: u16 = 1024;
/// A message's body is closed at this size; one larger value travels alone (design.md section 5).
pub const MESSAGE_BODY_BYTES: usize = 256 * 1024;
/// Most changes in one message.
pub const MESSAGE_CHANGES: usize = 4096;
/// Room that a message needs besides its largest value: header, keys, framing.
pub const MESSAGE_OVERHEAD_BYTES: usize = 64 * 1024;
/// Largest value that any bucket may allow.
pub const VALUE_BYTES: usize = 8 * 1024 * 1024;
/// Message identifiers that a fold remembers. Beyond this number the oldest stamps are forgotten
/// and refused as too late.
pub const RECENT_IDS: usize = 16_384;
/// Lives of one log that are remembered with their forks.
pub const LINEAGE: usize = 64;
/// Marks whose fold state a reader keeps to rewind to.
pub const KEPT_MARKS: usize = 64;
/// Cursors of each other region's log that a gateway keeps for that region, one in
/// [`MARKS_PER_LANDMARK`] marks: over four minutes, twice what NATS' default sync interval can
/// lose.
pub const LANDMARKS: usize = 64;
/// See [`LANDMARKS`].
pub const MARKS_PER_LANDMARK: u64 = 4;
/// Agents that a mark names.
pub const MARK_AGENTS: usize = 64;
/// After a lost tail, the floor of a log stays where it was at the fork for at most this long by
/// the log's clock, while agents may still give back what the tail held.
pub const RESTORE_HOLDS_FLOOR: Duration = Duration::from_secs(3600);
/// Messages whose digests an agent keeps to answer a mark.
pub const KEPT_DIGESTS: usize = 4096;
/// A mark is appended this often (design.md section 5).
pub const MARK_INTERVAL: Duration = Duration::from_secs(1);
/// How far a stamp may be ahead of its message's log timestamp, unless a membership record changes
/// it.
pub const MAX_AHEAD: Duration = Duration::from_millis(500);
/// How far a stamp may be behind the log's highest stamp, unless a membership record changes it.
pub const MAX_BEHIND: Duration = Duration::from_secs(10);
/// The most cells that one page of a listing scans.
pub const LIST_SCANNED: usize = 16_384;
/// Bytes of writes that one shard's writer holds until their outcomes are known; one larger write
/// is accepted alone.
pub const WRITER_BYTES: usize = 32 * 1024 * 1024;
/// Writes that one shard's writer holds until their outcomes are known.
pub const WRITER_WRITES: usize = 65_536;
/// Messages that one shard's writer has in flight.
pub const APPENDS_IN_FLIGHT: usize = 8;
/// While messages are in flight, a message that is not full waits at most this long for more
/// writes.
pub const GROUP_COMMIT: Duration = Duration::from_millis(2);
/// An append without an answer for this long is unanswered; the same bytes are sent again.
pub const APPEND_ANSWER: Duration = Duration::from_secs(1);
/// The least time between two sends of one message.
pub const APPEND_RETRY: Duration = Duration::from_millis(500);
/// After this many unanswered appends in a row, of any messages, the log is not writable.
pub const UNANSWERED_APPENDS: u32 = 3;
/// While the log is not writable, one message is sent this often to learn when it is writable
/// again.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// The most positions of a session token.
pub const SESSION_POSITIONS: usize = 512;
/// Longest text of a session token, in bytes: room for [`SESSION_POSITIONS`] of the longest.
pub const SESSION_BYTES: usize = 128 * SESSION_POSITIONS;
/// How long a lease's entry lives without a renewal (design.md section 7).
pub const LEASE_TTL: Duration = Duration::from_secs(1);
/// A holder renews its lease this often; a failed request is retried after the same time.
pub const LEASE_RENEWAL: Duration = Duration::from_millis(333);
/// A leader sends a beat this often.
pub const LEASE_BEAT: Duration = Duration::from_millis(100);
/// A standby takes over when it has seen no sign of the holder for this long.
pub const LEASE_SILENCE: Duration = Duration::from_millis(500);
/// A request to the lease's bucket without a reply for this long has an unknown outcome.
pub const LEASE_REPLY: Duration = Duration::from_millis(300);
/// Largest frame of a link: one message with the largest value, and room for its framing.
pub const FRAME_BYTES: usize = VALUE_BYTES + 2 * MESSAGE_OVERHEAD_BYTES;
/// Longest text in a frame, in bytes.
pub const FRAME_TEXT_BYTES: usize = 1024;
/// Largest body of a request, in bytes.
pub const CALL_BYTES: usize = 1024 * 1024;
/// Largest body of a response, in bytes: one cell with the largest value.
pub const RESPONSE_BYTES: usize = VALUE_BYTES + MESSAGE_OVERHEAD_BYTES;
/// Most lanes of a link.
pub const LANES: usize = 8192;
/// Requests that one end of a session may have under way at once, and requests of the other end
/// that it answers at once.
pub const CALLS: usize = 64;
/// Events and frames that a session holds until they are polled; beyond this number the session
/// ends.
pub const SESSION_QUEUE: usize = 16_384;
/// A request without an answer for this long counts as unanswered.
pub const CALL_ANSWER: Duration = Duration::from_secs(5);
/// A session's first frame, and the answer to it, must arrive within this time.
pub const GREETING: Duration = Duration::from_secs(10);
/// A session sends a ping this often.
pub const PING_INTERVAL: Duration = Duration::from_millis(250);
/// A session without any frame from the other end for this long is quiet: the region behind it
/// counts as unreachable.
pub const SESSION_QUIET: Duration = Duration::from_secs(2);
/// A session without any frame from the other end for this long is dead. Far above a round trip
/// with its jitter.
pub const SESSION_SILENCE: Duration = Duration::from_secs(5);
/// The most round trips that the estimate of another clock is based on.
pub const CLOCK_SAMPLES: usize = 32;
/// Bytes of ranges that a receiver accepts on one lane above its cursor.
pub const LANE_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Bytes of ranges that a sending lane holds unsent; above this the lane's reader waits.
pub const LANE_AHEAD_BYTES: usize = 1024 * 1024;
/// While ranges are under way, a range that is not full waits at most this long for more messages.
pub const GROUP_FORWARD: Duration = Duration::from_millis(2);
/// A sending lane that has work, but whose peer's cursor has not moved for this long, requests a
/// new connection.
pub const LANE_PROGRESS: Duration = Duration::from_secs(10);
/// A peer's cursor above the end of the log for this long means that the log has lost its tail.
pub const CURSOR_AHEAD: Duration = Duration::from_secs(2);
/// Changes and marks whose age a sending lane keeps separately; beyond this number the newest share
/// the age of the oldest of them.
pub const LAG_ENTRIES: usize = 1024;
/// A range that was appended and not read back for this long is appended again. The time doubles
/// with each append, up to [`READ_BACK_MOST`].
pub const READ_BACK: Duration = Duration::from_secs(2);
/// The longest time between two appends of one range.
pub const READ_BACK_MOST: Duration = Duration::from_secs(16);
/// How far an origin's stamps may be ahead of the receiver's NATS time, unless the set changes it.
pub const MAX_OFFSET: Duration = Duration::from_secs(2);
/// A lane whose ranges are ahead of the clock checks the clock at least this often.
pub const CLOCK_RECHECK: Duration = Duration::from_millis(250);
/// A reader that could not be started is requested again after this time.
pub const READER_RETRY: Duration = Duration::from_millis(500);
/// A lane that suspects a lost tail tries again after this time, unless a new life comes first.
pub const SUSPECT_RETRY: Duration = Duration::from_secs(5);
/// The most ranges of one receiving lane that are appended and not read back.
pub const LANE_APPENDS: usize = 64;
/// Own records above the peer's cursor whose identifiers a sending lane keeps to check a cursor;
/// for a cursor beyond them the lane reads the log again.
pub const LANE_RECORDS: usize = 4096;
/// A lane is behind when a complete range has not left for this long (docs/decisions/0011).
pub const LANE_BEHIND: Duration = Duration::from_millis(100);
/// While a lane is behind and has ranges under way, it gathers what it reads for at least this long
/// before sending.
pub const LANE_GATHER: Duration = Duration::from_millis(20);
/// Bytes under way on a lane when it begins, and the lower bound of its pace; one larger range
/// travels alone.
pub const LANE_LEAST_UNDER_WAY: u64 = 64 * 1024;
/// A range that takes longer than the fastest by more than this means that too much is under way.
pub const LANE_QUEUE: Duration = Duration::from_millis(500);
/// A late range limits the estimate of the path for this long.
pub const LANE_SLOW: Duration = Duration::from_secs(60);
/// A body of a range that was held back is compressed from this size on, in bytes.
pub const PACK_BYTES: usize = 1024;
/// Largest body of a compressed range when decompressed, in bytes: one message with the largest
/// value.
pub const PLAIN_BODY_BYTES: usize = VALUE_BYTES + MESSAGE_OVERHEAD_BYTES;
