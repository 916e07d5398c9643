//! Bad input by kubectl: refused at once, naming field, value and what is allowed.

use anyhow::{Result, ensure};
use e2e::{Case, Kubectl};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::suite::Suite;

/// Calls of `kubectl` at a time.
const AT_A_TIME: usize = 4;

pub(crate) fn tests(suite: &mut Suite) {
    suite.add(values_that_make_no_sense);
    suite.add(fields_that_are_unknown);
    suite.add(fields_that_do_not_go_together);
    suite.add(what_is_not_built_yet);
    suite.add(items_that_make_no_sense);
    suite.add(annotations_and_labels_of_pods);
    suite.add(changes_of_a_ticket);
}

/// An object that must be refused, and what the message must contain.
type Row = (String, Vec<&'static str>);

/// Applies each and looks at what kubectl complains of.
async fn each_is_refused(kubectl: &Kubectl, rows: Vec<Row>) -> Result<()> {
    let refused = async |(yaml, told): Row| {
        let message = kubectl.refused(&yaml).await?;
        let missing: Vec<_> = told.iter().filter(|part| !message.contains(*part)).collect();
        ensure!(missing.is_empty(), "{missing:?} is missing in:\n{message}\nof:\n{yaml}");
        Ok(())
    };
    stream::iter(rows).map(refused).buffer_unordered(AT_A_TIME).try_collect().await
}

/// An object of korder's with this spec, in flow style.
fn object(kind: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: core.korder.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
}

/// An order with this spec.
fn order(spec: &str) -> String {
    object("Order", "bad", spec)
}

/// An order whose tickets have this spec.
fn order_of(ticket: &str) -> String {
    order(&format!("template: {{spec: {{{ticket}}}}}"))
}

/// An order that is right, but for what is added.
fn right_but(addition: &str) -> String {
    order(&format!("template: {{spec: {{duration: 24h, resources: {{requests: {{cpu: 500m}}}}}}}}, {addition}"))
}

/// An order whose ticket is right, but for what is added.
fn right_ticket_but(addition: &str) -> String {
    order_of(&format!("duration: 24h, resources: {{requests: {{cpu: 500m}}}}, {addition}"))
}

async fn values_that_make_no_sense(case: &Case) -> Result<()> {
    let cpu = |amount: &str| order_of(&format!("duration: 24h, resources: {{requests: {{cpu: {amount}}}}}"));
    let lasting = |duration: &str| order_of(&format!("duration: {duration}, resources: {{requests: {{cpu: 1}}}}"));
    let quantity = "must be a non-negative quantity up to 9E, such as 500m, 2 or 1Gi";
    let duration = "must be a duration above 0 and up to 87600h, such as 30m, 24h or 1h30m";
    let (in_cpu, in_duration) = ("spec.template.spec.resources.requests[cpu]", "spec.template.spec.duration");
    let long_name = right_but("").replace("name: bad", &format!("name: {}", "a".repeat(53)));
    // What a rule in CEL refuses is shown from 1.35 on; before, the name of its type is, or nothing.
    let version = case.client().apiserver_version().await?;
    let shown = |value| if version.minor.starts_with("34") { "Invalid value" } else { value };
    let rows = vec![
        (right_but("replicas: -1"), vec!["spec.replicas", "-1", "greater than or equal to 0"]),
        (right_but("replicas: lots"), vec!["spec.replicas", "must be of type integer"]),
        (cpu("lots"), vec![in_cpu, shown("\"lots\""), quantity]),
        (cpu("-1"), vec![in_cpu, shown("-1"), quantity]),
        (cpu("1.5 GB"), vec![in_cpu, shown("\"1.5 GB\""), quantity]),
        (
            order_of("duration: 24h, resources: {requests: {cpu: 2, memory: 1Gi}, limits: {cpu: 1500m, memory: 1Gi}}"),
            vec!["spec.template.spec.resources", "requests must not be above limits"],
        ),
        (lasting("24 hours"), vec![in_duration, shown("\"24 hours\""), duration]),
        (lasting("0s"), vec![in_duration, shown("\"0s\""), duration]),
        (lasting("-1h"), vec![in_duration, shown("\"-1h\""), duration]),
        (
            right_but("strategy: {type: Sometimes}"),
            vec!["spec.strategy.type", "\"Sometimes\"", "\"OneTime\", \"Scheduled\", \"Recurring\""],
        ),
        (
            right_but("strategy: {refreshPolicy: Often}"),
            vec!["spec.strategy.refreshPolicy", "\"Often\"", "\"Never\", \"OnClaim\", \"Always\""],
        ),
        (
            right_ticket_but("priorityClassName: system-node-critical"),
            vec!["spec.template.spec.priorityClassName", shown("\"system-node-critical\""), "can't be reserved for"],
        ),
        (long_name, vec!["at most 52 characters"]),
    ];
    each_is_refused(&case.kubectl(), rows).await
}

async fn fields_that_are_unknown(case: &Case) -> Result<()> {
    let rows = vec![
        (right_but("replica: 1"), vec!["unknown field \"spec.replica\""]),
        (
            order_of("duration: 24h, resources: {requets: {cpu: 1}}"),
            vec!["unknown field \"spec.template.spec.resources.requets\""],
        ),
    ];
    each_is_refused(&case.kubectl(), rows).await
}

async fn fields_that_do_not_go_together(case: &Case) -> Result<()> {
    let scheduled = "schedule is required for Scheduled and Recurring, and refused for OneTime";
    let of_requests = "belong to an order with item or inventoryRef";
    let labelled =
        "template: {metadata: {labels: {korder.dev/order: x}}, spec: {duration: 1h, resources: {requests: {cpu: 1}}}}";
    let rows = vec![
        (order("replicas: 1"), vec!["spec", "exactly one of template, item and inventoryRef must be set"]),
        (right_but("strategy: {type: Scheduled}"), vec!["spec.strategy", scheduled]),
        (right_but("strategy: {schedule: '0 2 * * *'}"), vec!["spec.strategy", scheduled]),
        (right_but("daemonSet: true, replicas: 2"), vec!["spec", "replicas can't be set with daemonSet"]),
        (right_but("holdFor: 1h"), vec!["spec", "holdFor", of_requests]),
        (order_of("duration: 24h, resources: {}"), vec!["resources", "must name at least one resource"]),
        (order_of("resources: {requests: {cpu: 1}}"), vec!["exactly one of duration and window must be set"]),
        (order(labelled), vec!["spec.template.metadata.labels", "labels under korder.dev/ are korder's own"]),
    ];
    each_is_refused(&case.kubectl(), rows).await
}

async fn what_is_not_built_yet(case: &Case) -> Result<()> {
    let tickets = [
        ("acquire: Preempt", "acquire: Preempt", "use Wait"),
        ("lifecycle: {onExpiry: Evict}", "lifecycle.onExpiry: Evict", "use Keep"),
        ("lifecycle: {reuse: OnDelete}", "lifecycle.reuse: OnDelete", "use Never"),
    ];
    let orders = [
        ("daemonSet: true", "daemonSet: true", "leave it out and give replicas"),
        ("minReadySeconds: 10", "minReadySeconds: 10", "leave it out"),
        ("strategy: {type: Scheduled, schedule: '0 2 * * *'}", "strategy.type: Scheduled", "use OneTime"),
        ("strategy: {type: Recurring, schedule: '0 2 * * *'}", "strategy.type: Recurring", "use OneTime"),
    ];
    let mut rows = Vec::new();
    for (addition, named, instead) in tickets {
        let spec = format!("duration: 1h, resources: {{requests: {{cpu: 1}}}}, {addition}");
        let alone = object("Ticket", "bad", &spec);
        rows.push((alone, vec!["`spec.", named, "is not built yet", instead]));
        rows.push((right_ticket_but(addition), vec!["`spec.template.spec.", named, "is not built yet", instead]));
    }
    for (addition, named, instead) in orders {
        rows.push((right_but(addition), vec!["`spec.", named, "is not built yet", instead]));
    }
    let window = order_of("window: {startTime: '2030-01-01T00:00:00Z', duration: 1h}, resources: {requests: {cpu: 1}}");
    rows.push((window, vec!["`spec.template.spec.window` is not built yet; use duration"]));
    let package = "item: {operation: {package: {name: town, version: 1.0.0}}}";
    let told = "`spec.item.operation.package` is not built yet; use operation.job or operation.manifests";
    rows.push((order(package), vec![told]));
    rows.push((object("Inventory", "bad", &format!("replicas: 1, {package}")), vec![told]));
    rows.push((
        object("Quota", "bad", "scope: {type: Cluster}, hard: {orders: '10'}"),
        vec!["kind `Quota` is not built yet"],
    ));
    each_is_refused(&case.kubectl(), rows).await
}

/// The operation of a job that does something.
const JOB: &str = "operation: {job: {template: {spec: {containers: [{name: build, image: build}]}}}}";

/// An inventory of one unit that a job makes, right but for what is added.
fn inventory_of_job(addition: &str) -> String {
    object("Inventory", "bad", &format!("replicas: 1, item: {{{JOB}}}, {addition}"))
}

/// An inventory of one unit that manifests make; the metadata of their one object.
fn inventory_of_config_map(metadata: &str) -> String {
    let object_of_it = format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{{metadata}}}}}");
    object("Inventory", "bad", &format!("replicas: 1, item: {{operation: {{manifests: [{object_of_it}]}}}}"))
}

async fn items_that_make_no_sense(case: &Case) -> Result<()> {
    let inventory = |spec: &str| object("Inventory", "bad", spec);
    let item = |item: &str| inventory(&format!("replicas: 1, item: {{{item}}}"));
    let two = "operation: {package: {name: town, version: 1.0.0}, job: {template: {spec: {containers: [{name: b, image: b}]}}}}";
    let one_of = "an operation is exactly one of `job`, `package` and `manifests`";
    let config_map = "operation: {manifests: [{apiVersion: v1, kind: ConfigMap, metadata: {name: c-$(stock.name)}}]}";
    let secret = "object: {kind: Secret, name: s-$(stock.name)}";
    let reset = "reclaimPolicy: Restock, reset: {template: {spec: {containers: [{name: clean, image: cleaner}]}}}";
    let rows = vec![
        (item("operation: {}"), vec!["spec.item.operation", one_of]),
        (item(two), vec!["spec.item.operation", one_of]),
        (order(&format!("item: {{{two}}}")), vec!["spec.item.operation", one_of]),
        (inventory_of_config_map("name: fixed"), vec!["`metadata.name` must contain `$(stock.name)`"]),
        (inventory_of_config_map("generateName: x-, name: $(stock.name)"), vec!["`metadata.generateName` is refused"]),
        (item(&format!("type: Copy, {config_map}")), vec!["type `Copy` can't be made by `operation.manifests`"]),
        (item(&format!("{JOB}, inputs: {{a-b: c}}")), vec!["that of an environment variable"]),
        (
            item(&format!("{JOB}, outputs: [{{name: p, from: {{{secret}, secretKey: p}}}}]")),
            vec!["the outputs of a job are taken `from.result`"],
        ),
        (
            item(&format!("{config_map}, outputs: [{{name: p, from: {{{secret}}}}}]")),
            vec!["`object` needs exactly one of `fieldPath` and `secretKey`"],
        ),
        (
            item(&format!("{config_map}, outputs: [{{name: p, sensitive: false, from: {{{secret}, secretKey: p}}}}]")),
            vec!["an output taken from a `secretKey` is sensitive"],
        ),
        (
            item(&format!("{JOB}, readyWhen: [{{kind: Pod, name: $(stock.name), expression: 'true'}}]")),
            vec!["`readyWhen` is for `operation.manifests`"],
        ),
        (item(&format!("{JOB}, onClaim: {{patches: []}}")), vec!["`onClaim` is reserved and not supported yet"]),
        (inventory_of_job("demand: {maxReplicas: 3}"), vec!["set exactly one of `replicas`"]),
        (inventory(&format!("item: {{{JOB}}}")), vec!["set exactly one of `replicas`"]),
        (
            inventory(&format!("item: {{{JOB}}}, demand: {{minReplicas: 4, maxReplicas: 3}}")),
            vec!["`minReplicas` must not exceed `maxReplicas`"],
        ),
        (
            inventory(&format!("item: {{type: Copy, {JOB}}}, replicas: 2")),
            vec!["an item of type `Copy` is shared by all orders: its level is at most 1"],
        ),
        (inventory_of_job("reclaimPolicy: Restock"), vec!["`reclaimPolicy: Restock` needs `reset`"]),
        (
            inventory(&format!("item: {{type: Copy, {JOB}}}, replicas: 1, {reset}")),
            vec!["an item of type `Copy` is never given back"],
        ),
        (
            inventory(&format!(
                "item: {{{config_map}, outputs: [{{name: p, from: {{{secret}, secretKey: p}}}}]}}, replicas: 1, {reset}"
            )),
            vec!["a unit with a sensitive output of an object can't be made like new"],
        ),
        (inventory_of_job("probe: {periodSeconds: 60}"), vec!["a probe is exactly one of `job` and `expression`"]),
        (inventory_of_job("inputs: {SIZE: {}}"), vec!["an input is limited by exactly one of `enum` and `pattern`"]),
        (inventory_of_job("inputs: {SIZE: {pattern: '[a-z]+'}}"), vec!["`pattern` needs `maxLength`"]),
        (
            inventory_of_job("").replace("name: bad", &format!("name: {}", "a".repeat(53))),
            vec!["at most 52 characters"],
        ),
        (
            order(&format!("item: {{{JOB}}}, inventoryRef: {{name: i}}")),
            vec!["exactly one of template, item and inventoryRef"],
        ),
        (
            order(&format!("item: {{{JOB}}}, strategy: {{refreshPolicy: Always}}")),
            vec!["belong to an order with template"],
        ),
        (
            order("inventoryRef: {name: i}, deliver: {}"),
            vec!["exactly one of configMapName and secretName must be set"],
        ),
        (
            object("Stock", "bad", &format!("inventoryName: shelf, sku: v1-0, item: {{{JOB}}}")),
            vec!["a Stock is made by korder alone: make an Inventory"],
        ),
        (
            inventory_of_config_map("name: $(stock.name), namespace: elsewhere"),
            vec!["`ConfigMap` `$(stock.name)` is of namespace `elsewhere`", "leave `metadata.namespace` out"],
        ),
        (
            item("operation: {manifests: [{apiVersion: v1, kind: Namespace, metadata: {name: $(stock.name)}}]}"),
            vec!["`Namespace` is a kind of the whole cluster"],
        ),
    ];
    each_is_refused(&case.kubectl(), rows).await
}

async fn annotations_and_labels_of_pods(case: &Case) -> Result<()> {
    let pod = |metadata: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: bad, {metadata}}}\n\
             spec: {{containers: [{{name: app, image: nginx}}]}}\n"
        )
    };
    let table = [
        ("required: 'yes'", "annotation `korder.dev/required: yes` is refused: it must be \"true\" or \"false\""),
        (
            "timeout: 5 minutes",
            "annotation `korder.dev/timeout: 5 minutes` is refused: it must be a duration above 0 and up to 87600h",
        ),
        ("timeout: 99999h", "annotation `korder.dev/timeout: 99999h` is refused"),
        ("timeout: 999999999h", "annotation `korder.dev/timeout: 999999999h` is refused"),
        ("ticket: team-a/shelf-1", "it must be the name of a ticket in the namespace of the pod"),
        (
            "ticket-selector: a in b",
            "annotation `korder.dev/ticket-selector: a in b` is refused: it must be a label selector",
        ),
        ("group: ring", "annotation `korder.dev/group` is refused: it needs `korder.dev/group-size`"),
        ("group-size: '501'", "annotation `korder.dev/group-size: 501` is refused: it must be a number from 1 to 500"),
        ("on-timeout: Fallback", "annotation `korder.dev/on-timeout` is refused: it needs `korder.dev/timeout`"),
        ("order: My Order", "annotation `korder.dev/order: My Order` is refused: it must be the name of an order"),
        (
            "requierd: 'true'",
            "annotation `korder.dev/requierd` is unknown; known are korder.dev/required, korder.dev/order",
        ),
        ("bound-ticket: shelf-1", "annotation `korder.dev/bound-ticket` is korder's own"),
    ];
    let annotated = |(annotation, told)| (pod(&format!("annotations: {{korder.dev/{annotation}}}")), vec![told]);
    let mut rows: Vec<Row> = table.into_iter().map(annotated).collect();
    rows.push((pod("labels: {korder.dev/role: guardian}"), vec!["label `korder.dev/role` is korder's own"]));
    each_is_refused(&case.kubectl(), rows).await
}

async fn changes_of_a_ticket(case: &Case) -> Result<()> {
    let kubectl = case.kubectl();
    let ticket = |spec: &str| object("Ticket", "single", &format!("resources: {{requests: {{cpu: 1m}}}}, {spec}"));
    kubectl.apply(&ticket("duration: 1h")).await?;
    kubectl.apply(&ticket("duration: 1h, lifecycle: {cleanupPolicy: Retain}")).await?;
    let told = "`spec.duration` can't be changed: of a ticket only `spec.lifecycle` can";
    each_is_refused(&kubectl, vec![(ticket("duration: 2h"), vec![told])]).await
}
