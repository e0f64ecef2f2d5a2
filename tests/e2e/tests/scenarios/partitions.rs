//! Random partitions and scrambled clocks.

use std::time::Duration;

use anyhow::ensure;
use isthmus_e2e::{Agent, Running};
use tokio::task::JoinSet;

const REGIONS: [&str; 3] = ["eu-west", "us-east", "ap-south"];
const PAIRS: [[&str; 2]; 3] = [
    [REGIONS[0], REGIONS[1]],
    [REGIONS[1], REGIONS[2]],
    [REGIONS[2], REGIONS[0]],
];
const KEYS: u64 = 100;
const ROUNDS: u64 = 12;
const SEED: u64 = 20_261;

/// A linear congruential generator that chooses the pair to cut, and the clock error.
struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

async fn write_every_key(agent: Agent, round: u64) -> anyhow::Result<()> {
    for key in 0..KEYS {
        let name = format!("k/{key}");
        if (key + round).is_multiple_of(7) {
            agent.delete("shop", &name).await?.ok()?;
        } else {
            agent.put("shop", &name, "", &round.to_string()).await?.ok()?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_01_random_cuts_and_wrong_clocks_leave_regions_equal() -> anyhow::Result<()> {
    let running = Running::start(&REGIONS, &["--rtt", "20ms"]).await?;
    let mut choices = Choices(SEED);
    for round in 0..ROUNDS {
        let [here, there] = PAIRS[choices.below(3) as usize];
        let one_way: &[&str] = if choices.below(2) == 0 {
            &[]
        } else {
            &["--one-way"]
        };
        running.lab(&[&["cut", here, there], one_way].concat())?;
        let region = REGIONS[choices.below(3) as usize];
        let whom = format!("agent-{}@{region}", 1 + choices.below(2));
        let millis = choices.below(600) as i64 - 300;
        running.lab(&["clock", &whom, &format!("{millis:+}ms")])?;
        let mut writes = JoinSet::new();
        for agent in running.all_agents() {
            writes.spawn(write_every_key(agent, round));
        }
        while let Some(done) = writes.join_next().await {
            done?
                .map_err(|error| error.context(format!("seed {SEED}, round {round}, {whom} {millis} ms")))?;
        }
        if choices.below(2) == 0 {
            running.lab(&["heal"])?;
        }
    }
    running.lab(&["heal"])?;
    let cells = running.identical(Duration::from_secs(60)).await?;
    ensure!(cells == KEYS, "{cells} cells");
    Ok(())
}
