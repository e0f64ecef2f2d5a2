//! Checks the writes set aside as overwritten unseen: never a write that was not, and every one
//! that was once all is at rest.

use std::collections::BTreeSet;

use isthmus_log::JournalName;

use super::Oracle;
use crate::site::Site;

impl Oracle {
    /// How many writes of all regions were overwritten unseen.
    pub fn conflicts(&self) -> u64 {
        let logs = self.logs.values();
        logs.map(|log| log.reference.conflicts.len() as u64).sum()
    }

    /// Checks that the journals of every region name each of its writes that was overwritten
    /// unseen, and no other. Returns the first difference. `all` means that none may be missing: no
    /// agent ended with entries that it had not stored.
    pub fn aside_differs(&self, sites: &[Site], all: bool) -> Option<String> {
        for (index, site) in sites.iter().enumerate() {
            let logs = self.logs.iter().filter(|((of, _), _)| *of == index);
            let (mut wanted, mut named) = (BTreeSet::new(), BTreeSet::new());
            for ((_, shard), log) in logs {
                let conflicts = log.reference.conflicts.iter();
                wanted.extend(conflicts.map(|version| format!("conflict-{}-{version}", shard.partition)));
                let journal = JournalName::Aside(shard.group.clone());
                let entries = site.nats.journal_entries(&journal).into_iter();
                named.extend(entries.map(|entry| entry.name.as_str().to_owned()));
            }
            named.retain(|name| name.starts_with("conflict-"));
            if let Some(name) = named.difference(&wanted).next() {
                return Some(format!(
                    "{} has set aside {name}, which was not overwritten unseen",
                    site.name
                ));
            }
            if let Some(name) = wanted.difference(&named).next().filter(|_| all) {
                return Some(format!("{} has not set aside {name}", site.name));
            }
        }
        None
    }
}
