//! Where a control plane keeps what it has.

use std::path::{Path, PathBuf};

/// The directory of one control plane: its objects, keys, ports and logs.
///
/// A control plane started on it again goes on where the last one was stopped or killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// The directory at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The administrator's access, mode 0600, written anew at each start.
    pub fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    /// The folder of logs: `kubernetes.log`, `scheduler.log`, `etcd.log`, `kubelets.log` are the
    /// control plane's, `controlplane.log` is what it says when it can't start.
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// What the control plane writes to its standard error.
    pub(crate) fn stderr_log(&self) -> PathBuf {
        self.logs().join("controlplane.log")
    }

    /// The process id of the scheduler; exists while one runs.
    pub(crate) fn scheduler_pid(&self) -> PathBuf {
        self.0.join("scheduler.pid")
    }
}
