//! The limits that the system sets for a running agent.

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::Agent;

impl Agent {
    pub(crate) fn open_files(&self) -> usize {
        let held = std::fs::read_dir(format!("/proc/{}/fd", self.process.id()));
        held.unwrap().count()
    }

    /// Its soft limit of open files.
    pub(crate) fn file_limit(&self) -> u64 {
        let limits = self.limit(Resource::Nofile, None);
        limits.current.unwrap()
    }

    /// Sets the number of files that it may open, up to the hard limit.
    pub(crate) fn limit_open_files(&self, files: u64) {
        self.limit(Resource::Nofile, Some(Some(files)));
    }

    /// Sets a soft limit if one is given, and returns the previous limits.
    fn limit(&self, resource: Resource, soft: Option<Option<u64>>) -> Rlimit {
        let pid = Pid::from_raw(self.process.id() as i32);
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.process.id())).unwrap();
        let row = match resource {
            Resource::Nofile => "Max open files",
            _ => "Max file size",
        };
        let row = limits.lines().find_map(|line| line.strip_prefix(row)).unwrap();
        let mut row = row.split_whitespace().map(|word| word.parse::<u64>().ok());
        let held = Rlimit {
            current: row.next().unwrap(),
            maximum: row.next().unwrap(),
        };
        if let Some(current) = soft {
            prlimit(pid, resource, Rlimit { current, ..held }).unwrap();
        }
        held
    }

    /// Lets its files grow to this many bytes, or without a limit.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        self.limit(Resource::Fsize, Some(bytes));
    }
}
