//! The Go sources of the control plane and of what a real node runs, as they were when this library was compiled.

use std::path::Path;
use std::{fs, io};

use sha2::{Digest as _, Sha256};

use crate::version::Version;

macro_rules! sources {
    ($($file:literal),+ $(,)?) => {
        &[$(($file, include_bytes!(concat!("../../../kubernetes/", $file)))),+]
    };
}

/// Path below the module's root, and content.
const FILES: &[(&str, &[u8])] = sources![
    "apiserver.go",
    "controllers.go",
    "etcd.go",
    "go-1.34.mod",
    "go-1.34.sum",
    "go-1.35.mod",
    "go-1.35.sum",
    "go.mod",
    "go.sum",
    "kubelets.go",
    "logs.go",
    "main.go",
    "node/cgroups.go",
    "node/children.go",
    "node/components.go",
    "node/containerd.go",
    "node/dns.go",
    "node/host.go",
    "node/init.go",
    "node/main.go",
    "node/mounts.go",
    "node/network.go",
    "node/node.go",
    "node/registry.go",
    "pki.go",
    "process.go",
    "readlogs.go",
    "readlogs_before_1.36.go",
    "scheduler.go",
    "stages/node-heartbeat.yaml",
    "stages/node-initialize.yaml",
    "stages/pod-complete.yaml",
    "stages/pod-delete.yaml",
    "stages/pod-end.yaml",
    "stages/pod-start.yaml",
    "support/coredns/main.go",
    "support/go.mod",
    "support/go.sum",
    "support/images/main.go",
    "support/pause/main.go",
    "support/registry/main.go",
];

/// The patch release that is built as a version, such as `1.36.3`.
pub(crate) fn kubernetes_version(version: Version) -> &'static str {
    required_version(version.module_file(), "k8s.io/kubernetes v")
}

/// A name for these sources built with the given flags: 16 hexadecimal digits.
pub(crate) fn hash(build_flags: &[String]) -> String {
    let mut hasher = Sha256::new();
    let flags = build_flags.iter().map(|flag| ("", flag.as_bytes()));
    for (name, content) in FILES.iter().copied().chain(flags) {
        // The lengths keep content from moving between fields unnoticed.
        for field in [name.as_bytes(), content] {
            hasher.update(field.len().to_le_bytes());
            hasher.update(field);
        }
    }
    hex(&hasher.finalize()[..8])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Writes the modules into an existing directory.
pub(crate) fn write_to(dir: &Path) -> io::Result<()> {
    FILES.iter().try_for_each(|(name, content)| {
        let path = dir.join(name);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, content)
    })
}

/// What follows `prefix` on a line of a module file.
fn required_version(file: &str, prefix: &str) -> &'static str {
    FILES
        .iter()
        .filter(|(name, _)| *name == file)
        .filter_map(|(_, content)| std::str::from_utf8(content).ok())
        .flat_map(str::lines)
        .find_map(|line| line.trim().strip_prefix(prefix))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn no_source_file_is_forgotten() {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../kubernetes");
        let in_folder =
            files_below(&root).into_iter().map(|path| path.strip_prefix(&root).unwrap().display().to_string());
        // Go's tests are no part of a program.
        let in_folder: BTreeSet<_> = in_folder.filter(|name| !name.ends_with("_test.go")).collect();
        let embedded: BTreeSet<_> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(embedded, in_folder);
    }

    fn files_below(dir: &Path) -> Vec<PathBuf> {
        let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
    }

    #[test]
    fn the_patch_release_is_read_from_the_module_file() {
        for version in Version::ALL {
            let release = kubernetes_version(version);
            assert!(release.strip_prefix(version.as_str()).is_some_and(|patch| patch.starts_with('.')), "{release}");
        }
    }

    #[test]
    fn another_way_to_build_is_another_hash() {
        assert_ne!(hash(&["-s".to_owned()]), hash(&["-w".to_owned()]));
        assert_eq!(hash(&[]).len(), 16);
    }
}
