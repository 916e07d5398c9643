//! A node whose pods are real containers.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::binary::NodePrograms;
use crate::data_dir::DataDir;
use crate::error::Error;

/// The name of the real node.
pub const NAME: &str = "korder-node";
/// The image that holds a pod's namespaces, as the node's containerd is configured.
const PAUSE_IMAGE: &str = "registry.k8s.io/pause:3.10.1";

/// A real node to start beside the control plane. Needs root, and the distribution's packages of containerd, runc, the
/// CNI plugins, nftables, iptables and conntrack.
///
/// It runs in namespaces of its own, with the control plane in them: nothing of it outlives its process, and the host
/// keeps its settings.
#[derive(Debug, Clone)]
pub struct RealNode {
    /// What it is made of.
    pub programs: NodePrograms,
    /// Images that pods can name without a registry.
    pub images: Vec<Image>,
    /// Archives of images (of `docker save`, or OCI layouts with docker's list in them) that pods can pull by the names
    /// in them, whatever registry these are of. The data directory keeps them.
    pub archives: Vec<PathBuf>,
    /// Its labels, besides those that every node has.
    pub labels: Vec<(String, String)>,
    /// Whether containers that ask for whole CPUs get them for themselves (the kubelet's `static` policy).
    pub exclusive_cpus: bool,
}

/// An image of one static program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Name and tag, such as `korder:0.1.0`.
    pub name: String,
    /// The program that its containers run.
    pub program: PathBuf,
}

impl RealNode {
    /// The command that starts the node and `control_plane` in it, with the images made.
    pub(crate) async fn command(&self, control_plane: &Path, data_dir: &DataDir) -> Result<Command, Error> {
        let Self { programs, images, archives, labels, exclusive_cpus } = self;
        let dir = data_dir.path().join("node").join("images");
        fs::create_dir_all(&dir).map_err(Error::io("make", &dir))?;
        let mut command = Command::new(&programs.node);
        command.arg("-controlplane").arg(control_plane).arg("-coredns").arg(&programs.coredns);
        command.arg("-registry").arg(&programs.registry);
        keep_archives(archives, &data_dir.path().join("node").join("pulled"))?;
        let pause = Image { name: PAUSE_IMAGE.to_owned(), program: programs.pause.clone() };
        for (index, image) in [&pause].into_iter().chain(images).enumerate() {
            let archive = dir.join(format!("{index}.tar"));
            make_image(&programs.images, image, &archive).await?;
            command.arg("-image").arg(archive);
        }
        for (key, value) in labels {
            command.arg("-label").arg(format!("{key}={value}"));
        }
        if *exclusive_cpus {
            command.arg("-cpu-manager=static");
        }
        Ok(command)
    }
}

/// Copies archives of images to where the node's registry looks for them; one of the same name is replaced.
fn keep_archives(archives: &[PathBuf], dir: &Path) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(Error::io("make", dir))?;
    for archive in archives {
        let name = archive.file_stem().unwrap_or_default().display();
        let (kept, new) = (dir.join(format!("{name}.tar")), dir.join(format!("{name}.new")));
        fs::copy(archive, &new).map_err(Error::io("copy", archive))?;
        fs::rename(&new, &kept).map_err(Error::io("write", &kept))?;
    }
    Ok(())
}

/// Makes the archive of an image.
async fn make_image(maker: &Path, image: &Image, archive: &Path) -> Result<(), Error> {
    let Image { name, program } = image;
    let inside = Path::new("/").join(program.file_name().unwrap_or_default());
    let mut file = program.as_os_str().to_owned();
    file.push("=");
    file.push(&inside);
    let output = Command::new(maker)
        .args(["-name", name])
        .arg("-output")
        .arg(archive)
        .arg("-file")
        .arg(file)
        .arg("-entrypoint")
        .arg(inside)
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|source| Error::Spawn { program: maker.to_owned(), source })?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Image { name: name.clone(), output: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
}
