//! `isthmus load --history`: random writes in every region, logged, then a read of every agent.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use clap::Args;
use futures::stream::{StreamExt, TryStreamExt, iter};
use reqwest::Client;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::client::agreement;
use crate::client::http::{self, HttpError};
use crate::client::kv::{self, Place};
use crate::failure::Failure;
use crate::folder::run_file::RunFile;
use crate::history::Entry;
use crate::output::{line, note};
use crate::random::Random;

mod file;
mod writer;

use file::{Counts, store};
use writer::Writer;

const ENTRIES_WAITING: usize = 4096;
const READS_IN_FLIGHT: usize = 16;
const READ_WITHIN: Duration = Duration::from_secs(30);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Options of a recorded history.
#[derive(Args, Debug)]
pub(super) struct RecordHistory {
    /// Record random writes in every region to this file, then read every agent
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// How long to write
    #[arg(long, default_value_t = 30, requires = "history")]
    seconds: u64,
    /// How many keys are written, again and again
    #[arg(long, default_value_t = 500, requires = "history", value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,
    /// How many clients write at a time in each region
    #[arg(long, default_value_t = 8, requires = "history", value_parser = clap::value_parser!(u64).range(1..=256))]
    writers: u64,
    /// How long to wait until all agents agree, before they are read
    #[arg(long, default_value = "60s", requires = "history", value_parser = humantime::parse_duration)]
    settle: Duration,
}

#[derive(Clone)]
struct Recorder {
    entries: mpsc::Sender<Entry>,
    began: Instant,
    next_write: Arc<AtomicU64>,
    client: Client,
}

#[derive(Debug, thiserror::Error)]
enum RecordError {
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
    #[error("the history is not being written any more")]
    NoFile,
}

impl RecordHistory {
    pub(super) async fn run(&self, dir: &Path, bucket: &str, json: bool) -> Result<(), Failure> {
        let path = self.history.clone().unwrap_or_default();
        let run = RunFile::of_running(dir)?;
        let (entries, received) = mpsc::channel(ENTRIES_WAITING);
        let file = tokio::task::spawn_blocking({
            let path = path.clone();
            move || store(&path, received)
        });
        let recorder = Recorder {
            entries,
            began: Instant::now(),
            next_write: Arc::new(AtomicU64::new(1)),
            client: http::client(),
        };
        let recorded = self.record(&run, bucket, recorder).await;
        let counts = file.await.map_err(Failure::environment)??;
        recorded?;
        let Counts {
            acknowledged,
            failed,
            unknown,
        } = counts;
        if json {
            line(json!({"acknowledged": acknowledged, "failed": failed, "unknown": unknown}))?;
        } else {
            line(format_args!(
                "{acknowledged} acknowledged, {unknown} unknown, {failed} refused"
            ))?;
            line(format_args!("judge it with: isthmus-check {}", path.display()))?;
        }
        Ok(())
    }

    async fn record(&self, run: &RunFile, bucket: &str, recorder: Recorder) -> Result<(), RecordError> {
        let mut writers = JoinSet::new();
        let until = recorder.began + Duration::from_secs(self.seconds);
        for (region, processes) in run.regions_in_order() {
            let doors: Vec<String> = processes.agents.iter().map(|agent| agent.http.clone()).collect();
            for number in 0..self.writers {
                let writer = Writer {
                    region: region.to_owned(),
                    bucket: bucket.to_owned(),
                    doors: doors.clone(),
                    door: number as usize % doors.len().max(1),
                    keys: self.keys,
                    random: Random::seeded(),
                };
                writers.spawn(writer.write_until(until, recorder.clone()));
            }
        }
        while let Some(done) = writers.join_next().await {
            done.map_err(|_| RecordError::NoFile)??;
        }
        if !agreement::reached(&recorder.client, run, self.settle).await {
            note(format_args!(
                "isthmus: the agents do not agree after {} s; they are read as they are",
                self.settle.as_secs()
            ));
        }
        recorder.read_all(run, bucket, self.keys).await
    }
}

fn key(number: u64) -> String {
    format!("key-{number:05}")
}

impl Recorder {
    fn at_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    async fn log(&self, entry: Entry) -> Result<(), RecordError> {
        self.entries.send(entry).await.map_err(|_| RecordError::NoFile)
    }

    async fn read_all(self, run: &RunFile, bucket: &str, keys: u64) -> Result<(), RecordError> {
        let mut agents = Vec::new();
        for (region, processes) in run.regions_in_order() {
            agents.extend(
                processes
                    .agents
                    .iter()
                    .map(|agent| (format!("{region}/{}", agent.name), agent.http.clone())),
            );
        }
        let names = agents.iter().map(|(name, _)| name.clone()).collect();
        self.log(Entry::Agents { agents: names }).await?;
        let reads = agents
            .iter()
            .flat_map(|agent| (0..keys).map(move |number| (agent, number)));
        let read = |((name, door), number): (&(String, String), u64)| {
            let (recorder, name, door) = (&self, name.clone(), door.clone());
            async move {
                recorder
                    .read(
                        &name,
                        &door,
                        Place {
                            bucket: bucket.to_owned(),
                            key: key(number),
                        },
                    )
                    .await
            }
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
        let value = found
            .value
            .map(|value| String::from_utf8_lossy(&value).into_owned());
        self.log(Entry::Read {
            agent: agent.to_owned(),
            key: place.key,
            version: found.version,
            value,
        })
        .await
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        let blames_arguments =
            matches!(&error, RecordError::Unread { source, .. } if source.blames_arguments());
        Self::blaming(blames_arguments, error)
    }
}
