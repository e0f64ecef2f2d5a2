//! All links and paths of one machine's regions.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::command::{Command, PathReport};
use crate::conditions::{Conditions, Cut, Path, Shape};
use crate::connection::Route;
use crate::link::{self, Link};

type Pair = (String, String);

/// A network between regions. Clones share it; it ends, with every connection, when the last clone
/// is dropped.
#[derive(Clone, Debug)]
pub struct Wan {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    base: Shape,
    paths: Mutex<BTreeMap<Pair, Arc<Path>>>,
    links: Mutex<JoinSet<()>>,
}

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No link connects the two regions.
    #[error("no link joins {from} and {to}; the regions with links are: {known}")]
    UnknownPair {
        /// The first region of the command.
        from: String,
        /// The second region of the command.
        to: String,
        /// Regions that have links, separated by commas.
        known: String,
    },
    /// A heal command names only one region.
    #[error("a heal names two regions, or none to heal every pair")]
    HalfPair,
}

impl Wan {
    /// A network whose directions all start with, and heal to, `base`.
    pub fn new(base: Shape) -> Self {
        let shared = Shared {
            base,
            paths: Mutex::default(),
            links: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Opens a listener at `listen` (loopback; port 0 = any) through which region `from` reaches
    /// the gateway at `target` in region `to`. Must be called inside a tokio runtime.
    pub async fn link(
        &self,
        from: &str,
        to: &str,
        listen: SocketAddr,
        target: SocketAddr,
    ) -> io::Result<Link> {
        if !listen.ip().is_loopback() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{listen} is not a loopback address"),
            ));
        }
        let listener = TcpListener::bind(listen).await?;
        let proxy = listener.local_addr()?;
        let route = Route {
            there: self.path(from, to),
            back: self.path(to, from),
        };
        self.spawn(link::run(listener, target, route));
        Ok(Link {
            from: from.to_owned(),
            to: to.to_owned(),
            proxy,
            target,
        })
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.shared
            .links
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .spawn(task);
    }

    pub(crate) fn downgrade(&self) -> WeakWan {
        WeakWan {
            shared: Arc::downgrade(&self.shared),
        }
    }

    /// Applies a command.
    pub fn apply(&self, command: &Command) -> Result<(), CommandError> {
        match command {
            Command::Cut {
                from,
                to,
                one_way,
                for_ms,
            } => {
                let cut = match for_ms {
                    Some(millis) => Cut::HeldUntil(Instant::now() + Duration::from_millis(*millis)),
                    None => Cut::Held,
                };
                self.change(from, to, *one_way, |conditions| conditions.cut = cut)
            }
            Command::Delay {
                from,
                to,
                one_way,
                delay_ms,
                jitter_ms,
            } => self.change(from, to, *one_way, |conditions| {
                conditions.shape.delay = Duration::from_millis(*delay_ms);
                conditions.shape.jitter = Duration::from_millis(*jitter_ms);
            }),
            Command::Rate {
                from,
                to,
                one_way,
                bytes_per_second,
            } => self.change(from, to, *one_way, |conditions| {
                conditions.shape.rate = *bytes_per_second
            }),
            Command::Reset { from, to } => self.change(from, to, false, |conditions| conditions.resets += 1),
            Command::BlackHole { from, to } => {
                self.change(from, to, false, |conditions| conditions.black_hole = true)
            }
            Command::Heal { from, to } => self.heal(from.as_deref(), to.as_deref()),
            Command::Show => Ok(()),
        }
    }

    /// The conditions of the direction `from → to`, if a link uses it.
    pub fn conditions(&self, from: &str, to: &str) -> Option<Conditions> {
        let pair = (from.to_owned(), to.to_owned());
        self.lock_paths().get(&pair).map(|path| path.conditions())
    }

    /// Every direction, ordered by name.
    pub fn report(&self) -> Vec<PathReport> {
        let now = Instant::now();
        let paths = self.lock_paths();
        paths.iter().map(|(pair, path)| report(pair, path, now)).collect()
    }

    fn heal(&self, from: Option<&str>, to: Option<&str>) -> Result<(), CommandError> {
        let base = self.shared.base;
        let mend = |conditions: &mut Conditions| {
            *conditions = Conditions {
                shape: base,
                resets: conditions.resets,
                ..Conditions::default()
            };
        };
        match (from, to) {
            (Some(from), Some(to)) => self.change(from, to, false, mend),
            (None, None) => {
                self.lock_paths().values().for_each(|path| path.change(mend));
                Ok(())
            }
            _ => Err(CommandError::HalfPair),
        }
    }

    fn change(
        &self,
        from: &str,
        to: &str,
        one_way: bool,
        change: impl Fn(&mut Conditions),
    ) -> Result<(), CommandError> {
        let paths = self.lock_paths();
        let there = paths.get(&(from.to_owned(), to.to_owned()));
        let back = paths.get(&(to.to_owned(), from.to_owned()));
        let (Some(there), Some(back)) = (there, back) else {
            let mut known: Vec<&str> = paths.keys().map(|(from, _)| from.as_str()).collect();
            known.dedup();
            return Err(CommandError::UnknownPair {
                from: from.to_owned(),
                to: to.to_owned(),
                known: known.join(", "),
            });
        };
        there.change(&change);
        if !one_way {
            back.change(&change);
        }
        Ok(())
    }

    fn path(&self, from: &str, to: &str) -> Arc<Path> {
        let pair = (from.to_owned(), to.to_owned());
        let mut paths = self.lock_paths();
        Arc::clone(
            paths
                .entry(pair)
                .or_insert_with(|| Arc::new(Path::new(self.shared.base))),
        )
    }

    fn lock_paths(&self) -> std::sync::MutexGuard<'_, BTreeMap<Pair, Arc<Path>>> {
        self.shared.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handle that does not keep the network alive, for its own control door.
#[derive(Clone, Debug)]
pub(crate) struct WeakWan {
    shared: std::sync::Weak<Shared>,
}

impl WeakWan {
    pub(crate) fn upgrade(&self) -> Option<Wan> {
        self.shared.upgrade().map(|shared| Wan { shared })
    }
}

fn report((from, to): &Pair, path: &Path, now: Instant) -> PathReport {
    let Conditions {
        shape,
        cut,
        black_hole,
        ..
    } = path.conditions();
    PathReport {
        from: from.clone(),
        to: to.clone(),
        delay_ms: shape.delay.as_millis() as u64,
        jitter_ms: shape.jitter.as_millis() as u64,
        bytes_per_second: shape.rate,
        cut: cut.holds(now),
        black_hole,
        passed_bytes: path.passed(),
    }
}
