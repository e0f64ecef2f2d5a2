//! The clocks of a process. The core reads no clock: it receives [`Now`] as a value.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use isthmus_replication::time::{Mono, Now, Wall};
use tokio::time::Instant;

/// Names a file whose content, such as `+8h` or `-300ms`, is added to wall time. Only for test
/// setups.
pub const OFFSET_FILE_VARIABLE: &str = "ISTHMUS_CLOCK_OFFSET_FILE";

/// Minimum interval between two reads of the offset file.
const OFFSET_INTERVAL: Duration = Duration::from_millis(50);

/// The clocks of this process. Clones share them.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    wall: Source,
}

/// The source of wall time. Monotonic time always comes from tokio, whose clock a simulation can
/// pause.
enum Source {
    System,
    Offset(OffsetFile),
    Given(Box<dyn Fn() -> Wall + Send + Sync>),
}

#[derive(Debug)]
struct OffsetFile {
    path: PathBuf,
    read_at: AtomicU64,
    micros: AtomicI64,
    broken: AtomicBool,
}

/// A clock that prevents a process from starting.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// The offset file can't be read.
    #[error("the clock offset file {} cannot be read: {source}; write 0s into it, or unset {OFFSET_FILE_VARIABLE}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        source: std::io::Error,
    },
    /// The offset file contains something other than an offset.
    #[error("the clock offset file {} holds {content:?}; write an offset such as +8h, -300ms or 0s", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Its content, truncated to 64 characters.
        content: String,
    },
    /// Other machines can reach the process.
    #[error(
        "a clock offset is for laboratories on one machine and {listener} is not a loopback address; unset {OFFSET_FILE_VARIABLE}"
    )]
    NotLoopback {
        /// The listener that they can reach.
        listener: SocketAddr,
    },
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub fn system() -> Self {
        Self::of(Source::System)
    }

    /// A clock whose wall time comes from `wall`.
    #[must_use]
    pub fn with_wall(wall: impl Fn() -> Wall + Send + Sync + 'static) -> Self {
        Self::of(Source::Given(Box::new(wall)))
    }

    fn of(wall: Source) -> Self {
        Self(Arc::new(Inner {
            started: Instant::now(),
            wall,
        }))
    }

    /// The machine's clocks plus the offset in the file at `path`, which is reread as it changes.
    ///
    /// # Errors
    /// [`ClockError`] if the file can't be read or contains no offset.
    pub fn with_offset_file(path: &Path) -> Result<Self, ClockError> {
        let micros = AtomicI64::new(read_offset(path)?);
        let offset = OffsetFile {
            path: path.to_owned(),
            read_at: AtomicU64::new(0),
            micros,
            broken: AtomicBool::new(false),
        };
        Ok(Self::of(Source::Offset(offset)))
    }

    /// The clock that the environment selects: with an offset if [`OFFSET_FILE_VARIABLE`] is set.
    ///
    /// # Errors
    /// [`ClockError`], also if one of `listeners` is not a loopback address.
    pub fn from_environment(listeners: &[SocketAddr]) -> Result<Self, ClockError> {
        Self::from_variable(
            std::env::var_os(OFFSET_FILE_VARIABLE).map(PathBuf::from),
            listeners,
        )
    }

    fn from_variable(path: Option<PathBuf>, listeners: &[SocketAddr]) -> Result<Self, ClockError> {
        let Some(path) = path else {
            return Ok(Self::system());
        };
        match listeners.iter().find(|listener| !listener.ip().is_loopback()) {
            Some(listener) => Err(ClockError::NotLoopback { listener: *listener }),
            None => Self::with_offset_file(&path),
        }
    }

    /// Both clocks, read together.
    #[must_use]
    pub fn now(&self) -> Now {
        let mono = self.mono();
        let wall = match &self.0.wall {
            Source::System => of_system(0),
            Source::Offset(offset) => of_system(offset.micros(mono)),
            Source::Given(wall) => wall(),
        };
        Now { mono, wall }
    }

    /// Monotonic time since the clock was created.
    #[must_use]
    pub fn mono(&self) -> Mono {
        Mono::from_nanos(u64::try_from(self.0.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// The instant of `mono` for tokio's timers.
    #[must_use]
    pub fn instant(&self, mono: Mono) -> tokio::time::Instant {
        let distant = Duration::from_secs(10 * 365 * 24 * 3600);
        self.0.started + Duration::from_nanos(mono.nanos()).min(distant)
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::System => f.write_str("System"),
            Self::Offset(offset) => offset.fmt(f),
            Self::Given(_) => f.write_str("Given"),
        }
    }
}

fn of_system(offset: i64) -> Wall {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let micros = i64::try_from(unix.as_micros()).unwrap_or(i64::MAX);
    Wall::from_micros(u64::try_from(micros.saturating_add(offset)).unwrap_or(0))
}

impl OffsetFile {
    fn micros(&self, now: Mono) -> i64 {
        let read_at = self.read_at.load(Ordering::Relaxed);
        let due = now.since(Mono::from_nanos(read_at)) >= OFFSET_INTERVAL;
        if due
            && self
                .read_at
                .compare_exchange(read_at, now.nanos(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            self.read_again();
        }
        self.micros.load(Ordering::Relaxed)
    }

    fn read_again(&self) {
        match read_offset(&self.path) {
            Ok(micros) => {
                self.broken.store(false, Ordering::Relaxed);
                if self.micros.swap(micros, Ordering::Relaxed) != micros {
                    tracing::warn!(micros, "the clock offset changed");
                }
            }
            Err(error) if !self.broken.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%error, "the clock keeps its offset");
            }
            Err(_) => {}
        }
    }
}

fn read_offset(path: &Path) -> Result<i64, ClockError> {
    let content = std::fs::read_to_string(path).map_err(|source| ClockError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    parse_offset(content.trim()).ok_or_else(|| ClockError::Malformed {
        path: path.to_owned(),
        content: content.chars().take(64).collect(),
    })
}

fn parse_offset(text: &str) -> Option<i64> {
    let (sign, length) = match text.strip_prefix('-') {
        Some(length) => (-1, length),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let length = humantime::parse_duration(length).ok()?;
    i64::try_from(length.as_micros()).ok().map(|micros| sign * micros)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn offset_of(clock: &Clock) -> i64 {
        let system = i64::try_from(Clock::system().now().wall.micros()).unwrap();
        i64::try_from(clock.now().wall.micros()).unwrap() - system
    }

    #[test]
    fn offsets_have_a_sign_and_a_unit() {
        assert_eq!(parse_offset("+8h"), Some(8 * HOUR));
        assert_eq!(parse_offset("-300ms"), Some(-300_000));
        assert_eq!(parse_offset("0s"), Some(0));
        for bad in ["", "8", "+-1s", "soon"] {
            assert_eq!(parse_offset(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_offset_file_is_followed_and_ignored_while_broken() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "+8h\n").unwrap();
        let clock = Clock::with_offset_file(file.path()).unwrap();
        assert!((offset_of(&clock) - 8 * HOUR).abs() < HOUR);

        std::fs::write(file.path(), "broken").unwrap();
        let Source::Offset(offset) = &clock.0.wall else {
            panic!("the clock has no offset file");
        };
        offset.read_again();
        assert!((offset_of(&clock) - 8 * HOUR).abs() < HOUR);

        std::fs::write(file.path(), "-1h").unwrap();
        let until = Instant::now() + Duration::from_secs(5);
        while offset_of(&clock) > 0 {
            assert!(Instant::now() < until, "the change was not followed");
            std::thread::yield_now();
        }
        assert!((offset_of(&clock) + HOUR).abs() < HOUR / 2);
    }

    #[test]
    fn an_offset_is_refused_beyond_loopback_and_when_malformed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let at =
            |listener: &str| Clock::from_variable(Some(file.path().to_owned()), &[listener.parse().unwrap()]);
        assert!(matches!(at("0.0.0.0:7121"), Err(ClockError::NotLoopback { .. })));
        assert!(matches!(at("127.0.0.1:7121"), Err(ClockError::Malformed { .. })));
        std::fs::write(file.path(), "0s").unwrap();
        assert!(at("127.0.0.1:7121").is_ok());
        assert!(Clock::from_variable(None, &["0.0.0.0:1".parse().unwrap()]).is_ok());
    }

    #[test]
    fn monotonic_time_does_not_go_back() {
        let clock = Clock::system();
        let first = clock.mono();
        assert!(clock.now().mono >= first);
        assert!(clock.instant(first) <= tokio::time::Instant::now());
        assert!(clock.instant(Mono::from_nanos(u64::MAX)) > tokio::time::Instant::now());
    }
}
