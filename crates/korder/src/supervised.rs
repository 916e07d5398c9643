//! Processes of this very program that live as long as the one that started them.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use rustix::process::{Signal, getpid, kill_process};

/// Set by a supervisor: this process is to stop when its standard input is closed.
pub(crate) const VARIABLE: &str = "KORDER_SUPERVISED";

/// What an orderly stop may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// A path that runs this very program, even where its file has been replaced or removed since it was started.
pub(crate) fn this_program() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe().context("cannot find the path of this program")?;
    // The kernel marks the name of a file that has gone; what it names still runs from here.
    Ok(if path.exists() { path } else { PathBuf::from("/proc/self/exe") })
}

/// Where a supervisor asks for it, makes the end of standard input the same as SIGTERM.
///
/// The kernel closes that pipe however the supervisor dies, so that no program is left behind; unlike a signal at the
/// parent's death it is the same on every system.
pub(crate) fn stop_with_supervisor() {
    if std::env::var_os(VARIABLE).is_none() {
        return;
    }
    std::thread::spawn(|| {
        // Nobody writes to it; an error is as good an end as any.
        drop(io::copy(&mut io::stdin(), &mut io::sink()));
        if kill_process(getpid(), Signal::TERM).is_ok() {
            std::thread::sleep(STOP_TIMEOUT);
        }
        std::process::exit(1);
    });
}
