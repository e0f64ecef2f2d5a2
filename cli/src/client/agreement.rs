//! Checks whether all agents of all regions hold the same cells.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use isthmus_report::AgentStatus;
use isthmus_report::agent::ShardStatus;
use reqwest::Client;
use serde::Serialize;

use super::status;
use crate::folder::run_file::RunFile;

const ASK_EVERY: Duration = Duration::from_millis(250);

/// The digest and the cell count of each shard (`group/partition`) of one agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Holding {
    pub(crate) region: String,
    pub(crate) name: String,
    /// `None` if the agent did not answer.
    pub(crate) shards: Option<BTreeMap<String, (String, u64)>>,
}

impl Holding {
    /// The cell count of all shards.
    pub(crate) fn cells(&self) -> u64 {
        self.shards
            .iter()
            .flat_map(BTreeMap::values)
            .map(|(_, cells)| cells)
            .sum()
    }

    /// The digests of all shards, in their order, as one text.
    pub(crate) fn digest(&self) -> Option<String> {
        let digests: Vec<&str> = self
            .shards
            .as_ref()?
            .values()
            .map(|(digest, _)| digest.as_str())
            .collect();
        Some(digests.join("."))
    }
}

/// Asks every agent once.
pub(crate) async fn holdings(client: &Client, run: &RunFile) -> Vec<Holding> {
    let agents = run
        .regions_in_order()
        .flat_map(|(region, processes)| processes.agents.iter().map(move |a| (region, a)));
    let asked = agents.map(|(region, agent)| async move {
        let said = status::of_agent(client, &agent.admin).await.ok();
        Holding {
            region: region.to_owned(),
            name: agent.name.clone(),
            shards: said.map(shards),
        }
    });
    join_all(asked).await
}

fn shards(said: AgentStatus) -> BTreeMap<String, (String, u64)> {
    let shard = |shard: ShardStatus| {
        (
            format!("{}/{}", shard.group, shard.partition),
            (shard.digest, shard.cells),
        )
    };
    said.shards.into_iter().map(shard).collect()
}

/// Whether every agent answered and all hold the same. A group that some region does not carry is
/// compared among the regions that carry it.
pub(crate) fn agree(holdings: &[Holding]) -> bool {
    let mut seen: BTreeMap<&str, &(String, u64)> = BTreeMap::new();
    holdings.iter().all(|holding| {
        holding.shards.as_ref().is_some_and(|shards| {
            !shards.is_empty()
                && shards
                    .iter()
                    .all(|(shard, held)| *seen.entry(shard).or_insert(held) == held)
        })
    })
}

/// Asks until all agents agree, for `within` at most.
pub(crate) async fn reached(client: &Client, run: &RunFile, within: Duration) -> bool {
    let until = Instant::now() + within;
    loop {
        if agree(&holdings(client, run).await) {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(shards: Option<&[(&str, &str, u64)]>) -> Holding {
        let shards = shards.map(|shards| {
            shards
                .iter()
                .map(|(shard, digest, cells)| ((*shard).to_owned(), ((*digest).to_owned(), *cells)))
                .collect()
        });
        Holding {
            region: "r".into(),
            name: "a".into(),
            shards,
        }
    }

    #[test]
    fn agreement_needs_every_answer_digest_and_count() {
        let one = holding(Some(&[("default/0", "aa", 3), ("default/1", "bb", 1)]));
        assert!(agree(&[one.clone(), one.clone()]));
        assert_eq!((one.cells(), one.digest().as_deref()), (4, Some("aa.bb")));
        let digest = holding(Some(&[("default/0", "aa", 3), ("default/1", "cc", 1)]));
        let count = holding(Some(&[("default/0", "aa", 2), ("default/1", "bb", 1)]));
        for other in [digest, count, holding(None), holding(Some(&[]))] {
            assert!(!agree(&[one.clone(), other]));
        }
        let confined = holding(Some(&[
            ("default/0", "aa", 3),
            ("default/1", "bb", 1),
            ("eu-only/0", "dd", 1),
        ]));
        assert!(agree(&[one, confined]));
    }
}
