//! A process of this machine: the memory and the processor time that it takes, as the kernel counts them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use crate::machine;

/// How long a tick of `/proc/PID/stat` is: a hundredth of a second on every architecture that Rust and Kubernetes share
/// (`USER_HZ`, `proc_pid_stat(5)`).
const TICK: Duration = Duration::from_millis(10);

/// A process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    folder: PathBuf,
}

/// The memory of a process in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// All that is resident now.
    pub(crate) resident: u64,
    /// The part of it that is not of files: what was allocated.
    pub(crate) allocated: u64,
    /// The most that was ever resident.
    pub(crate) peak: u64,
}

impl Process {
    /// The process of an id.
    pub(crate) fn new(id: u32) -> Self {
        Self { folder: format!("/proc/{id}").into() }
    }

    /// The child of this one whose first argument is this.
    pub(crate) fn child(&self, argument: &str) -> anyhow::Result<Self> {
        let id = self.folder.file_name().unwrap_or_default();
        for entry in fs::read_dir("/proc")? {
            let folder = entry?.path();
            let arguments = fs::read_to_string(folder.join("cmdline")).unwrap_or_default();
            if arguments.split('\0').nth(1) != Some(argument) {
                continue;
            }
            if machine::field(folder.join("status"), "PPid")?.as_str() == id {
                return Ok(Self { folder });
            }
        }
        anyhow::bail!("process {} has no child that was started with `{argument}`", id.display())
    }

    /// Its memory now.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        let kib = |name| -> anyhow::Result<u64> {
            Ok(machine::field(self.folder.join("status"), name)?.trim_end_matches(" kB").parse()?)
        };
        Ok(Memory { resident: kib("VmRSS")?, allocated: kib("RssAnon")?, peak: kib("VmHWM")? })
    }

    /// Lets it stand still for good, as if it were not there; it keeps what it has.
    pub(crate) fn pause(&self) -> anyhow::Result<()> {
        let id = self.folder.file_name().unwrap_or_default();
        let sent = Command::new("kill").arg("-STOP").arg(id).status().context("cannot run `kill`")?;
        anyhow::ensure!(sent.success(), "process {} can't be stopped", id.display());
        Ok(())
    }

    /// The processor time that it has taken so far, of all its threads.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let path = self.folder.join("stat");
        let stat = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        ticks(&stat).map(|ticks| TICK * ticks).with_context(|| format!("`{}` has no times", path.display()))
    }

    /// The processor time that it has taken since an earlier reading.
    pub(crate) fn cpu_since(&self, before: Duration) -> anyhow::Result<Duration> {
        Ok(self.cpu()?.saturating_sub(before))
    }
}

/// User and system time, fields 14 and 15: counted from the end of the name, in which anything may stand.
fn ticks(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(|field| field.parse::<u32>().ok());
    Some(times.next()?? + times.next()??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b 1) S 1 7 7 0 -1 4194560 1 0 0 0 120 34 5 6 20 0 8 0 100 0";
        assert_eq!(ticks(stat), Some(154));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_memory() {
        let memory = Process::new(std::process::id()).memory().unwrap();
        assert!(
            memory.allocated > 0 && memory.allocated <= memory.resident && memory.resident <= memory.peak,
            "{memory:?}"
        );
    }
}
