//! Ports of the node: two pods can't take the same one.

use super::Misfit;
use super::world::World;
use crate::node::Node;
use crate::pod::{HostPort, Pod};

/// The first port of the pod that another pod on the node has.
pub(super) fn misfit(pod: &Pod, node: &Node, world: &World<'_>) -> Option<Misfit> {
    let there = world.with_ports.get(node.name())?.iter().filter_map(|&index| world.placed.get(index));
    let taken: Vec<&HostPort> =
        there.filter(|placed| placed.pod.uid() != pod.uid()).flat_map(|placed| &placed.pod.spec.host_ports).collect();
    let port = pod.spec.host_ports.iter().find(|port| taken.iter().any(|taken| clash(port, taken)))?;
    Some(Misfit::HostPort(port.clone()))
}

/// Whether two ports are the same one (`HostPortInfo.CheckConflict`): an address clashes with itself and with all.
fn clash(a: &HostPort, b: &HostPort) -> bool {
    a.port == b.port && a.protocol == b.protocol && (a.ip.is_none() || b.ip.is_none() || a.ip == b.ip)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::fit::tests::{Scene, cluster_node, pod_of};

    fn told(taken: &Value, wanted: &Value) -> Option<String> {
        let spec = |ports: &Value| json!({"containers": [{"ports": ports}]});
        let scene = Scene::new().node(cluster_node("n", &json!({}))).bound(pod_of("other", &spec(taken)), "n");
        scene.told(&pod_of("p", &spec(wanted)), "n")
    }

    #[test]
    fn ports_clash_by_number_protocol_and_address() {
        let http = json!([{"hostPort": 80}]);
        let message = Some("the host port `80/TCP` is taken on the node".to_owned());
        assert_eq!(told(&http, &http), message);
        for (taken, wanted, clashes) in [
            (json!([{"hostPort": 80}]), json!([{"hostPort": 81}]), false),
            (json!([{"hostPort": 80}]), json!([{"hostPort": 80, "protocol": "UDP"}]), false),
            (json!([{"hostPort": 80, "hostIP": "10.0.0.1"}]), json!([{"hostPort": 80, "hostIP": "10.0.0.2"}]), false),
            (json!([{"hostPort": 80, "hostIP": "10.0.0.1"}]), json!([{"hostPort": 80, "hostIP": "10.0.0.1"}]), true),
            (json!([{"hostPort": 80, "hostIP": "10.0.0.1"}]), json!([{"hostPort": 80, "hostIP": "0.0.0.0"}]), true),
            (json!([{"hostPort": 80}]), json!([{"hostPort": 80, "hostIP": "10.0.0.1"}]), true),
            (json!([{"containerPort": 80}]), json!([{"containerPort": 80}]), false),
        ] {
            assert_eq!(told(&taken, &wanted).is_some(), clashes, "{taken} {wanted}");
        }
    }

    #[test]
    fn of_init_containers_only_side_cars_keep_a_port() {
        let init = |policy: Value| json!({"initContainers": [{"ports": [{"hostPort": 80}], "restartPolicy": policy}]});
        let http = pod_of("p", &json!({"containers": [{"ports": [{"hostPort": 80}]}]}));
        let beside = |spec: &Value| {
            let scene = Scene::new().node(cluster_node("n", &json!({}))).bound(pod_of("other", spec), "n");
            scene.told(&http, "n").is_some()
        };
        assert!(beside(&init(json!("Always"))));
        assert!(!beside(&init(Value::Null)));
    }

    #[test]
    fn a_pod_on_its_way_has_its_port_already_and_one_that_has_ended_none() {
        let spec = json!({"containers": [{"ports": [{"hostPort": 80}]}]});
        let there = || Scene::new().node(cluster_node("n", &json!({}))).node(cluster_node("m", &json!({})));
        let pod = pod_of("p", &spec);
        assert!(there().promised(pod_of("other", &spec), "n").told(&pod, "n").is_some());
        assert!(there().promised(pod_of("other", &spec), "m").told(&pod, "n").is_none());
        let mut ended = pod_of("other", &spec);
        ended.status.phase = "Succeeded".to_owned();
        assert!(there().bound(ended, "n").told(&pod, "n").is_none());
    }
}
