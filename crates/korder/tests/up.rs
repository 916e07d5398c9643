//! `korder up`, `status` and `down` as a user meets them, on one cluster that is started, killed, resumed and removed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

/// Bound of what takes a moment.
const TIMEOUT: Duration = Duration::from_secs(30);

#[test]
fn other_nodes_than_before_are_refused() {
    let parent = tempfile::tempdir().unwrap();
    let korder = Korder { data_dir: parent.path().join("cluster") };
    fs::create_dir_all(korder.data_dir.join("node")).unwrap();
    fs::write(korder.data_dir.join("kubeconfig"), "").unwrap();
    let refused = korder.command(&["up"]).output().unwrap();
    assert!(stderr(&refused).contains("has a real node"), "{}", stderr(&refused));
    fs::remove_dir(korder.data_dir.join("node")).unwrap();
    let refused = korder.command(&["up", "--real-node"]).output().unwrap();
    assert!(stderr(&refused).contains("has simulated nodes alone"), "{}", stderr(&refused));
}

#[test]
fn a_cluster_is_started_killed_resumed_and_removed() {
    let parent = tempfile::tempdir().unwrap();
    let korder = Korder { data_dir: parent.path().join("cluster") };
    assert_eq!(korder.status()["status"], "stopped");

    let up = korder.run(&["up", "--detach", "--nodes=1", "--node-label=kind=test"]);
    let line = stdout(&up);
    assert!(line.starts_with("korder is ready: Kubernetes v1."), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert_eq!(mode(&korder.data_dir.join("kubeconfig")), 0o600);

    let status = korder.status();
    assert_eq!(status["status"], "running");
    assert_eq!(names(&status["nodes"]), ["korder-host", "node-1"]);
    assert_eq!(names(&status["programs"]), ["korder-controller-manager", "korder-webhook"]);
    assert!(all_ready(&status["nodes"]) && all_ready(&status["programs"]), "{status}");

    let again = korder.command(&["up", "--detach"]).output().unwrap();
    assert!(!again.status.success());
    assert!(stderr(&again).contains("runs already"), "{}", stderr(&again));

    // Whatever ends the supervisor, nothing that it has started stays behind.
    let pid = Pid::from_raw(i32::try_from(status["pid"].as_i64().unwrap()).unwrap()).unwrap();
    let children = children(pid);
    assert_eq!(children.len(), 3, "the control plane and two programs");
    kill_process(pid, Signal::KILL).unwrap();
    let killed = Instant::now();
    while children.iter().any(|child| test_kill_process(*child).is_ok()) {
        assert!(killed.elapsed() < TIMEOUT, "a child is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(korder.status()["status"], "stopped");

    let resumed: Value = serde_json::from_slice(&korder.run(&["up", "--detach", "--output=json"]).stdout).unwrap();
    assert_eq!(resumed["server"], status["server"], "the port stays");
    let status = korder.status();
    assert!(names(&status["nodes"]).contains(&"node-1".to_owned()) && all_ready(&status["nodes"]), "{status}");

    assert!(stdout(&korder.run(&["down"])).contains("has stopped"));
    assert!(korder.data_dir.join("etcd").exists(), "the state stays");
    assert!(stdout(&korder.run(&["down", "--delete"])).contains("is removed"));
    assert!(!korder.data_dir.exists());
}

#[test]
fn only_what_up_has_made_is_deleted() {
    let precious = tempfile::tempdir().unwrap();
    fs::write(precious.path().join("file"), "").unwrap();
    let korder = Korder { data_dir: precious.path().to_owned() };
    let output = korder.command(&["down", "--delete"]).output().unwrap();
    assert!(!output.status.success());
    assert!(stderr(&output).contains("is not a directory of `korder up`"), "{}", stderr(&output));
    assert!(precious.path().join("file").exists());
}

/// The program, on one data directory.
struct Korder {
    data_dir: PathBuf,
}

impl Korder {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_korder"));
        command.args(arguments).arg("--data-dir").arg(&self.data_dir);
        command
    }

    /// Runs a command that must succeed.
    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}\n{}", stderr(&output), self.logs());
        output
    }

    /// What korder's own programs have written.
    fn logs(&self) -> String {
        let names = ["up.log", "korder-controller-manager.log", "korder-webhook.log"];
        names.map(|name| fs::read_to_string(self.data_dir.join("logs").join(name)).unwrap_or_default()).join("\n")
    }

    /// What is told, which the exit code must tell, too.
    fn status(&self) -> Value {
        let output = self.command(&["status", "--output=json"]).output().unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        let code = if status["status"] == "stopped" { 3 } else { 0 };
        assert_eq!(output.status.code(), Some(code), "{status}: {}\n{}", stderr(&output), self.logs());
        status
    }
}

impl Drop for Korder {
    fn drop(&mut self) {
        // After a failed test too, nothing is to stay behind.
        drop(self.command(&["down"]).output());
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

fn all_ready(list: &Value) -> bool {
    list.as_array().unwrap().iter().all(|entry| entry["ready"] == true)
}

/// The processes that `parent` has started.
fn children(parent: Pid) -> Vec<Pid> {
    let threads = fs::read_dir(format!("/proc/{parent}/task")).unwrap();
    threads
        .map(|thread| fs::read_to_string(thread.unwrap().path().join("children")).unwrap())
        .flat_map(|children| children.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .map(|child| Pid::from_raw(child.parse().unwrap()).unwrap())
        .collect()
}
