//! Injects faults and heals them, each within its bound.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::future::join_all;
use isthmus_wan::Command;
use tokio::time::{sleep, sleep_until};

use super::kind::Kind;
use super::schedule::Planned;
use crate::failure::Failure;
use crate::folder::run_file::RunFile;
use crate::lab::clock::Offset;
use crate::lab::target::Target;
use crate::lab::{self, Act, Done, Fault};
use crate::output::note;

/// How long a fault may wait for a target: after another fault a region may be without a leader.
const MET_WITHIN: Duration = Duration::from_secs(30);
/// How long a heal may take: a process that was ended is started again after half a second.
const HEALED_WITHIN: Duration = Duration::from_secs(30);
const TRY_EVERY: Duration = Duration::from_millis(100);

/// The result of a planned fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Healed,
    /// It happened, and its heal failed.
    NotHealed,
    NeverHappened,
}

/// Injects the whole schedule, each fault at its time, and prints each one with its time.
pub(super) async fn put_all(dir: &Path, began: Instant, schedule: &[Planned]) -> Vec<(Kind, Fate)> {
    let faults = schedule.iter().map(|planned| async move {
        sleep_until((began + planned.at).into()).await;
        let injection = Injection {
            dir: dir.to_owned(),
            began,
            planned,
        };
        (planned.kind, injection.run().await)
    });
    join_all(faults).await
}

struct Injection<'a> {
    dir: PathBuf,
    began: Instant,
    planned: &'a Planned,
}

impl Injection<'_> {
    async fn run(&self) -> Fate {
        let met = match self.insist(&self.planned.fault, MET_WITHIN).await {
            Ok(met) => met,
            Err(error) => {
                self.say("never happened", &error);
                return Fate::NeverHappened;
            }
        };
        let names: Vec<String> = met.iter().map(Done::to_string).collect();
        self.say("", &names.join(", "));
        sleep(self.planned.lasts).await;
        match self.heal(&met).await {
            Ok(()) => {
                self.say("healed", &"");
                Fate::Healed
            }
            Err(error) => {
                self.say("not healed", &error);
                Fate::NotHealed
            }
        }
    }

    fn say(&self, what: &str, detail: &dyn fmt::Display) {
        let Planned { kind, whom, .. } = self.planned;
        let at = self.began.elapsed().as_secs_f64();
        note(format!("{at:7.2} s  {kind:<12} {whom}  {what}  {detail}").trim_end());
    }

    /// Tries again until the fault has a target, for `within` at most.
    async fn insist(&self, fault: &Fault, within: Duration) -> Result<Vec<Done>, Failure> {
        let until = Instant::now() + within;
        loop {
            match lab::put(&self.dir, fault).await {
                Err(_) if Instant::now() < until => sleep(TRY_EVERY).await,
                done => return done,
            }
        }
    }

    async fn heal(&self, met: &[Done]) -> Result<(), Failure> {
        if let Some(mend) = network_mend(&self.planned.fault) {
            self.insist(&mend, HEALED_WITHIN).await?;
        }
        if let Fault::Processes(act, _) = &self.planned.fault {
            for Done { process, .. } in met {
                let target = Target::new(&process.name, &process.region);
                if let Some(mend) = process_mend(act) {
                    self.insist(&Fault::Processes(mend, target.clone()), HEALED_WITHIN)
                        .await?;
                }
                if matches!(act, Act::Kill | Act::End | Act::Down) {
                    self.started_again(&target, process.pid).await?;
                }
            }
        }
        Ok(())
    }

    async fn started_again(&self, target: &Target, before: u32) -> Result<(), Failure> {
        let until = Instant::now() + HEALED_WITHIN;
        loop {
            let found = target.resolve(&RunFile::of_running(&self.dir)?, None)?;
            if found
                .iter()
                .all(|process| process.pid != 0 && process.pid != before)
            {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(Failure::environment(format!("{target} was not started again")));
            }
            sleep(TRY_EVERY).await;
        }
    }
}

fn network_mend(fault: &Fault) -> Option<Fault> {
    match fault {
        Fault::Network(Command::Cut { from, to, .. } | Command::Delay { from, to, .. }) => {
            Some(Fault::Network(Command::Heal {
                from: Some(from.clone()),
                to: Some(to.clone()),
            }))
        }
        _ => None,
    }
}

fn process_mend(act: &Act) -> Option<Act> {
    match act {
        Act::Stop => Some(Act::Cont),
        Act::Down => Some(Act::Start),
        Act::Clock(_) => Some(Act::Clock(Offset::NONE)),
        Act::Kill | Act::End | Act::Cont | Act::Start => None,
    }
}
