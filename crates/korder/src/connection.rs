//! The cluster that a command is about.

use std::path::PathBuf;

use anyhow::Context as _;
use cli::Hinted;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// Which cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct Connection {
    /// File that tells how to reach the cluster [default: `$KUBECONFIG`, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of that file [default: its current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// A namespace of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Namespace {
    /// The namespace [default: that of the context]
    #[arg(long, short, value_name = "NAME")]
    namespace: Option<String>,
}

impl Namespace {
    /// The name, where one was given.
    pub(crate) fn given(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Its name.
    pub(crate) fn name(self, client: &Client) -> String {
        self.namespace.unwrap_or_else(|| client.default_namespace().to_owned())
    }
}

impl Connection {
    /// A client of the cluster; nothing has been asked of it yet.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        let config = self.config().await.map_err(|error| {
            Hinted::new(error, "name a cluster by `--kubeconfig` and `--context`, or start one with `korder up`")
        })?;
        Client::try_from(config).context("cannot make a client of the cluster")
    }

    async fn config(&self) -> anyhow::Result<Config> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let kubeconfig = match &self.kubeconfig {
            Some(file) => Kubeconfig::read_from(file).with_context(|| format!("cannot read `{}`", file.display()))?,
            None if self.context.is_none() => {
                return Config::infer().await.context("cannot find out which cluster to work on");
            }
            None => Kubeconfig::read().context("cannot read the kubeconfig")?,
        };
        Config::from_custom_kubeconfig(kubeconfig, &options).await.context("the kubeconfig leads to no cluster")
    }
}
