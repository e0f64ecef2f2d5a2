//! One client that takes a session from agent to agent of all regions and logs the versions it is
//! shown.

use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::time::sleep;

use super::recent::Sight;
use super::{RecordError, Recorder, text};
use crate::client::kv::{self, Place};
use crate::history::HistoryEntry;

const PAUSE: Duration = Duration::from_millis(5);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(50);
/// How long an agent may wait until it has what the session has seen.
const PATIENCE: Duration = Duration::from_secs(1);
/// The percentage of reads that use the session of a recent write instead of the reader's own.
const NEW_SESSIONS_IN_100: u64 = 30;

/// A client that reads in any region.
pub(super) struct Reader {
    pub(super) bucket: String,
    pub(super) agents: Vec<(String, String)>,
    pub(super) random: Rng,
}

impl Reader {
    pub(super) async fn read_until(mut self, until: Instant, recorder: Recorder) -> Result<(), RecordError> {
        let mut own: Option<Sight> = None;
        while Instant::now() < until {
            let anew = self.random.u64(..100) < NEW_SESSIONS_IN_100;
            let sight = match own.take().filter(|_| !anew) {
                Some(sight) => Some(sight),
                None => recorder.recent.draw(&mut self.random),
            };
            own = match sight {
                Some(sight) => self.reread(&recorder, sight).await?,
                None => None,
            };
            sleep(if own.is_some() { PAUSE } else { PAUSE_AFTER_FAILURE }).await;
        }
        Ok(())
    }

    /// Reads the key that a session has seen, on any agent. `None` if the agent refused or did not
    /// answer, which is allowed, or has no version of the key.
    async fn reread(&mut self, recorder: &Recorder, sight: Sight) -> Result<Option<Sight>, RecordError> {
        let Some((agent, door)) = self.random.choice(&self.agents) else {
            return Ok(None);
        };
        let place = Place {
            bucket: self.bucket.clone(),
            key: sight.key,
        };
        let found = kv::get(
            &recorder.client,
            door,
            &place,
            Some(&sight.session),
            Some(PATIENCE),
        )
        .await;
        let Ok(found) = found else { return Ok(None) };
        let entry = HistoryEntry::SessionRead {
            agent: agent.clone(),
            key: place.key.clone(),
            seen: sight.version,
            version: found.version.clone(),
            value: text(found.value),
        };
        recorder.log(entry).await?;
        Ok(found.version.zip(found.session).map(|(version, session)| Sight {
            key: place.key,
            version,
            session,
        }))
    }
}
