//! Checkpoints contain values: nobody but the agent's user may read them.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use isthmus_log::testing::until;

use crate::support::{BOUND, Region};

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn widen(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The folder `data` of the region and everything in it.
fn all(region: &Region) -> Vec<PathBuf> {
    let mut all = vec![region.folder.path().join("data")];
    let mut next = 0;
    while let Some(path) = all.get(next).cloned() {
        let held = path.read_dir().into_iter().flatten();
        all.extend(held.map(|entry| entry.unwrap().path()));
        next += 1;
    }
    all
}

fn are_private(paths: &[PathBuf]) {
    let wide: Vec<_> = paths.iter().filter(|path| mode(path) & 0o077 != 0).collect();
    assert!(wide.is_empty(), "others can use {wide:?}");
}

#[tokio::test]
async fn checkpoints_are_private_whatever_the_umask() {
    let region = Region::alone();
    let mut agent = region.agent("agent-1").await;
    assert_eq!(agent.put("carts/a", "secret").await.status(), 200);
    let written = || async {
        let shards = agent.status().await["shards"].as_array()?.clone();
        shards
            .iter()
            .all(|shard| shard["checkpoint"]["sequence"].as_u64() > Some(0))
            .then_some(())
    };
    until("both checkpoints are written", BOUND, written).await;
    let paths = all(&region);
    assert_eq!(paths.len(), 4, "{paths:?}");
    are_private(&paths);
    assert_eq!(agent.finding("permissions").await["verdict"], "ok");

    agent.kill();
    let folder = region.folder.path().join("data/agent-1");
    for path in &paths[1..] {
        widen(path, if path.is_dir() { 0o755 } else { 0o644 });
    }
    agent.start_again();
    agent.ready("write").await;
    are_private(&all(&region));

    agent.kill();
    std::fs::write(folder.join("of somebody else"), "").unwrap();
    widen(&folder, 0o755);
    agent.start_again();
    agent.ready("write").await;
    assert_eq!(mode(&folder), 0o755, "a folder of others is left as it is");
    let finding = agent.finding("permissions").await;
    assert_eq!(finding["verdict"], "warn");
    assert!(
        finding["found"].as_str().unwrap().contains("agent-1 has 0755"),
        "{finding}"
    );
    assert!(
        finding["mend"].as_str().unwrap().contains("chmod go="),
        "{finding}"
    );
}
