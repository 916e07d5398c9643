//! The log of a program, as a kubelet would keep it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// Size at which a log is put aside and a new one begun; one old one is kept.
const MAX_BYTES: u64 = 16 << 20;

/// A log in the format of Kubernetes' container runtime interface, which is what `kubectl logs` reads on a node.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl LogFile {
    /// Opens the log at `path`, and goes on where it ends.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, bytes })
    }

    /// Writes one line, without its end, that came at `time` from the stream `stdout` or `stderr`.
    pub(crate) fn write(&mut self, time: Timestamp, stream: &str, line: &str) -> io::Result<()> {
        if self.bytes >= MAX_BYTES {
            fs::rename(&self.path, self.path.with_extension("log.old"))?;
            *self = Self::open(&self.path)?;
        }
        let line = format!("{time:.9} {stream} F {line}\n");
        self.file.write_all(line.as_bytes())?;
        self.bytes += line.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_kubelets_write_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let time: Timestamp = "2026-01-02T03:04:05.6Z".parse().unwrap();
        LogFile::open(&path).unwrap().write(time, "stderr", "first line").unwrap();
        LogFile::open(&path).unwrap().write(time, "stdout", "second").unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "2026-01-02T03:04:05.600000000Z stderr F first line\n2026-01-02T03:04:05.600000000Z stdout F second\n"
        );
    }

    #[test]
    fn a_full_log_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        fs::write(&path, "old\n").unwrap();
        let mut log = LogFile::open(&path).unwrap();
        log.bytes = MAX_BYTES;
        log.write(Timestamp::UNIX_EPOCH, "stderr", "new").unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("a.log.old")).unwrap(), "old\n");
        assert!(fs::read_to_string(&path).unwrap().ends_with(" new\n"));
    }
}
