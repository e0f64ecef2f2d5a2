#![allow(clippy::unwrap_used)]

use super::*;

const BOUND: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
#[error("out of luck")]
struct OutOfLuck;

type Outcome = Result<(), OutOfLuck>;
type End = fn() -> Outcome;

async fn until_stopped(stop: CancellationToken) -> Outcome {
    stop.cancelled().await;
    Ok(())
}

async fn failure_of(supervisor: &Supervisor) -> String {
    tokio::time::timeout(BOUND, supervisor.failed())
        .await
        .unwrap()
        .to_string()
}

#[tokio::test]
async fn work_that_errs_panics_or_returns_fails_the_process() {
    let ends: [(End, &str); 3] = [
        (|| Err(OutOfLuck), "task fold failed: out of luck"),
        (|| Ok(()), "task fold ended early"),
        (|| panic!("boom"), "task fold failed: panicked: boom"),
    ];
    for (end, expected) in ends {
        let supervisor = Supervisor::new(8);
        supervisor
            .spawn(TaskKind::Work, "fold", |_| async move { end() })
            .unwrap();
        assert_eq!(failure_of(&supervisor).await, expected);
        assert!(supervisor.running().is_empty());
    }
}

#[tokio::test]
async fn the_end_of_a_session_is_nobody_elses() {
    let supervisor = Supervisor::new(8);
    supervisor
        .spawn(TaskKind::Session, "connection", |_| async { Err(OutOfLuck) })
        .unwrap();
    supervisor
        .wait_for(Instant::now() + BOUND, |counts| counts.all == 0)
        .await;
    assert!(supervisor.running().is_empty());
    assert!(supervisor.failed().now_or_never().is_none());
}

#[tokio::test]
async fn doors_stop_before_the_work_behind_them() {
    let supervisor = Supervisor::new(8);
    let behind = supervisor.stopping().clone();
    supervisor.spawn(TaskKind::Work, "writer", until_stopped).unwrap();
    supervisor
        .spawn(TaskKind::Door, "http", |stop| async move {
            stop.cancelled().await;
            assert!(!behind.is_cancelled(), "the work stopped under an open door");
            Outcome::Ok(())
        })
        .unwrap();
    assert_eq!(supervisor.drain(BOUND).await, Vec::<Arc<str>>::new());
    assert!(supervisor.failed().now_or_never().is_none());
    assert_eq!(
        supervisor.spawn(TaskKind::Session, "late", until_stopped),
        Err(SpawnRefused::Stopping)
    );
}

#[tokio::test(start_paused = true)]
async fn what_does_not_stop_is_aborted_at_the_deadline_and_named() {
    let supervisor = Supervisor::new(8);
    supervisor
        .spawn(TaskKind::Work, "deaf", |_| std::future::pending::<Outcome>())
        .unwrap();
    let begun = Instant::now();
    assert_eq!(supervisor.drain(BOUND).await, vec![Arc::<str>::from("deaf")]);
    assert_eq!(begun.elapsed(), BOUND);
    assert!(supervisor.running().is_empty());
}

#[tokio::test]
async fn the_table_is_bounded() {
    let supervisor = Supervisor::new(1);
    supervisor
        .spawn(TaskKind::Session, "first", until_stopped)
        .unwrap();
    assert_eq!(
        supervisor.spawn(TaskKind::Session, "second", until_stopped),
        Err(SpawnRefused::Full(1))
    );
    supervisor.drain(BOUND).await;
}
