//! The planned faults and their times, drawn from a seed.
//!
//! Kinds are dealt like cards: a deck of all enabled kinds is shuffled and used up before the next
//! one, so that each kind comes about equally often. The target of a fault gets no other fault
//! until the first one is healed and the target has had time to recover. A fault whose possible
//! targets are all taken comes later. The same seed, time, kinds and regions give the same
//! schedule.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use isthmus_wan::Command;

use super::kind::Kind;
use crate::lab::clock::Offset;
use crate::lab::target::Target;
use crate::lab::{Act, Fault};

/// The time before the first fault.
const FIRST_AFTER_MS: u64 = 3_000;
/// The least and the greatest time between the starts of two faults.
const GAPS_MS: (u64, u64) = (2_000, 5_000);
/// How long a fault lasts: longer than a lease, which lives for a second.
const LASTS_MS: (u64, u64) = (2_000, 8_000);
/// How long a target gets no other fault after the heal.
const RECOVERS_MS: u64 = 6_000;
/// The time between the last heal and the end of the writes.
const CALM_MS: u64 = 3_000;
const DELAYS_MS: (u64, u64) = (50, 400);
const AGENTS: [&str; 2] = ["agent-1", "agent-2"];
const CLOCKS: [&str; 4] = ["agent-1", "agent-2", "gateway-1", "gateway-2"];
/// Clock offsets within and beyond the 500 ms that a stamp may be ahead and the 10 s that it may be
/// behind.
const OFFSETS_MS: [i64; 8] = [-3_600_000, -30_000, -3_000, -300, 300, 3_000, 60_000, 28_800_000];

#[derive(Clone, Debug)]
pub(crate) struct Planned {
    /// When it starts, after the start of the writes.
    pub(crate) at: Duration,
    /// How long until it is healed; zero if it heals by itself.
    pub(crate) lasts: Duration,
    pub(crate) kind: Kind,
    /// Its target, as text.
    pub(crate) whom: String,
    pub(crate) fault: Fault,
    what_is_met: Vec<String>,
}

/// Draws faults for writes of this length. All are healed before the writes end.
pub(crate) fn draw(seed: u64, writes: Duration, kinds: &[Kind], regions: &[String]) -> Vec<Planned> {
    let mut dealer = Dealer {
        random: Rng::with_seed(seed),
        regions,
        taken_until: BTreeMap::new(),
    };
    let last_heal = (writes.as_millis() as u64).saturating_sub(CALM_MS);
    let (mut deck, mut schedule) = (Vec::new(), Vec::new());
    let mut at = FIRST_AFTER_MS;
    while at + LASTS_MS.1 <= last_heal && !kinds.is_empty() {
        if deck.is_empty() {
            deck = dealer.shuffled(kinds);
        }
        match dealer.deal(&mut deck, at) {
            Some(planned) => {
                schedule.push(planned);
                at += dealer.between(GAPS_MS);
            }
            None => at += 100,
        }
    }
    schedule
}

struct Dealer<'a> {
    random: Rng,
    regions: &'a [String],
    taken_until: BTreeMap<String, u64>,
}

impl Dealer<'_> {
    fn between(&mut self, (least, most): (u64, u64)) -> u64 {
        self.random.u64(least..=most)
    }

    fn any<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        self.random.choice(of).cloned()
    }

    fn shuffled(&mut self, kinds: &[Kind]) -> Vec<Kind> {
        let mut deck = kinds.to_vec();
        self.random.shuffle(&mut deck);
        deck
    }

    /// The first card of the deck that has a free target.
    fn deal(&mut self, deck: &mut Vec<Kind>, at: u64) -> Option<Planned> {
        let found = (0..deck.len()).find_map(|index| Some((index, self.plan(deck[index], at)?)))?;
        deck.remove(found.0);
        Some(found.1)
    }

    fn plan(&mut self, kind: Kind, at: u64) -> Option<Planned> {
        let start = self.random.usize(..self.regions.len().max(1));
        let regions: Vec<String> = self.regions[start..]
            .iter()
            .chain(&self.regions[..start])
            .cloned()
            .collect();
        let lasts = self.between(LASTS_MS);
        regions.iter().find_map(|region| {
            let mut planned = self.of_kind(kind, region)?;
            let free = |met: &String| self.taken_until.get(met).is_none_or(|until| *until <= at);
            if !planned.what_is_met.iter().all(free) {
                return None;
            }
            if !matches!(
                kind,
                Kind::KillLeader | Kind::KillStandby | Kind::KillAgent | Kind::Reset | Kind::RestartNats
            ) {
                planned.lasts = Duration::from_millis(lasts);
            }
            planned.at = Duration::from_millis(at);
            for met in &planned.what_is_met {
                self.taken_until.insert(met.clone(), at + lasts + RECOVERS_MS);
            }
            Some(planned)
        })
    }

    fn of_kind(&mut self, kind: Kind, region: &str) -> Option<Planned> {
        match kind {
            Kind::KillLeader => Some(gateways(kind, Act::Kill, "leader", region)),
            Kind::KillStandby => Some(gateways(kind, Act::Kill, "standby", region)),
            Kind::PauseLeader => Some(gateways(kind, Act::Stop, "leader", region)),
            Kind::KillAgent | Kind::PauseAgent => {
                let name = self.any(&AGENTS)?;
                let act = if kind == Kind::KillAgent {
                    Act::Kill
                } else {
                    Act::Stop
                };
                let met = vec![format!("{name}@{region}")];
                Some(processes(kind, act, name, region, met))
            }
            Kind::RestartNats | Kind::KillNats => {
                let act = if kind == Kind::KillNats {
                    Act::Down
                } else {
                    Act::End
                };
                let met = vec![format!("nats@{region}"), format!("gateways@{region}")];
                Some(processes(kind, act, "nats", region, met))
            }
            Kind::Clock => {
                let name = self.any(&CLOCKS)?;
                let millis = self.any(&OFFSETS_MS)?;
                let by = Duration::from_millis(millis.unsigned_abs());
                let offset = if millis < 0 {
                    Offset::behind(by)
                } else {
                    Offset::ahead(by)
                };
                let met = vec![format!("the clock of {name}@{region}")];
                let planned = processes(kind, Act::Clock(offset), name, region, met);
                Some(Planned {
                    whom: format!("{name}@{region} {offset}"),
                    ..planned
                })
            }
            Kind::Cut | Kind::OneWayCut | Kind::Reset | Kind::Delay => self.network(kind, region),
        }
    }

    fn network(&mut self, kind: Kind, from: &str) -> Option<Planned> {
        let others: Vec<String> = self.regions.iter().filter(|to| *to != from).cloned().collect();
        let to = self.any(&others)?;
        let mut pair = [from, to.as_str()];
        pair.sort_unstable();
        let met = vec![pair.join("-")];
        let (from, one_way) = (from.to_owned(), kind == Kind::OneWayCut);
        let mut whom = format!("{from} {} {to}", if one_way { "->" } else { "-" });
        let command = match kind {
            Kind::Reset => Command::Reset { from, to },
            Kind::Delay => {
                let (delay_ms, jitter_ms) = (self.between(DELAYS_MS), self.between(DELAYS_MS));
                whom.push_str(&format!(" by {delay_ms} to {} ms", delay_ms + jitter_ms));
                Command::Delay {
                    from,
                    to,
                    one_way,
                    delay_ms,
                    jitter_ms,
                }
            }
            _ => Command::Cut {
                from,
                to,
                one_way,
                for_ms: None,
            },
        };
        Some(planned(kind, whom, Fault::Network(command), met))
    }
}

fn gateways(kind: Kind, act: Act, who: &str, region: &str) -> Planned {
    processes(kind, act, who, region, vec![format!("gateways@{region}")])
}

fn processes(kind: Kind, act: Act, who: &str, region: &str, what_is_met: Vec<String>) -> Planned {
    let target = Target::new(who, region);
    let whom = target.to_string();
    planned(kind, whom, Fault::Processes(act, target), what_is_met)
}

fn planned(kind: Kind, whom: String, fault: Fault, what_is_met: Vec<String>) -> Planned {
    Planned {
        at: Duration::ZERO,
        lasts: Duration::ZERO,
        kind,
        whom,
        fault,
        what_is_met,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE_MINUTES: Duration = Duration::from_secs(300);

    fn regions() -> Vec<String> {
        ["eu-west", "us-east", "ap-south"].map(str::to_owned).into()
    }

    fn described(schedule: &[Planned]) -> Vec<String> {
        schedule
            .iter()
            .map(|planned| {
                format!(
                    "{:?} {:?} {} {}",
                    planned.at, planned.lasts, planned.kind, planned.whom
                )
            })
            .collect()
    }

    #[test]
    fn five_minutes_contain_every_fault_and_each_ends_in_time() {
        for seed in 0..200 {
            let schedule = draw(seed, FIVE_MINUTES, Kind::all(), &regions());
            assert!(schedule.len() >= 40, "seed {seed}: {}", schedule.len());
            for kind in Kind::all() {
                let times = schedule.iter().filter(|planned| planned.kind == *kind).count();
                assert!(times >= 2, "seed {seed}: {kind} {times} times");
            }
            assert!(
                schedule
                    .iter()
                    .all(|planned| planned.at + planned.lasts + Duration::from_secs(3) <= FIVE_MINUTES)
            );
        }
    }

    #[test]
    fn a_minute_and_a_quarter_is_enough_for_every_kind() {
        for seed in 0..200 {
            let schedule = draw(seed, Duration::from_secs(75), Kind::all(), &regions());
            for kind in Kind::all() {
                assert!(
                    schedule.iter().any(|planned| planned.kind == *kind),
                    "seed {seed}: {kind}"
                );
            }
        }
    }

    #[test]
    fn each_seed_draws_its_own_repeatable_schedule() {
        let drawn = |seed| described(&draw(seed, FIVE_MINUTES, Kind::all(), &regions()));
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
    }

    #[test]
    fn nothing_is_met_twice_before_it_has_recovered() {
        for seed in 0..50 {
            let mut healed: BTreeMap<String, Duration> = BTreeMap::new();
            for planned in draw(seed, FIVE_MINUTES, Kind::all(), &regions()) {
                for met in &planned.what_is_met {
                    let before = healed.insert(
                        met.clone(),
                        planned.at + planned.lasts + Duration::from_millis(RECOVERS_MS),
                    );
                    assert!(
                        before.is_none_or(|before| before <= planned.at),
                        "seed {seed}: {met} at {:?}",
                        planned.at
                    );
                }
            }
        }
    }
}
