//! Records a history: random writes in every region, reads of sessions that move from region to
//! region, then a read of every agent.

mod file;
mod reader;
mod recent;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures::stream::{StreamExt, TryStreamExt, iter};
use reqwest::Client;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::client::agreement;
use crate::client::http::{self, HttpError};
use crate::client::kv::{self, Place};
use crate::folder::run_file::RunFile;
use crate::history::HistoryEntry;
use crate::output::note;
pub(crate) use file::Counts;
use reader::Reader;
use recent::Recent;
use writer::Writer;

const ENTRIES_WAITING: usize = 4096;
const READS_IN_FLIGHT: usize = 16;
const READ_WITHIN: Duration = Duration::from_secs(30);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// What to record.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    /// The file of the history.
    pub(crate) file: PathBuf,
    pub(crate) bucket: String,
    /// How long writes run.
    pub(crate) lasts: Duration,
    /// The number of keys, which are written again and again.
    pub(crate) keys: u64,
    /// The number of clients that write at a time in each region.
    pub(crate) writers: u64,
    /// The number of clients that read with a session at a time, for each region.
    pub(crate) readers: u64,
    /// How long all agents may take to agree after the last write.
    pub(crate) settle: Duration,
}

#[derive(Debug)]
pub(crate) struct Recorded {
    /// The outcomes of the writes.
    pub(crate) counts: Counts,
    /// How long after the last write all agents agreed; `None` if not in time.
    pub(crate) agreed_after: Option<Duration>,
}

/// Why a recording failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("{path} cannot be written")]
    Unwritable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{agent} could not be read")]
    Unread {
        agent: String,
        #[source]
        source: HttpError,
    },
    #[error("the history is no longer being written")]
    NoFile,
}

#[derive(Clone)]
struct Recorder {
    entries: mpsc::Sender<HistoryEntry>,
    began: Instant,
    next_write: Arc<AtomicU64>,
    recent: Arc<Recent>,
    client: Client,
}

impl Recording {
    /// Writes and reads until the time is over, waits until all agents agree, then reads each key
    /// from each agent.
    pub(crate) async fn record(&self, run: &RunFile) -> Result<Recorded, RecordError> {
        let (entries, received) = mpsc::channel(ENTRIES_WAITING);
        let path = self.file.clone();
        let stored = tokio::task::spawn_blocking(move || file::store(&path, received));
        let recorder = Recorder {
            entries,
            began: Instant::now(),
            next_write: Arc::new(AtomicU64::new(1)),
            recent: Arc::default(),
            client: http::client(),
        };
        let recorded = self.traffic_and_reads(run, recorder).await;
        let counts = stored.await.map_err(|_| RecordError::NoFile)??;
        Ok(Recorded {
            counts,
            agreed_after: recorded?,
        })
    }

    async fn traffic_and_reads(
        &self,
        run: &RunFile,
        recorder: Recorder,
    ) -> Result<Option<Duration>, RecordError> {
        self.traffic(run, &recorder).await?;
        let ended = Instant::now();
        let agreed = agreement::reached(&recorder.client, run, self.settle).await;
        if !agreed {
            note(format_args!(
                "isthmus: the agents do not agree after {} s; they are read as they are",
                self.settle.as_secs()
            ));
        }
        let agreed_after = agreed.then(|| ended.elapsed());
        recorder.read_all(run, &self.bucket, self.keys).await?;
        Ok(agreed_after)
    }

    async fn traffic(&self, run: &RunFile, recorder: &Recorder) -> Result<(), RecordError> {
        let mut clients = JoinSet::new();
        let until = recorder.began + self.lasts;
        for (region, processes) in run.regions_in_order() {
            let doors: Vec<String> = processes.agents.iter().map(|agent| agent.http.clone()).collect();
            for number in 0..self.writers {
                let writer = Writer {
                    region: region.to_owned(),
                    bucket: self.bucket.clone(),
                    doors: doors.clone(),
                    door: number as usize % doors.len().max(1),
                    keys: self.keys,
                    random: Rng::new(),
                };
                clients.spawn(writer.write_until(until, recorder.clone()));
            }
        }
        for _ in 0..self.readers * run.order.len() as u64 {
            let reader = Reader {
                bucket: self.bucket.clone(),
                agents: agents(run),
                random: Rng::new(),
            };
            clients.spawn(reader.read_until(until, recorder.clone()));
        }
        while let Some(done) = clients.join_next().await {
            done.map_err(|_| RecordError::NoFile)??;
        }
        Ok(())
    }
}

/// The `region/name` and the door of every agent.
fn agents(run: &RunFile) -> Vec<(String, String)> {
    run.regions_in_order()
        .flat_map(|(region, processes)| {
            let of_region = processes.agents.iter();
            of_region.map(move |agent| (format!("{region}/{}", agent.name), agent.http.clone()))
        })
        .collect()
}

fn key(number: u64) -> String {
    format!("key-{number:05}")
}

fn text(value: Option<Vec<u8>>) -> Option<String> {
    value.map(|value| String::from_utf8_lossy(&value).into_owned())
}

impl Recorder {
    fn at_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    async fn log(&self, entry: HistoryEntry) -> Result<(), RecordError> {
        self.entries.send(entry).await.map_err(|_| RecordError::NoFile)
    }

    async fn read_all(self, run: &RunFile, bucket: &str, keys: u64) -> Result<(), RecordError> {
        let agents = agents(run);
        let names = agents.iter().map(|(name, _)| name.clone()).collect();
        self.log(HistoryEntry::Agents { agents: names }).await?;
        let reads = agents
            .iter()
            .flat_map(|agent| (0..keys).map(move |number| (agent, number)));
        let read = |((name, door), number): (&(String, String), u64)| {
            let (recorder, name, door) = (&self, name.clone(), door.clone());
            let place = Place {
                bucket: bucket.to_owned(),
                key: key(number),
            };
            async move { recorder.read(&name, &door, place).await }
        };
        iter(reads.map(read))
            .buffer_unordered(READS_IN_FLIGHT)
            .try_collect()
            .await
    }

    async fn read(&self, agent: &str, door: &str, place: Place) -> Result<(), RecordError> {
        let until = Instant::now() + READ_WITHIN;
        let found = loop {
            match kv::get(&self.client, door, &place, None, None).await {
                Ok(found) => break found,
                Err(source) if source.blames_arguments() || Instant::now() >= until => {
                    return Err(RecordError::Unread {
                        agent: agent.to_owned(),
                        source,
                    });
                }
                Err(_) => tokio::time::sleep(ASK_AGAIN_AFTER).await,
            }
        };
        self.log(HistoryEntry::Read {
            agent: agent.to_owned(),
            key: place.key,
            version: found.version,
            value: text(found.value),
        })
        .await
    }
}

impl From<RecordError> for crate::failure::Failure {
    fn from(error: RecordError) -> Self {
        let blames_arguments =
            matches!(&error, RecordError::Unread { source, .. } if source.blames_arguments());
        Self::blaming(blames_arguments, error)
    }
}
