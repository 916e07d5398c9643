//! Building Go programs from the embedded sources.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;

use crate::binary::Program;
use crate::error::Error;
use crate::sources;
use crate::version::Version;

/// Free space below which no build is begun: with empty caches it needs about four times that, with
/// full ones a tenth.
const MIN_FREE_BYTES: u64 = 1 << 30;
/// Lines of `go`'s output that an error quotes.
const QUOTED_LINES: usize = 20;

/// How far a build has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildProgress {
    /// What is built.
    pub program: &'static str,
    /// What is being done.
    pub step: BuildStep,
    /// Time since the build began.
    pub elapsed: Duration,
}

/// A step of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildStep {
    /// Another process builds the same, and is waited for.
    Waiting,
    /// A Go module is fetched.
    Downloading {
        /// The module and its version.
        module: String,
    },
    /// A package is compiled.
    Compiling {
        /// The package.
        package: String,
        /// Packages begun so far, with this one.
        begun: usize,
        /// Packages in all; those found compiled in Go's cache are never begun.
        total: usize,
    },
}

impl fmt::Display for BuildProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, step, elapsed: _ } = self;
        write!(f, "building {program}: ")?;
        match step {
            BuildStep::Waiting => f.write_str("another process is at it"),
            BuildStep::Downloading { module } => write!(f, "downloading {module}"),
            BuildStep::Compiling { package, begun, total } => {
                write!(f, "compiling {begun} of {total} packages, {package}")
            }
        }
    }
}

/// The linker's flags for a program that calls itself Kubernetes of the given version.
fn linker_flags(version: Version) -> String {
    let version = sources::kubernetes_version(version);
    let mut parts = version.split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let package = "k8s.io/component-base/version";
    format!("-s -w -X {package}.gitVersion=v{version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}")
}

/// The flags of `go build` for programs of a version, which also say what they require.
pub(crate) fn flags(version: Version) -> Vec<String> {
    let mut flags = vec!["-trimpath".to_owned(), format!("-ldflags={}", linker_flags(version))];
    flags.extend(module_flags(version));
    flags
}

/// Which module file counts, which is never changed, and which of the files that suit one version only.
fn module_flags(version: Version) -> Vec<String> {
    let mut flags = vec!["-mod=readonly".to_owned()];
    if version != Version::default() {
        flags.push(format!("-modfile={}", version.module_file()));
        flags.push("-tags=before_1_36".to_owned());
    }
    flags
}

/// Builds a program of the module in `dir` into the file `output`.
pub(crate) async fn build(
    program: Program,
    version: Version,
    dir: &Path,
    output: &Path,
    progress: &mut (dyn FnMut(BuildProgress) + Send),
) -> Result<(), Error> {
    let started = Instant::now();
    check_space(dir)?;
    check_go(dir).await?;
    let mut report = |step| progress(BuildProgress { program: program.name, step, elapsed: started.elapsed() });

    // Fetches the modules, and says how much there is to compile.
    let modules = module_flags(version);
    let arguments = ["list", "-deps"].into_iter().chain(modules.iter().map(String::as_str)).chain([program.package]);
    let listing = run_go(dir, arguments, &mut |line| {
        if let Some(module) = line.strip_prefix("go: downloading ") {
            report(BuildStep::Downloading { module: module.to_owned() });
        }
    })
    .await?;
    let total = listing.lines().count();

    let flags = flags(version);
    let arguments = ["build", "-v", "-o"].map(OsStr::new).into_iter().chain([output.as_os_str()]);
    let arguments = arguments.chain(flags.iter().map(OsStr::new)).chain([OsStr::new(program.package)]);
    let mut begun = 0;
    run_go(dir, arguments, &mut |line| {
        if is_package(line) {
            begun += 1;
            report(BuildStep::Compiling { package: line.to_owned(), begun, total });
        }
    })
    .await?;
    Ok(())
}

/// Whether a line of `go build -v` is the name of a package rather than a message.
fn is_package(line: &str) -> bool {
    !line.is_empty() && !line.contains([' ', '#', ':'])
}

fn check_space(dir: &Path) -> Result<(), Error> {
    let stats = rustix::fs::statvfs(dir).map_err(|errno| Error::io("look at the file system of", dir)(errno.into()))?;
    if stats.f_bavail.saturating_mul(stats.f_frsize) < MIN_FREE_BYTES {
        return Err(Error::NoSpace { path: dir.to_owned() });
    }
    Ok(())
}

/// Makes sure that there is a Go that understands the module; it may fetch a newer one by itself.
async fn check_go(dir: &Path) -> Result<(), Error> {
    let Output { status, stderr, .. } = match go(dir).arg("version").output().await {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Error::NoGo),
        Err(source) => return Err(Error::Spawn { program: "go".into(), source }),
    };
    if status.success() {
        return Ok(());
    }
    Err(Error::UnsuitableGo { message: String::from_utf8_lossy(&stderr).trim().to_owned() })
}

/// `go` in the module's directory, with what is built the same everywhere.
fn go(dir: &Path) -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(dir)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .env_remove("GOFLAGS")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs `go`, hands each line of its standard error to `on_line`, and returns its standard output.
async fn run_go<S: AsRef<OsStr>>(
    dir: &Path,
    arguments: impl IntoIterator<Item = S>,
    on_line: &mut (dyn FnMut(&str) + Send),
) -> Result<String, Error> {
    let spawn_error = |source| Error::Spawn { program: "go".into(), source };
    let mut child =
        go(dir).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(spawn_error)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut last = VecDeque::with_capacity(QUOTED_LINES);
    let read_errors = async {
        let Some(stderr) = stderr else { return Ok(()) };
        let mut lines = BufReader::new(stderr).lines();
        while let Some(line) = lines.next_line().await? {
            on_line(&line);
            if last.len() == QUOTED_LINES {
                last.pop_front();
            }
            last.push_back(line);
        }
        Ok(())
    };
    let read_output = async {
        let mut text = String::new();
        if let Some(mut stdout) = stdout {
            stdout.read_to_string(&mut text).await?;
        }
        Ok(text)
    };
    // Both at once: a pipe that nobody reads blocks its writer.
    let ((), output) = tokio::try_join!(read_errors, read_output).map_err(spawn_error)?;
    if child.wait().await.map_err(spawn_error)?.success() {
        return Ok(output);
    }
    let text = last.into_iter().collect::<Vec<_>>().join("\n");
    if text.contains("no space left on device") {
        return Err(Error::NoSpace { path: dir.to_owned() });
    }
    Err(Error::Build { output: text })
}
