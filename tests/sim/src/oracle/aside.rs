//! What is set aside as overwritten unseen is what was: no more ever, and no less once everything has come to rest.

use std::collections::BTreeSet;

use isthmus_log::JournalName;

use super::Oracle;
use crate::site::Site;

impl Oracle {
    /// How many writes of any region were overwritten unseen.
    pub fn conflicts(&self) -> u64 {
        let logs = self.logs.values();
        logs.map(|log| log.reference.conflicts.len() as u64).sum()
    }

    /// Whether the journals of all regions name every write of theirs that was overwritten unseen, and no other; what they do not.
    /// `all` says that none may be missing: no agent ended with what it had not stored.
    pub fn aside_differs(&self, sites: &[Site], all: bool) -> Option<String> {
        for (index, site) in sites.iter().enumerate() {
            let logs = self.logs.iter().filter(|((of, _), _)| *of == index);
            let (mut wanted, mut named) = (BTreeSet::new(), BTreeSet::new());
            for ((_, shard), log) in logs {
                let conflicts = log.reference.conflicts.iter();
                wanted.extend(conflicts.map(|version| format!("conflict-{}-{version}", shard.partition)));
                let journal = JournalName::Aside(shard.group.clone());
                let entries = site.nats.look_into_journal(&journal).into_iter();
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
