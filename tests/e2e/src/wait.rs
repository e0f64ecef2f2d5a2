//! Waits for a condition with a bound.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

/// Asks `condition` until it returns a value, for `bound` at most. The error has the last reason
/// against it.
pub async fn until<T, F>(what: &str, bound: Duration, mut condition: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let deadline = Instant::now() + bound;
    let mut tick = tokio::time::interval(Duration::from_millis(25));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match condition().await {
            Ok(value) => return Ok(value),
            Err(reason) if Instant::now() >= deadline => {
                return Err(reason.context(format!("not within {bound:?}: {what}")));
            }
            Err(_) => {}
        }
    }
}
