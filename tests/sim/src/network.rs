//! The network between regions: byte streams with delays, cuts, breaks and machines that vanish.
//!
//! A stream is two pipes, one per direction. Bytes arrive in order, after the delay at the time
//! they were written. While the direction is cut they wait, as TCP keeps retransmitting. A break
//! loses the bytes in flight, and both ends notice it. If a machine vanishes, nobody is notified.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use isthmus_link::{AcceptError, Accepts, Connection, DialError, End, LinkLimits, Links, Peer, Refusal};
use isthmus_replication::names::RegionName;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::garble::Garbled;
use crate::pipe::{Half, Pipe};
use crate::time::Time;

/// Bytes in flight in one direction before a writer waits, as with a TCP window.
const WINDOW: usize = 512 * 1024;
/// The window of a path with very little bandwidth.
const LEAST_WINDOW: usize = 4 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: usize = 64;

/// The network. Clones share it.
#[derive(Clone)]
pub struct Network(Arc<Mutex<State>>);

struct State {
    time: Time,
    random: fastrand::Rng,
    listeners: BTreeMap<SocketAddr, Listening>,
    dials: Vec<Dial>,
    pipes: Vec<Arc<Mutex<Pipe>>>,
    garbled: Vec<Garbled>,
    paths: BTreeMap<(RegionName, RegionName), Path>,
}

struct Listening {
    region: RegionName,
    node: usize,
    backlog: mpsc::Sender<Connection>,
}

struct Dial {
    due: Duration,
    region: RegionName,
    node: usize,
    address: SocketAddr,
    answer: oneshot::Sender<io::Result<Connection>>,
}

/// One direction between two regions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Path {
    /// The least time that bytes take.
    pub delay: Duration,
    /// The most that they take beyond `delay`.
    pub jitter: Duration,
    /// Whether nothing gets through.
    pub cut: bool,
    /// The bandwidth; `None` if there is no bound.
    pub bytes_per_second: Option<u32>,
    /// Whether the body of the next range is changed.
    pub garble: bool,
    /// When all bytes written so far have passed the bandwidth limit.
    free_from: Duration,
}

impl Path {
    /// A path on which bytes take `delay`, and up to `jitter` more.
    pub fn new(delay: Duration, jitter: Duration) -> Self {
        Self {
            delay,
            jitter,
            ..Self::default()
        }
    }
}

impl Network {
    /// A network whose directions have the given delays; other directions have none.
    pub fn new(time: Time, seed: u64, paths: BTreeMap<(RegionName, RegionName), Path>) -> Self {
        Self(Arc::new(Mutex::new(State {
            time,
            random: fastrand::Rng::with_seed(seed),
            listeners: BTreeMap::new(),
            dials: Vec::new(),
            pipes: Vec::new(),
            garbled: Vec::new(),
            paths,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes one direction.
    pub fn change(&self, from: &RegionName, to: &RegionName, change: impl FnOnce(&mut Path)) {
        change(self.state().paths.entry((from.clone(), to.clone())).or_default());
    }

    /// Breaks every stream between two regions: bytes in flight are lost, and both ends notice it.
    /// Returns the number of directions broken.
    pub fn break_streams(&self, one: &RegionName, other: &RegionName) -> usize {
        let state = self.state();
        let between = |pipe: &Pipe| {
            (pipe.from == *one && pipe.to == *other) || (pipe.from == *other && pipe.to == *one)
        };
        let mut broken = 0;
        for pipe in &state.pipes {
            let mut pipe = lock(pipe);
            if between(&pipe) && !pipe.is_over() {
                pipe.break_off();
                broken += 1;
            }
        }
        broken
    }

    /// A machine vanishes: nothing of it arrives any more, and nobody is notified.
    pub fn vanish(&self, node: usize) {
        for pipe in &self.state().pipes {
            lock(pipe).vanish(node);
        }
    }

    /// A machine stops listening.
    pub fn stop_listening(&self, node: usize) {
        self.state()
            .listeners
            .retain(|_, listening| listening.node != node);
    }

    /// Creates the links of a machine.
    pub fn machine(&self, region: &RegionName, node: usize) -> SimLinks {
        SimLinks {
            network: self.clone(),
            region: region.clone(),
            node,
        }
    }

    /// Delivers everything that is due.
    pub fn advance(&self) {
        let now = self.state().time.now();
        self.answer_dials(now);
        let mut state = self.state();
        state.pipes.retain(|pipe| !lock(pipe).is_forgotten());
        let State { pipes, paths, .. } = &mut *state;
        for pipe in pipes {
            let mut pipe = lock(pipe);
            let cut = paths
                .get(&(pipe.from.clone(), pipe.to.clone()))
                .is_some_and(|path| path.cut);
            pipe.deliver(now, cut);
        }
    }

    fn answer_dials(&self, now: Duration) {
        let mut state = self.state();
        let dials = std::mem::take(&mut state.dials);
        for dial in dials {
            if dial.answer.is_closed() {
                continue;
            }
            let Some(to) = state
                .listeners
                .get(&dial.address)
                .map(|listening| listening.region.clone())
            else {
                if dial.due <= now {
                    // The dialler may have given up.
                    let _ = dial.answer.send(Err(io::ErrorKind::ConnectionRefused.into()));
                } else {
                    state.dials.push(dial);
                }
                continue;
            };
            let cut = |from: &RegionName, to: &RegionName| {
                state
                    .paths
                    .get(&(from.clone(), to.clone()))
                    .is_some_and(|path| path.cut)
            };
            if dial.due > now || cut(&dial.region, &to) || cut(&to, &dial.region) {
                state.dials.push(dial);
            } else {
                state.connect(self, dial);
            }
        }
    }

    pub(crate) fn is_to_garble(&self, from: &RegionName, to: &RegionName) -> bool {
        let state = self.state();
        let path = state.paths.get(&(from.clone(), to.clone()));
        path.is_some_and(|path| path.garble)
    }

    pub(crate) fn garbled(&self, from: &RegionName, to: &RegionName, garbled: Garbled) {
        self.change(from, to, |path| path.garble = false);
        self.state().garbled.push(garbled);
    }

    /// Changes no range from now on.
    pub fn garble_nothing(&self) {
        for path in self.state().paths.values_mut() {
            path.garble = false;
        }
    }

    /// Takes the ranges that were changed.
    pub fn take_garbled(&self) -> Vec<Garbled> {
        std::mem::take(&mut self.state().garbled)
    }

    /// How many bytes may be in flight from one region to the other before a writer waits.
    pub(crate) fn window(&self, from: &RegionName, to: &RegionName) -> usize {
        let state = self.state();
        let path = state.paths.get(&(from.clone(), to.clone()));
        let rate = path.and_then(|path| path.bytes_per_second);
        rate.map_or(WINDOW, |rate| WINDOW.min(rate as usize / 2).max(LEAST_WINDOW))
    }

    /// When this many bytes arrive if they are written now.
    pub(crate) fn arrival(&self, from: &RegionName, to: &RegionName, bytes: usize) -> Duration {
        let mut state = self.state();
        let State {
            time, random, paths, ..
        } = &mut *state;
        let path = paths.entry((from.clone(), to.clone())).or_default();
        let mut through = time.now();
        if let Some(rate) = path.bytes_per_second {
            through =
                through.max(path.free_from) + Duration::from_secs(1).mul_f64(bytes as f64 / f64::from(rate));
            path.free_from = through;
        }
        through + path.delay + path.jitter.mul_f64(random.f64())
    }
}

impl State {
    fn connect(&mut self, network: &Network, dial: Dial) {
        let Some(listening) = self.listeners.get(&dial.address) else {
            return;
        };
        let pipe = |from: (&RegionName, usize), to: (&RegionName, usize)| {
            Arc::new(Mutex::new(Pipe::new(from.0.clone(), from.1, to.0.clone(), to.1)))
        };
        let (dialler, acceptor) = ((&dial.region, dial.node), (&listening.region, listening.node));
        let (there, back) = (pipe(dialler, acceptor), pipe(acceptor, dialler));
        let half = |reads: &Arc<Mutex<Pipe>>, writes: &Arc<Mutex<Pipe>>| {
            let time = self.time.clone();
            Box::new(Half::new(
                network.clone(),
                time,
                Arc::clone(reads),
                Arc::clone(writes),
            ))
        };
        let limits = LinkLimits::default();
        let of = |region: &RegionName, end| Peer::new(region.clone(), end, [].into());
        let dialled = Connection::new(
            of(&listening.region, End::Acceptor),
            dial.address,
            half(&back, &there),
            &limits,
        );
        let accepted = Connection::new(
            of(&dial.region, End::Dialer),
            dial.address,
            half(&there, &back),
            &limits,
        );
        if listening.backlog.try_send(accepted).is_ok() {
            // The dialler may have given up; then its half is dropped.
            let _ = dial.answer.send(Ok(dialled));
        }
        self.pipes.extend([there, back]);
    }
}

fn lock(pipe: &Arc<Mutex<Pipe>>) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A machine's place in the network.
pub struct SimLinks {
    network: Network,
    region: RegionName,
    node: usize,
}

impl SimLinks {
    /// Listens at `address`.
    pub fn listen(&self, address: SocketAddr) -> SimListener {
        let (backlog, connections) = mpsc::channel(BACKLOG);
        let listening = Listening {
            region: self.region.clone(),
            node: self.node,
            backlog,
        };
        self.network.state().listeners.insert(address, listening);
        SimListener(connections)
    }
}

impl fmt::Debug for SimLinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "links of {}", self.region)
    }
}

#[async_trait]
impl Links for SimLinks {
    async fn dial(
        &self,
        address: SocketAddr,
        region: &RegionName,
        limits: &LinkLimits,
    ) -> Result<Connection, DialError> {
        let (answer, answered) = oneshot::channel();
        {
            let there = self.network.arrival(&self.region, region, 0);
            let back = self.network.arrival(region, &self.region, 0);
            let mut state = self.network.state();
            let now = state.time.now();
            state.dials.push(Dial {
                due: there + back.saturating_sub(now),
                region: self.region.clone(),
                node: self.node,
                address,
                answer,
            });
        }
        match timeout(limits.connect, answered).await {
            Ok(Ok(Ok(connection))) => Ok(connection),
            Ok(Ok(Err(source))) => Err(DialError::Connect {
                region: region.clone(),
                address,
                source,
            }),
            Ok(Err(_)) | Err(_) => Err(DialError::NoAnswer {
                region: region.clone(),
                address,
                timeout: limits.connect,
            }),
        }
    }

    async fn until_refused(&self, _peer: &Peer) -> Refusal {
        std::future::pending().await
    }
}

/// Accepts the connections of a machine.
pub struct SimListener(mpsc::Receiver<Connection>);

#[async_trait]
impl Accepts for SimListener {
    async fn next(&mut self) -> Result<Connection, AcceptError> {
        match self.0.recv().await {
            Some(connection) => Ok(connection),
            None => std::future::pending().await,
        }
    }
}
