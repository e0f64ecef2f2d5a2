#![allow(clippy::unwrap_used)]

use isthmus_replication::cell::{Cell, Content, ContentType, Field};
use isthmus_replication::coordinates::{Shard, WriterId};
use isthmus_replication::hlc::Hlc;
use isthmus_replication::names::{BucketName, GroupName, Key, RegionName, SetName};
use isthmus_replication::seen::Seen;
use isthmus_replication::store::StoredCell;
use isthmus_replication::time::Wall;
use isthmus_replication::version::Version;

use super::*;

fn log(region: &str) -> LogName {
    LogName {
        set: SetName::parse("shop").unwrap(),
        region: RegionName::parse(region).unwrap(),
        shard: Shard {
            group: GroupName::parse("default").unwrap(),
            partition: 0,
        },
    }
}

fn cell(n: u64) -> StoredCell {
    let id = CellId {
        bucket: BucketName::parse("carts").unwrap(),
        key: Key::parse(&format!("key-{n}")).unwrap(),
        field: Field::NONE,
    };
    let version = Version {
        hlc: Hlc::from_bits(n),
        region: RegionName::parse("eu-west").unwrap(),
        writer: WriterId(7),
    };
    let content = Content::Value {
        bytes: format!("value {n}").into(),
        content_type: ContentType::default(),
    };
    let cell = Cell {
        version,
        seen: Seen::default(),
        expires_at: None,
        content,
    };
    let applied_at = Wall::from_micros(5);
    (id, Some(HeldCell { cell, applied_at }))
}

fn anchor(sequence: u64) -> Anchor {
    Anchor {
        sequence: Sequence(sequence),
        message_id: MessageId(sequence + 1),
    }
}

fn written(folder: &Path, log: &LogName, cells: &[StoredCell], serve_from: u64) -> CheckpointFile {
    let (mut file, ..) = CheckpointFile::open(folder, log).unwrap();
    let mut transaction = file.begin(&Fold::new(log.clone()), &[]).unwrap();
    transaction.write(cells).unwrap();
    transaction.commit(anchor(serve_from), Hlc::ZERO).unwrap();
    file
}

#[test]
fn what_was_committed_is_loaded_and_what_was_not_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let log = log("eu-west");
    let cells: Vec<_> = (0..100).map(cell).collect();
    let mut file = written(folder.path(), &log, &cells, 42);
    let mut dropped = file.begin(&Fold::new(log.clone()), &[]).unwrap();
    dropped.write(&[(cells[0].0.clone(), None)]).unwrap();
    drop(dropped);
    let mut second = file
        .begin(
            &Fold::new(log.clone()),
            &[Anchor {
                sequence: Sequence(3),
                message_id: MessageId(9),
            }],
        )
        .unwrap();
    second.write(&[(cells[1].0.clone(), None)]).unwrap();
    second.commit(anchor(50), Hlc::ZERO).unwrap();
    drop(file);

    let (_, loaded, discarded) = CheckpointFile::open(folder.path(), &log).unwrap();
    let loaded = loaded.unwrap();
    assert_eq!(discarded, None);
    assert_eq!(loaded.serve_from, anchor(50));
    assert_eq!(
        loaded.kept,
        [Anchor {
            sequence: Sequence(3),
            message_id: MessageId(9)
        }]
    );
    assert_eq!(loaded.cells.len(), 99);
    let first = loaded.cells.iter().find(|(id, _)| *id == cells[0].0);
    assert_eq!(first.map(|(_, held)| held), cells[0].1.as_ref());
}

#[test]
fn a_row_that_changed_behind_our_back_discards_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let log = log("eu-west");
    let cells: Vec<_> = (0..10).map(cell).collect();
    let file = written(folder.path(), &log, &cells, 1);
    let transaction = file.database.as_ref().unwrap().begin_write().unwrap();
    transaction
        .open_table(CELLS)
        .unwrap()
        .remove(cells[3].0.to_stored().as_slice())
        .unwrap();
    transaction.commit().unwrap();
    drop(file);
    let (_, loaded, discarded) = CheckpointFile::open(folder.path(), &log).unwrap();
    assert!(loaded.is_none());
    assert_eq!(discarded, Some(Discarded::RowsDiffer));
    let (_, loaded, discarded) = CheckpointFile::open(folder.path(), &log).unwrap();
    assert!(loaded.is_none() && discarded.is_none());
}

#[test]
fn a_file_of_garbage_is_discarded_whole() {
    let folder = tempfile::tempdir().unwrap();
    let log = log("eu-west");
    std::fs::write(folder.path().join("default-0.redb"), vec![0xa5; 100_000]).unwrap();
    let (_, loaded, discarded) = CheckpointFile::open(folder.path(), &log).unwrap();
    assert!(loaded.is_none());
    assert!(
        matches!(discarded, Some(Discarded::Corrupted(_))),
        "{discarded:?}"
    );
}

#[test]
fn a_cut_file_is_discarded_whole() {
    let folder = tempfile::tempdir().unwrap();
    let log = log("eu-west");
    let cells: Vec<_> = (0..2000).map(cell).collect();
    drop(written(folder.path(), &log, &cells, 1));
    let path = folder.path().join("default-0.redb");
    let length = std::fs::metadata(&path).unwrap().len();
    std::fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(length / 2)
        .unwrap();
    let (_, loaded, discarded) = CheckpointFile::open(folder.path(), &log).unwrap();
    assert!(loaded.is_none());
    assert!(discarded.is_some());
}

#[test]
fn a_checkpoint_of_another_log_is_discarded() {
    let folder = tempfile::tempdir().unwrap();
    drop(written(folder.path(), &log("eu-west"), &[cell(1)], 1));
    let (_, loaded, discarded) = CheckpointFile::open(folder.path(), &log("us-east")).unwrap();
    assert!(loaded.is_none());
    assert_eq!(discarded, Some(Discarded::AnotherLog));
}

#[test]
fn a_file_in_use_is_an_error_that_names_the_fix() {
    let folder = tempfile::tempdir().unwrap();
    let log = log("eu-west");
    let _held = written(folder.path(), &log, &[], 1);
    let error = CheckpointFile::open(folder.path(), &log).unwrap_err();
    assert!(matches!(error, CheckpointError::InUse { .. }));
    assert!(error.to_string().contains("its own `data` folder"));
}

#[test]
fn scenario_20_a_flipped_checkpoint_bit_is_noticed_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let log = log("eu-west");
    let cells: Vec<_> = (0..20).map(cell).collect();
    drop(written(folder.path(), &log, &cells, 7));
    let path = folder.path().join("default-0.redb");
    let whole = std::fs::read(&path).unwrap();
    let (_, loaded, _) = CheckpointFile::open(folder.path(), &log).unwrap();
    let expected = loaded.unwrap().cells;
    let mut discarded = 0;
    let (first, rest) = (whole.len().min(8192), whole.len() / 200);
    for at in (0..first).step_by(37).chain((first..whole.len()).step_by(rest)) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(&path, flipped).unwrap();
        let (mut file, loaded, reason) = CheckpointFile::open(folder.path(), &log).unwrap();
        discarded += usize::from(reason.is_some());
        let same = loaded.is_none_or(|loaded| loaded.cells == expected && loaded.serve_from == anchor(7));
        assert!(same, "byte {at} changed what was loaded");
        let mut next = file.begin(&Fold::new(log.clone()), &[]).unwrap();
        next.write(&cells).unwrap();
        next.commit(anchor(8), Hlc::ZERO).unwrap();
        drop(file);
        let (_, loaded, _) = CheckpointFile::open(folder.path(), &log).unwrap();
        assert_eq!(
            loaded.map(|loaded| loaded.cells.len()),
            Some(cells.len()),
            "byte {at}"
        );
    }
    assert!(discarded > 0, "no flipped bit was ever noticed");
}

#[test]
fn a_checkpoint_of_a_process_that_was_killed_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let killed = tempfile::tempdir().unwrap();
    let log = log("eu-west");
    let cells: Vec<_> = (0..2_000).map(cell).collect();
    let mut file = written(folder.path(), &log, &cells[..1_000], 7);
    let mut next = file.begin(&Fold::new(log.clone()), &[]).unwrap();
    next.write(&cells).unwrap();
    // A kill leaves the file as it is while it is open, in the middle of a transaction.
    let name = "default-0.redb";
    std::fs::copy(folder.path().join(name), killed.path().join(name)).unwrap();
    let (_, loaded, discarded) = CheckpointFile::open(killed.path(), &log).unwrap();
    assert_eq!(discarded, None);
    assert_eq!(loaded.map(|loaded| loaded.cells.len()), Some(1_000));
}

#[test]
fn a_released_file_continues_whatever_its_last_commit_did() {
    let folder = tempfile::tempdir().unwrap();
    let log = log("eu-west");
    let cells: Vec<_> = (0..10).map(cell).collect();
    let mut file = written(folder.path(), &log, &cells[..5], 7);
    for serve_from in 8..11 {
        file.let_go();
        // As after a commit that succeeded although it returned an error: the same cells again, and
        // one more.
        let mut next = file.begin(&Fold::new(log.clone()), &[]).unwrap();
        next.write(&cells[..serve_from as usize - 2]).unwrap();
        next.commit(anchor(serve_from), Hlc::ZERO).unwrap();
    }
    let mut unfinished = file.begin(&Fold::new(log.clone()), &[]).unwrap();
    unfinished.write(&cells).unwrap();
    drop(unfinished);
    file.let_go();
    drop(file);
    let (_, loaded, discarded) = CheckpointFile::open(folder.path(), &log).unwrap();
    let loaded = loaded.unwrap();
    assert_eq!(
        (discarded, loaded.cells.len(), loaded.serve_from),
        (None, 8, anchor(10))
    );
}

#[test]
fn a_file_that_is_not_what_was_written_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default-0.redb");
    let (own, other) = (log("eu-west"), log("us-east"));
    let mut file = written(folder.path(), &own, &[cell(1)], 7);
    file.let_go();
    std::fs::remove_file(&path).unwrap();
    let lost = |file: &mut CheckpointFile| match file.begin(&Fold::new(own.clone()), &[]) {
        Err(error) if error.is_loss() => error.to_string(),
        Err(error) => panic!("no loss: {error}"),
        Ok(_) => panic!("it was gone on from"),
    };
    assert!(lost(&mut file).contains("it is empty; it is written again"));
    std::fs::remove_file(&path).unwrap();
    drop(written(folder.path(), &other, &[cell(1)], 7));
    assert!(lost(&mut file).contains("of another log"));
    file.start_anew().unwrap();
    let mut next = file.begin(&Fold::new(own.clone()), &[]).unwrap();
    next.write(&[cell(2)]).unwrap();
    next.commit(anchor(9), Hlc::ZERO).unwrap();
    drop(file);
    let (_, loaded, discarded) = CheckpointFile::open(folder.path(), &own).unwrap();
    assert_eq!((loaded.unwrap().cells.len(), discarded), (1, None));
}
