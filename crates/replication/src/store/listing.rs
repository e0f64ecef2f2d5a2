//! Keys in order, in pages.

use super::{Store, root};
use crate::cell::CellId;
use crate::limits;
use crate::names::{BucketName, Key};
use crate::time::Wall;
use crate::version::Version;

/// A key that has a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The key.
    pub key: Key,
    /// The greatest version among its live cells.
    pub version: Version,
}

/// One page of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Live keys, ordered.
    pub keys: Vec<Listed>,
    /// The next page begins after this key. None at the end. A page may have fewer keys than
    /// `limit`, or none, and still have a next page, since the number of scanned cells is bounded
    /// too.
    pub next: Option<Key>,
}

impl Store {
    /// At most `limit` keys (at least 1) of `bucket` that are live at `wall`, begin with `prefix`
    /// and come after `after`.
    #[must_use]
    pub fn list(
        &self,
        bucket: &BucketName,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
        wall: Wall,
    ) -> Page {
        let mut page = Page::default();
        let Some(from) = start(bucket, prefix, after) else {
            return page;
        };
        let cells = self
            .cells
            .range(from..)
            .take_while(|(id, _)| id.bucket == *bucket && id.key.as_str().starts_with(prefix))
            .filter(|(id, _)| Some(&id.key) != after);
        let mut last: Option<&Key> = None;
        for (scanned, (id, held)) in cells.enumerate() {
            let new_key = last != Some(&id.key);
            if new_key && (page.keys.len() >= limit.max(1) || scanned >= limits::LIST_SCANNED) {
                page.next = last.cloned();
                return page;
            }
            last = Some(&id.key);
            if held.cell.live_value(wall).is_none() {
                continue;
            }
            match page.keys.last_mut().filter(|listed| listed.key == id.key) {
                Some(listed) => listed.version = listed.version.clone().max(held.cell.version.clone()),
                None => page.keys.push(Listed {
                    key: id.key.clone(),
                    version: held.cell.version.clone(),
                }),
            }
        }
        page
    }
}

/// The first cell to scan; none if no key can begin with the prefix.
fn start(bucket: &BucketName, prefix: &str, after: Option<&Key>) -> Option<CellId> {
    let least = Key::parse(if prefix.is_empty() { "\0" } else { prefix }).ok()?;
    Some(root(bucket, after.map_or(&least, |after| after.max(&least))))
}
