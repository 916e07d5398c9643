//! One embedded cluster on this machine, by its data directory: whether it runs, and what is known of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cli::Hinted;
use cluster::DataDir;
use jiff::Timestamp;
use rustix::fs::FlockOperation;
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

/// Bound of an orderly stop, and how often to look.
const STOP_TIMEOUT: Duration = Duration::from_secs(45);
const STOP_INTERVAL: Duration = Duration::from_millis(20);

/// One embedded cluster, running or not.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    data_dir: DataDir,
}

/// What a running instance says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct State {
    /// Version of korder.
    pub(crate) korder: String,
    /// Version of Kubernetes, such as `v1.36.3`.
    pub(crate) kubernetes: String,
    /// Address of the API server.
    pub(crate) server: String,
    /// Where the controllers serve metrics, if they run on this machine.
    pub(crate) metrics: Option<String>,
    /// The administrator's kubeconfig.
    pub(crate) kubeconfig: PathBuf,
    /// A kubectl that fits: `kubectl` where the one on the `PATH` does.
    pub(crate) kubectl: PathBuf,
    /// Since when it is ready.
    pub(crate) ready_since: Timestamp,
}

/// Proof that no other process runs this instance; ends with this value or with the process.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "what counts is that the file stays open")] File);

impl Instance {
    /// The instance in `path`, or in `~/.korder`.
    pub(crate) fn new(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let path = match path {
            Some(path) => std::path::absolute(&path).with_context(|| format!("`{}` is no path", path.display()))?,
            None => std::env::home_dir()
                .filter(|home| home.is_absolute())
                .context(Hinted::new("there is no home directory", "name a directory with `--data-dir`"))?
                .join(".korder"),
        };
        Ok(Self { data_dir: DataDir::new(path) })
    }

    /// The directory, as the control plane sees it.
    pub(crate) fn data_dir(&self) -> &DataDir {
        &self.data_dir
    }

    /// A file of the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.data_dir.path().join(name)
    }

    fn lock_file(&self) -> PathBuf {
        self.path("up.lock")
    }

    fn state_file(&self) -> PathBuf {
        self.path("up.json")
    }

    /// Makes the directory where it is missing, and takes the instance for this process.
    pub(crate) fn lock(&self) -> anyhow::Result<Lock> {
        let path = self.data_dir.path();
        make_private_dir(path)?;
        let lock = self.lock_file();
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&lock)
            .map_err(|error| no_access(error, &lock))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => bail!(Hinted::new(
                format!("`korder up` runs already on `{}`", path.display()),
                "see `korder status`, stop it with `korder down`, or choose another `--data-dir`"
            )),
            Err(errno) => return Err(no_access(errno.into(), &lock)),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .with_context(|| format!("cannot write `{}`", lock.display()))?;
        Ok(Lock(file))
    }

    /// The process that runs this instance, if one does.
    pub(crate) fn runner(&self) -> anyhow::Result<Option<Pid>> {
        let lock = self.lock_file();
        let mut file = match File::open(&lock) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(no_access(error, &lock)),
        };
        // Whoever gets the lock knows that nobody has it; it goes with the file.
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return Ok(None);
        }
        let mut text = String::new();
        file.read_to_string(&mut text).with_context(|| format!("cannot read `{}`", lock.display()))?;
        let pid = text.trim().parse().ok().and_then(Pid::from_raw);
        pid.map(Some).with_context(|| format!("`{}` is locked and names no process", lock.display()))
    }

    /// What the running instance says of itself, once it is ready.
    pub(crate) fn state(&self) -> anyhow::Result<Option<State>> {
        let path = self.state_file();
        match fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).map(Some).with_context(|| format!("cannot read `{}`", path.display()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(no_access(error, &path)),
        }
    }

    /// Says that the instance is ready, or for `None` that it is not.
    pub(crate) fn set_state(&self, state: Option<&State>) -> anyhow::Result<()> {
        let path = self.state_file();
        match state {
            Some(state) => write_private(&path, &serde_json::to_vec_pretty(state)?),
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(no_access(error, &path)),
                _ => Ok(()),
            },
        }
    }

    /// Asks the running instance to stop and waits for its end; `false` where none runs.
    pub(crate) async fn stop(&self) -> anyhow::Result<bool> {
        let Some(pid) = self.runner()? else { return Ok(false) };
        rustix::process::kill_process(pid, Signal::TERM)
            .map_err(io::Error::from)
            .with_context(|| format!("cannot stop process {pid}, which runs `korder up`"))?;
        let started = Instant::now();
        while self.runner()?.is_some() {
            if started.elapsed() > STOP_TIMEOUT {
                bail!(Hinted::new(
                    format!("process {pid} has not stopped within {} s", STOP_TIMEOUT.as_secs()),
                    format!("its log is in `{}`; `kill -9 {pid}` loses nothing", self.data_dir.logs().display())
                ));
            }
            tokio::time::sleep(STOP_INTERVAL).await;
        }
        Ok(true)
    }

    /// Removes all that the instance has. Refuses a directory that `korder up` has not made.
    pub(crate) fn delete(&self) -> anyhow::Result<bool> {
        let path = self.data_dir.path();
        if !path.exists() {
            return Ok(false);
        }
        if !self.lock_file().exists() {
            bail!(Hinted::new(
                format!("`{}` is not a directory of `korder up`: it has no `up.lock`", path.display()),
                "name the right one with `--data-dir`, or remove it yourself"
            ));
        }
        let lock = self.lock()?;
        fs::remove_dir_all(path).with_context(|| format!("cannot remove `{}`", path.display()))?;
        drop(lock);
        Ok(true)
    }
}

/// Makes a directory that only its owner can look into.
pub(crate) fn make_private_dir(path: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| no_access(error, path))
}

/// Replaces a file as a whole, readable by its owner only.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let next = PathBuf::from(name);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&next)?;
        file.write_all(content)?;
        fs::rename(&next, path)
    };
    write().map_err(|error| no_access(error, path))
}

fn no_access(error: io::Error, path: &Path) -> anyhow::Error {
    let denied = error.kind() == io::ErrorKind::PermissionDenied;
    let error = anyhow::Error::new(error).context(format!("cannot use `{}`", path.display()));
    if denied { Hinted::new(error, "choose a directory of yours with `--data-dir`").into() } else { error }
}
