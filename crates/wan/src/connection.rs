//! One proxied connection, from the accepted socket to its end.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::conditions::Path;
use crate::direction::{Broken, carry};

/// Maximum number of bytes read from a dialler before the path to the target is open.
const EARLY_BYTES: usize = 64 * 1024;

/// The two directions of a connection, seen from the dialler.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) there: Arc<Path>,
    pub(crate) back: Arc<Path>,
}

impl Route {
    async fn open(&self) {
        loop {
            self.there.open().await;
            self.back.open().await;
            let now = tokio::time::Instant::now();
            if !self.there.conditions().cut.holds(now) {
                return;
            }
        }
    }

    async fn swallowed(&self) {
        tokio::select! {
            () = self.there.swallowed() => {}
            () = self.back.swallowed() => {}
        }
    }

    async fn reset_after(&self, there: u64, back: u64) {
        tokio::select! {
            () = self.there.reset_after(there) => {}
            () = self.back.reset_after(back) => {}
        }
    }
}

/// Serves one accepted connection until both ends have closed it, one has reset it, or a reset
/// command arrives.
pub(crate) async fn serve(mut dialler: TcpStream, target: SocketAddr, route: Route) {
    let resets = (route.there.conditions().resets, route.back.conditions().resets);
    let life = async {
        let Some(early) = wait_for_way(&mut dialler, &route).await else {
            return End::Quiet;
        };
        let Ok(mut far) = TcpStream::connect(target).await else {
            return End::Reset(None);
        };
        if dialler.set_nodelay(true).is_err() || far.set_nodelay(true).is_err() {
            return End::Reset(Some(far));
        }
        let end = tokio::select! {
            ended = relay(early, &mut dialler, &mut far, &route) => ended,
            () = route.swallowed() => {
                tokio::join!(lose(&mut dialler), lose(&mut far));
                return End::Quiet;
            }
            () = route.reset_after(resets.0, resets.1) => Err(()),
        };
        match end {
            Ok(()) => End::Quiet,
            Err(()) => End::Reset(Some(far)),
        }
    };
    if let End::Reset(far) = life.await {
        for stream in [Some(dialler), far].into_iter().flatten() {
            if let Err(error) = stream.set_zero_linger() {
                tracing::debug!(%error, "the connection closes without a reset");
            }
        }
    }
}

enum End {
    Quiet,
    Reset(Option<TcpStream>),
}

/// Returns the bytes that the dialler sent until both directions were open; `None` if it closed the
/// connection or fell into a black hole before.
async fn wait_for_way(dialler: &mut TcpStream, route: &Route) -> Option<Vec<u8>> {
    let mut early = Vec::new();
    let mut chunk = vec![0; EARLY_BYTES];
    loop {
        let room = EARLY_BYTES - early.len();
        tokio::select! {
            biased;
            () = route.swallowed() => {
                lose(dialler).await;
                return None;
            }
            () = route.open() => return Some(early),
            read = dialler.read(&mut chunk[..room]), if room > 0 => match read {
                Ok(0) | Err(_) => return None,
                Ok(length) => early.extend_from_slice(&chunk[..length]),
            },
        }
    }
}

async fn relay(
    early: Vec<u8>,
    dialler: &mut TcpStream,
    far: &mut TcpStream,
    route: &Route,
) -> Result<(), ()> {
    let (from_dialler, to_dialler) = dialler.split();
    let (from_far, to_far) = far.split();
    let there = ended(carry(early, from_dialler, to_far, &route.there), &route.back);
    let back = ended(carry(Vec::new(), from_far, to_dialler, &route.back), &route.there);
    tokio::try_join!(there, back).map(|_| ())
}

/// The source learns of a broken destination only once the other direction is open.
async fn ended(direction: impl Future<Output = Result<(), Broken>>, other: &Path) -> Result<(), ()> {
    match direction.await {
        Ok(()) => Ok(()),
        Err(Broken::BySource) => Err(()),
        Err(Broken::ByDestination) => {
            other.open().await;
            Err(())
        }
    }
}

async fn lose(stream: &mut TcpStream) {
    let mut lost = vec![0; 16 * 1024];
    while matches!(stream.read(&mut lost).await, Ok(length) if length > 0) {}
}
