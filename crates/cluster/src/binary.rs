//! Finding the programs that a cluster consists of, or building them.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use serde::Deserialize;
use tokio::process::Command;

use crate::build::{self, BuildProgress, BuildStep};
use crate::error::Error;
use crate::sources;
use crate::version::Version;

/// The environment variable that names a control plane to use.
pub const CONTROL_PLANE_VARIABLE: &str = "KORDER_CONTROLPLANE";

const CONTROL_PLANE: Program = Program { name: "korder-controlplane", module: ".", package: ".", versioned: true };
const KUBECTL: Program =
    Program { name: "kubectl", module: ".", package: "k8s.io/kubernetes/cmd/kubectl", versioned: true };
const NODE: Program = Program { name: "korder-node", module: ".", package: "./node", versioned: true };
const COREDNS: Program = Program { name: "coredns", module: "support", package: "./coredns", versioned: false };
const IMAGES: Program = Program { name: "korder-images", module: "support", package: "./images", versioned: false };
const REGISTRY: Program =
    Program { name: "korder-registry", module: "support", package: "./registry", versioned: false };
const PAUSE: Program = Program { name: "korder-pause", module: "support", package: "./pause", versioned: false };
/// The oldest minor version of kubectl 1.x that is used where one is there.
const OLDEST_KUBECTL_MINOR: u32 = 30;
/// How many other builds stay, for somebody who goes back and forth between versions of korder or of Kubernetes.
const OLD_BUILDS_KEPT: usize = 3;
/// How often to look whether another process has finished its build, and how long at most.
const LOCK_INTERVAL: Duration = Duration::from_millis(500);
const LOCK_TIMEOUT: Duration = Duration::from_hours(1);

/// A program written in Go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    /// What its file is called.
    pub(crate) name: &'static str,
    /// The folder of its module among the sources.
    pub(crate) module: &'static str,
    /// Its package, as that module names it.
    pub(crate) package: &'static str,
    /// Whether it is another program with each version of Kubernetes.
    versioned: bool,
}

/// What a real node is made of, beside the control plane and the distribution's packages.
#[derive(Debug, Clone)]
pub struct NodePrograms {
    /// Starts and supervises the node; it is the kubelet and kube-proxy, too.
    pub(crate) node: PathBuf,
    /// Answers for names.
    pub(crate) coredns: PathBuf,
    /// Makes images.
    pub(crate) images: PathBuf,
    /// Serves images to those who pull them.
    pub(crate) registry: PathBuf,
    /// Does nothing, in every pod and in every guardian.
    pub(crate) pause: PathBuf,
}

/// The control plane's program, found or built as the crate's documentation says.
///
/// `progress` hears of each step of a build, and nothing where none is needed.
pub async fn control_plane(version: Version, mut progress: impl FnMut(BuildProgress) + Send) -> Result<PathBuf, Error> {
    if let Some(path) = env::var_os(CONTROL_PLANE_VARIABLE).filter(|value| !value.is_empty()) {
        let path = PathBuf::from(path);
        return if is_executable(&path) {
            Ok(path)
        } else {
            Err(Error::NoSuchBinary { variable: CONTROL_PLANE_VARIABLE, path })
        };
    }
    find_or_build(CONTROL_PLANE, version, &mut progress).await
}

/// The programs of a real node, found or built like the control plane.
pub async fn real_node(
    version: Version,
    mut progress: impl FnMut(BuildProgress) + Send,
) -> Result<NodePrograms, Error> {
    Ok(NodePrograms {
        node: find_or_build(NODE, version, &mut progress).await?,
        coredns: find_or_build(COREDNS, version, &mut progress).await?,
        images: find_or_build(IMAGES, version, &mut progress).await?,
        registry: find_or_build(REGISTRY, version, &mut progress).await?,
        pause: find_or_build(PAUSE, version, &mut progress).await?,
    })
}

/// A kubectl: the one on the `PATH` where that is version 1.30 or newer, else one of the newest
/// version, built from the same sources.
pub async fn kubectl(mut progress: impl FnMut(BuildProgress) + Send) -> Result<PathBuf, Error> {
    let path = PathBuf::from(KUBECTL.name);
    if kubectl_minor(&path).await.is_some_and(|minor| minor >= OLDEST_KUBECTL_MINOR) {
        return Ok(path);
    }
    find_or_build(KUBECTL, Version::default(), &mut progress).await
}

/// The minor version of a kubectl, if it is one.
async fn kubectl_minor(program: &Path) -> Option<u32> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Versions {
        client_version: Version,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        git_version: String,
    }
    let output =
        Command::new(program).args(["version", "--client", "--output=json"]).kill_on_drop(true).output().await.ok()?;
    let versions: Versions = serde_json::from_slice(&output.stdout).ok()?;
    minor(&versions.client_version.git_version)
}

/// The minor part of a version such as `v1.36.3`.
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("v1.")?.split('.').next()?.parse().ok()
}

/// Looks for a program beside this one and in the cache, and builds it into the cache where it is not there.
async fn find_or_build(
    program: Program,
    version: Version,
    progress: &mut (dyn FnMut(BuildProgress) + Send),
) -> Result<PathBuf, Error> {
    let version = if program.versioned { version } else { Version::default() };
    let beside = env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(program.name)));
    if let Some(path) = beside.filter(|path| version == Version::default() && is_executable(path)) {
        return Ok(path);
    }
    let dir =
        cache_dir(env::var_os("XDG_CACHE_HOME"), env::var_os("HOME"))?.join(sources::hash(&build::flags(version)));
    let path = dir.join(program.name);
    if is_executable(&path) {
        return Ok(path);
    }
    fs::create_dir_all(&dir).map_err(Error::io("make", &dir))?;
    let _lock = lock(program.name, &dir, progress).await?;
    // Whoever held the lock may have built it.
    if is_executable(&path) {
        return Ok(path);
    }
    let work =
        tempfile::Builder::new().prefix(".build-").tempdir_in(&dir).map_err(Error::io("make a directory in", &dir))?;
    sources::write_to(work.path()).map_err(Error::io("write to", work.path()))?;
    let output = work.path().join(program.name);
    build::build(program, version, &work.path().join(program.module), &output, progress).await?;
    fs::rename(output, &path).map_err(Error::io("write", &path))?;
    remove_old_builds(&dir);
    Ok(path)
}

/// Removes what other versions have built, but for the newest: each build is more than 100 MB. What runs from a removed
/// one goes on.
fn remove_old_builds(current: &Path) {
    let entries = current.parent().and_then(|cache| fs::read_dir(cache).ok());
    let others = entries.into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path != current);
    let mut others: Vec<_> =
        others.filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path))).collect();
    others.sort();
    let excess = others.len().saturating_sub(OLD_BUILDS_KEPT);
    for (_, path) in others.into_iter().take(excess) {
        if let Err(error) = fs::remove_dir_all(&path) {
            // Only space is lost, and the next build tries again.
            tracing::warn!(path = %path.display(), %error, "cannot remove an old build of the control plane");
        }
    }
}

/// The directory of all that is built, for the values of `XDG_CACHE_HOME` and `HOME`.
fn cache_dir(xdg_cache_home: Option<OsString>, home: Option<OsString>) -> Result<PathBuf, Error> {
    let set = |value: Option<OsString>| value.map(PathBuf::from).filter(|path| path.is_absolute());
    set(xdg_cache_home)
        .or_else(|| Some(set(home)?.join(".cache")))
        .map(|cache| cache.join("korder").join("controlplane"))
        .ok_or(Error::NoCacheDir)
}

/// Keeps others from building in `dir` as long as the returned file lives.
async fn lock(
    program: &'static str,
    dir: &Path,
    progress: &mut (dyn FnMut(BuildProgress) + Send),
) -> Result<File, Error> {
    let path = dir.join("lock");
    let file = File::create(&path).map_err(Error::io("make", &path))?;
    let started = Instant::now();
    while let Err(errno) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if errno != rustix::io::Errno::WOULDBLOCK {
            return Err(Error::io("lock", &path)(errno.into()));
        }
        let elapsed = started.elapsed();
        if elapsed > LOCK_TIMEOUT {
            return Err(Error::Timeout {
                what: format!("the build of `{program}` by another process"),
                after: LOCK_TIMEOUT,
            });
        }
        progress(BuildProgress { program, step: BuildStep::Waiting, elapsed });
        tokio::time::sleep(LOCK_INTERVAL).await;
    }
    Ok(file)
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_where_the_user_keeps_caches() {
        let dir = |xdg: Option<&str>, home: Option<&str>| cache_dir(xdg.map(Into::into), home.map(Into::into)).ok();
        assert_eq!(dir(Some("/c"), Some("/h")), Some("/c/korder/controlplane".into()));
        assert_eq!(dir(None, Some("/h")), Some("/h/.cache/korder/controlplane".into()));
        assert_eq!(dir(Some("relative"), Some("/h")), Some("/h/.cache/korder/controlplane".into()));
        assert_eq!(dir(None, None), None);
    }

    #[test]
    fn of_older_builds_only_the_newest_stay() {
        let cache = tempfile::tempdir().unwrap();
        let dirs = ["a", "b", "c", "d", "current"].map(|name| cache.path().join(name));
        for (age, dir) in dirs.iter().rev().enumerate() {
            fs::create_dir(dir).unwrap();
            let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_hours(100 - age as u64);
            File::open(dir).unwrap().set_modified(time).unwrap();
        }
        remove_old_builds(&dirs[4]);
        assert_eq!(dirs.map(|dir| dir.exists()), [false, true, true, true, true]);
    }

    #[test]
    fn minor_versions() {
        assert_eq!(minor("v1.32.4-dispatcher"), Some(32));
        assert_eq!(minor("v1.36.3"), Some(36));
        assert_eq!(minor("v2.0.0"), None);
        assert_eq!(minor("1.36"), None);
    }
}
