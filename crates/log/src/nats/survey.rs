//! The state of a region's NATS, for operators: its server, and the storage and replicas of the
//! region's streams.

use std::time::Duration;

use async_nats::jetstream::stream::DiscardPolicy;
use isthmus_replication::coordinates::Shard;

use super::connection::Connection;
use super::request::StreamInfo;
use crate::LogError;
use crate::ensure::journals;

/// The NATS server that a process is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Its version, such as `2.15.1`.
    pub version: String,
}

/// A stream of the region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surveyed {
    /// Its name.
    pub stream: String,
    /// The bytes stored.
    pub bytes: u64,
    /// The size at which it refuses appends; `None` if it drops the oldest messages, or without a
    /// limit.
    pub refuses_at: Option<u64>,
    /// The configured number of replicas.
    pub replicas: usize,
    /// The number of replicas that are up to date, the leader included.
    pub current: usize,
    /// Whether it has a leader.
    pub led: bool,
}

/// A replica that was not heard from for this long is not counted.
const HEARD: Duration = Duration::from_secs(10);

impl Connection {
    /// The connected server; `None` without a connection.
    #[must_use]
    pub fn server(&self) -> Option<Server> {
        let info = self.client().try_server_info().filter(|_| self.is_connected())?;
        Some(Server {
            name: info.server_name.clone(),
            version: info.version.clone(),
        })
    }

    /// The streams of a region with `shards`: its logs, its journals and its leases.
    ///
    /// # Errors
    /// [`LogError`] of the first stream whose request fails.
    pub async fn survey(&self, shards: &[Shard]) -> Result<Vec<Surveyed>, LogError> {
        let names = self.names();
        let logs = shards.iter().map(|shard| names.stream(shard));
        let beside = journals(shards);
        let beside = beside.iter().map(|journal| names.journal(journal));
        let leases = [format!("KV_{}", names.lease_bucket())];
        let mut surveyed = Vec::new();
        for stream in logs.chain(beside).chain(leases) {
            let info = self.stream_info(&stream).await;
            let info = info.map_err(|unfulfilled| unfulfilled.of_stream(&stream))?;
            surveyed.push(of_stream(stream, &info));
        }
        Ok(surveyed)
    }
}

fn of_stream(stream: String, info: &StreamInfo) -> Surveyed {
    // A server without a cluster reports none: the only replica answers.
    let (led, followers) = match &info.cluster {
        Some(cluster) => (cluster.leader.is_some(), cluster.replicas.as_slice()),
        None => (true, [].as_slice()),
    };
    let heard = |follower: &&super::request::Follower| {
        follower.current && !follower.offline && Duration::from_nanos(follower.active) < HEARD
    };
    Surveyed {
        stream,
        bytes: info.state.bytes,
        refuses_at: u64::try_from(info.config.max_bytes)
            .ok()
            .filter(|most| *most > 0 && info.config.discard == DiscardPolicy::New),
        replicas: info.config.num_replicas.max(1),
        current: usize::from(led) + followers.iter().filter(heard).count(),
        led,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(cluster: Value, replicas: u8) -> (usize, usize, bool) {
        let info = json!({
            "config": { "name": "S", "subjects": [], "max_bytes": 1024, "num_replicas": replicas, "retention": "limits",
                "max_consumers": -1, "max_msgs": -1, "max_age": 0, "storage": "file", "discard": "new" },
            "state": { "bytes": 7, "first_seq": 1, "last_seq": 2 },
            "cluster": cluster,
        });
        let info: StreamInfo = serde_json::from_value(info).unwrap_or_else(|error| panic!("{error}"));
        let surveyed = of_stream("S".to_owned(), &info);
        assert_eq!((surveyed.bytes, surveyed.refuses_at), (7, Some(1024)));
        (surveyed.replicas, surveyed.current, surveyed.led)
    }

    #[test]
    fn a_stream_whose_oldest_give_way_refuses_nothing() {
        let of = |discard: &str, max_bytes: i64| {
            let info = json!({
                "config": { "name": "S", "subjects": [], "max_bytes": max_bytes, "num_replicas": 1, "retention": "limits",
                    "max_consumers": -1, "max_msgs": -1, "max_age": 0, "storage": "file", "discard": discard },
                "state": { "bytes": 7, "first_seq": 1, "last_seq": 2 },
            });
            let info: StreamInfo = serde_json::from_value(info).unwrap_or_else(|error| panic!("{error}"));
            of_stream("S".to_owned(), &info).refuses_at
        };
        assert_eq!([of("new", 9), of("old", 9), of("new", -1)], [Some(9), None, None]);
    }

    #[test]
    fn a_copy_counts_while_it_is_current_and_heard_of() {
        let follower = |current: bool, offline: bool, active: u64| json!({ "name": "n", "current": current, "offline": offline, "active": active });
        let well = follower(true, false, 1_000_000);
        let cluster = |replicas: &[&Value]| json!({ "leader": "n1", "replicas": replicas });
        assert_eq!(of(Value::Null, 1), (1, 1, true));
        assert_eq!(of(cluster(&[&well, &well]), 3), (3, 3, true));
        for bad in [
            follower(false, false, 0),
            follower(true, true, 0),
            follower(true, false, 11_000_000_000),
        ] {
            assert_eq!(of(cluster(&[&well, &bad]), 3), (3, 2, true), "{bad}");
        }
        assert_eq!(of(json!({ "replicas": [&well, &well] }), 3), (3, 2, false));
    }
}
