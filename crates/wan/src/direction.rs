//! One direction of one connection: read, hold until due, write.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use crate::conditions::Path;

/// Maximum number of bytes in flight in one direction of one connection: twice the product of 300
/// ms and 100 Mb/s.
const UNDER_WAY: usize = 8 * 1024 * 1024;
const CHUNK: usize = 64 * 1024;
const CHUNKS_UNDER_WAY: usize = 16 * 1024;

/// How a direction ended before its source closed it normally.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The source reset the connection; the reset has travelled this direction.
    BySource,
    /// The destination accepts no more bytes; the reset still has to travel the other direction.
    ByDestination,
}

enum Travelling {
    Bytes(Vec<u8>, OwnedSemaphorePermit),
    Close,
    Reset,
}

struct Item {
    arrived: Instant,
    jitter_draw: u32,
    what: Travelling,
}

/// Carries `first` and then all bytes from `source` to `destination`, until the source closes.
pub(crate) async fn carry(
    first: Vec<u8>,
    source: ReadHalf<'_>,
    destination: WriteHalf<'_>,
    path: &Path,
) -> Result<(), Broken> {
    let (sender, receiver) = mpsc::channel(CHUNKS_UNDER_WAY);
    let taking = take_in(first, source, path, sender);
    let giving = give_out(receiver, destination, path);
    tokio::pin!(giving);
    tokio::select! {
        outcome = &mut giving => outcome,
        () = taking => giving.await,
    }
}

async fn take_in(first: Vec<u8>, mut source: ReadHalf<'_>, path: &Path, queue: mpsc::Sender<Item>) {
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    let mut chunk = first;
    loop {
        let Ok(mut permit) = Arc::clone(&room).acquire_many_owned(CHUNK as u32).await else {
            return;
        };
        let what = if chunk.is_empty() {
            chunk.resize(CHUNK, 0);
            match source.read(&mut chunk).await {
                Ok(0) => Travelling::Close,
                Err(_) => Travelling::Reset,
                Ok(length) => {
                    let unused = permit.split(CHUNK - length);
                    drop(unused);
                    Travelling::Bytes(chunk[..length].to_vec(), permit)
                }
            }
        } else {
            Travelling::Bytes(std::mem::take(&mut chunk), permit)
        };
        chunk.clear();
        let last = !matches!(what, Travelling::Bytes(..));
        let item = Item {
            arrived: Instant::now(),
            jitter_draw: path.draw_jitter(),
            what,
        };
        if queue.send(item).await.is_err() || last {
            return;
        }
    }
}

async fn give_out(
    mut queue: mpsc::Receiver<Item>,
    mut destination: WriteHalf<'_>,
    path: &Path,
) -> Result<(), Broken> {
    while let Some(item) = queue.recv().await {
        path.due(item.arrived, item.jitter_draw).await;
        match item.what {
            Travelling::Bytes(bytes, permit) => {
                path.carry(bytes.len()).await;
                path.open().await;
                destination
                    .write_all(&bytes)
                    .await
                    .map_err(|_| Broken::ByDestination)?;
                path.count_passed(bytes.len());
                drop(permit);
            }
            Travelling::Close => {
                return destination.shutdown().await.map_err(|_| Broken::ByDestination);
            }
            Travelling::Reset => return Err(Broken::BySource),
        }
    }
    Ok(())
}
