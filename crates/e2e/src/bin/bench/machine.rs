//! The machine on which is measured, as the kernel describes it.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// What of the machine bears on the figures.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// Cores that this process may use.
    pub(crate) cores: usize,
    /// The processor's name.
    pub(crate) processor: String,
    /// Memory in GiB, rounded.
    pub(crate) memory_gib: u64,
    /// The kernel's name and release.
    pub(crate) kernel: String,
    /// How many processes wanted a core, on average over the last minute.
    pub(crate) load: String,
}

impl Machine {
    /// This machine.
    pub(crate) fn this() -> anyhow::Result<Self> {
        let cores = std::thread::available_parallelism().context("cannot count the cores")?.get();
        let memory_kib: u64 = field("/proc/meminfo", "MemTotal")?.trim_end_matches(" kB").parse()?;
        Ok(Self {
            cores,
            processor: field("/proc/cpuinfo", "model name")?,
            memory_gib: (memory_kib + (1 << 19)) >> 20,
            load: read("/proc/loadavg")?.split(' ').next().unwrap_or_default().to_owned(),
            kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease")?.trim()),
        })
    }
}

/// The value of the first line `NAME: VALUE` in a file of the kernel's.
pub(crate) fn field(path: impl AsRef<Path>, name: &str) -> anyhow::Result<String> {
    let path = path.as_ref();
    let text = read(path)?;
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let value = fields.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned());
    value.with_context(|| format!("`{}` has no field `{name}`", path.display()))
}

fn read(path: impl AsRef<Path>) -> anyhow::Result<String> {
    let path = path.as_ref();
    fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
}
