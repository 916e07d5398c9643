//! The nodes that the user wants.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use cluster::NodeTemplate;
use korder_api::Quantity;
use korder_manifests::HOST_NODE;

/// How many simulated nodes there are where nothing else is wished.
const SIMULATED_NODES: u16 = 3;

/// The nodes; those that exist stay as they are.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Nodes (those that exist stay as they are)")]
pub(crate) struct NodeArguments {
    /// A node whose pods are real containers, on which korder runs, too; needs root and what `make e2e-deps` installs
    #[arg(long)]
    real_node: bool,
    /// Whole CPUs of the real node are given to the containers that ask for them (the kubelet's `static` policy)
    #[arg(long, requires = "real_node")]
    exclusive_cpus: bool,
    /// Archive of an image (of `docker save`, `make images`) that pods on the real node can pull by its name, repeatable
    #[arg(long, requires = "real_node", value_name = "FILE")]
    image: Vec<PathBuf>,
    /// How many simulated nodes there are [default: 3; beside a real node none, and tainted `kwok.x-k8s.io/node=fake`]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(..=5000))]
    nodes: Option<u16>,
    /// Label of each node, repeatable
    #[arg(long, default_value = "node-type=compute", value_name = "KEY=VALUE")]
    node_label: Vec<Pair>,
    /// Taint of each node, repeatable
    #[arg(long, value_name = "KEY[=VALUE]:EFFECT")]
    node_taint: Vec<TaintArgument>,
    /// CPUs of each node
    #[arg(long, default_value = "8", value_name = "QUANTITY")]
    node_cpu: Quantity,
    /// Memory of each node
    #[arg(long, default_value = "32Gi", value_name = "QUANTITY")]
    node_memory: Quantity,
    /// Any other resource of each node, repeatable
    #[arg(long, value_name = "NAME=QUANTITY")]
    node_resource: Vec<Amount>,
}

impl NodeArguments {
    /// Whether there is a real node.
    pub(crate) fn real_node(&self) -> bool {
        self.real_node
    }

    /// Whether containers of the real node may have CPUs for themselves.
    pub(crate) fn exclusive_cpus(&self) -> bool {
        self.exclusive_cpus
    }

    /// The archives of images that pods on the real node can pull.
    pub(crate) fn images(&self) -> &[PathBuf] {
        &self.image
    }

    /// The labels that each node gets.
    pub(crate) fn labels(&self) -> Vec<(String, String)> {
        self.node_label.iter().map(|Pair { key, value }| (key.clone(), value.clone())).collect()
    }

    /// The simulated nodes to make, the one for korder's own pods first where these run on the host.
    pub(crate) fn templates(&self) -> Vec<NodeTemplate> {
        // Its taint keeps everything away but the pods that stand for processes of the host.
        let host = (!self.real_node).then(|| NodeTemplate::new(HOST_NODE).taint("korder.dev/host", "", "NoSchedule"));
        let count = self.nodes.unwrap_or(if self.real_node { 0 } else { SIMULATED_NODES });
        host.into_iter().chain((1..=count).map(|number| self.template(number))).collect()
    }

    /// The same as arguments of another `korder up`.
    pub(crate) fn to_arguments(&self) -> Vec<String> {
        let Self {
            real_node,
            exclusive_cpus,
            image,
            nodes,
            node_label,
            node_taint,
            node_cpu,
            node_memory,
            node_resource,
        } = self;
        let mut arguments =
            vec![format!("--node-cpu={}", node_cpu.as_str()), format!("--node-memory={}", node_memory.as_str())];
        arguments.extend(real_node.then(|| "--real-node".to_owned()));
        arguments.extend(exclusive_cpus.then(|| "--exclusive-cpus".to_owned()));
        arguments.extend(image.iter().map(|archive| format!("--image={}", archive.display())));
        arguments.extend(nodes.map(|nodes| format!("--nodes={nodes}")));
        arguments.extend(node_label.iter().map(|Pair { key, value }| format!("--node-label={key}={value}")));
        arguments.extend(
            node_resource.iter().map(|Amount(name, amount)| format!("--node-resource={name}={}", amount.as_str())),
        );
        arguments.extend(
            node_taint
                .iter()
                .map(|TaintArgument { key, value, effect }| format!("--node-taint={key}={value}:{effect}")),
        );
        arguments
    }

    fn template(&self, number: u16) -> NodeTemplate {
        let mut template = NodeTemplate::new(format!("node-{number}"))
            .allocatable("cpu", self.node_cpu.as_str())
            .allocatable("memory", self.node_memory.as_str());
        for Pair { key, value } in &self.node_label {
            template = template.label(key, value);
        }
        for TaintArgument { key, value, effect } in &self.node_taint {
            template = template.taint(key, value, effect);
        }
        if self.real_node {
            // The taint of KWOK's own examples. What should run, such as korder's pods, must not end up there.
            template = template.taint("kwok.x-k8s.io/node", "fake", "NoSchedule");
        }
        for Amount(name, amount) in &self.node_resource {
            template = template.allocatable(name, amount.as_str());
        }
        template
    }
}

/// `KEY=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pair {
    key: String,
    value: String,
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self { key: key.to_owned(), value: value.to_owned() }),
            _ => Err("it is not of the form `KEY=VALUE`".to_owned()),
        }
    }
}

/// `NAME=QUANTITY`.
#[derive(Clone, Debug, PartialEq)]
struct Amount(String, Quantity);

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Pair { key, value } = text.parse()?;
        Ok(Self(key, value.parse().map_err(|error: <Quantity as FromStr>::Err| error.to_string())?))
    }
}

/// `KEY[=VALUE]:EFFECT`, as `kubectl taint` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TaintArgument {
    key: String,
    value: String,
    effect: String,
}

impl FromStr for TaintArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key_value, effect) = text.rsplit_once(':').ok_or("it is not of the form `KEY[=VALUE]:EFFECT`")?;
        let (key, value) = key_value.split_once('=').unwrap_or((key_value, ""));
        if key.is_empty() {
            return Err("the key is empty".to_owned());
        }
        if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
            return Err(format!("`{effect}` is none of `NoSchedule`, `PreferNoSchedule` and `NoExecute`"));
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned(), effect: effect.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        nodes: NodeArguments,
    }

    fn parse(arguments: &[&str]) -> Result<NodeArguments, clap::Error> {
        Command::try_parse_from(std::iter::once(&"test").chain(arguments)).map(|command| command.nodes)
    }

    #[test]
    fn by_default_the_first_example_of_an_order_finds_its_nodes() {
        let templates = parse(&[]).unwrap().templates();
        let user = |number| NodeTemplate::new(format!("node-{number}")).label("node-type", "compute");
        let host = NodeTemplate::new("korder-host").taint("korder.dev/host", "", "NoSchedule");
        assert_eq!(templates, [host, user(1), user(2), user(3)]);
    }

    #[test]
    fn what_the_user_says_replaces_the_defaults() {
        let arguments =
            ["--nodes=1", "--node-label=a=b", "--node-taint=k=v:NoExecute", "--node-cpu=2", "--node-resource=x/gpu=4"];
        let wanted = NodeTemplate::new("node-1")
            .label("a", "b")
            .taint("k", "v", "NoExecute")
            .allocatable("cpu", "2")
            .allocatable("x/gpu", "4");
        assert_eq!(parse(&arguments).unwrap().templates()[1..], [wanted]);
    }

    #[test]
    fn beside_a_real_node_simulated_ones_get_no_pod_unasked() {
        assert_eq!(parse(&["--real-node"]).unwrap().templates(), []);
        let tainted = NodeTemplate::new("node-1").label("node-type", "compute");
        let tainted = tainted.taint("kwok.x-k8s.io/node", "fake", "NoSchedule");
        assert_eq!(parse(&["--real-node", "--nodes=1"]).unwrap().templates(), [tainted]);
    }

    #[test]
    fn another_up_gets_the_same_nodes() {
        let given =
            parse(&["--nodes=2", "--node-label=a=b", "--node-taint=k:NoSchedule", "--node-memory=1Gi"]).unwrap();
        let arguments = given.to_arguments();
        let again = parse(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        assert_eq!(again.templates(), given.templates());
    }

    #[test]
    fn nonsense_is_refused() {
        for argument in ["--nodes=-1", "--nodes=9999", "--node-label=a", "--node-taint=a=b", "--node-taint=a=b:Never"] {
            assert!(parse(&[argument]).is_err(), "{argument}");
        }
    }
}
