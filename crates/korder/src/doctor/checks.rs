//! What the facts say.

use jiff::SignedDuration;
use korder_api::names::SYSTEM_NAMESPACE;

use super::facts::{Facts, Installed, Korder};
use super::{Finding, Level};
use crate::install::{self, Effect, IMAGE, TESTED_MINORS};

/// How many of a kind are named.
const MAX_NAMED: usize = 5;
/// A leader that was not heard of for so long does not act any more; the clocks may differ by some seconds.
const SILENT: SignedDuration = SignedDuration::from_secs(60);
/// How many kinds korder has.
const KINDS: usize = 5;

/// What each check finds; the worst is not first, the order is that of an installation.
pub(crate) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![version(facts), policies(facts), rights(facts)];
    findings.extend(names(facts));
    findings.extend(quotas(facts));
    findings.extend(limit_ranges(facts));
    match &facts.korder {
        Korder::Absent { embedded: false } => {
            findings.push(finding("korder", Level::Note, "korder is not installed", Some("`korder install`")));
        }
        Korder::Absent { embedded: true } => {
            let advice = "`korder down`, then `korder up`: on this embedded cluster it runs on the host";
            findings.push(finding("korder", Level::Note, "korder is not installed", Some(advice)));
        }
        Korder::Hidden => {}
        Korder::There(installed) => {
            findings.extend(kinds(installed));
            findings.extend(programs(installed));
            findings.extend(leader(installed));
            findings.extend(gate(installed));
            findings.extend(refusal(installed));
            findings.extend(grants(installed));
        }
    }
    findings.extend(hidden(facts));
    findings
}

fn finding(check: &'static str, level: Level, message: impl Into<String>, advice: Option<&str>) -> Finding {
    Finding { check, level, message: message.into(), advice: advice.map(str::to_owned) }
}

fn version(Facts { version, .. }: &Facts) -> Finding {
    let check = "version";
    let running = format!("Kubernetes {}", version.git_version);
    if let Err(refused) = install::check_version(version) {
        return finding(check, Level::Failure, refused.to_string(), Some("upgrade the cluster"));
    }
    let minor = install::minor(version).filter(|_| version.major == "1");
    if minor.is_some_and(|minor| TESTED_MINORS.contains(&minor)) {
        return finding(check, Level::Ok, running, None);
    }
    let (first, last) = (TESTED_MINORS.start(), TESTED_MINORS.end());
    let tested = if first == last { format!("1.{first}") } else { format!("1.{first} to 1.{last}") };
    let advice = "try it before you rely on it";
    finding(check, Level::Warning, format!("{running}; this korder was tested on {tested}"), Some(advice))
}

fn policies(Facts { policies, .. }: &Facts) -> Finding {
    let message = match policies {
        Some(_) => "the gate can be a policy: no program stands in a pod's way",
        None => "the cluster has no policies that change objects: pods that ask for a ticket wait by a webhook",
    };
    finding("gate form", Level::Ok, message, None)
}

fn rights(Facts { denied, korder, .. }: &Facts) -> Finding {
    if denied.is_empty() {
        return finding("rights", Level::Ok, "your account may install korder", None);
    }
    let level = if matches!(korder, Korder::Absent { .. }) { Level::Failure } else { Level::Note };
    let message = format!("your account may not {}", some(denied));
    finding("rights", level, message, Some("let a cluster administrator install it"))
}

fn names(Facts { served, .. }: &Facts) -> Vec<Finding> {
    let clashes = install::name_clashes(served).into_iter();
    clashes.map(|clash| finding("names", Level::Warning, clash.message, Some(&clash.advice))).collect()
}

/// What nothing could be said of.
fn hidden(Facts { hidden, .. }: &Facts) -> Option<Finding> {
    let message = format!("your account may not {}: what depends on it was not checked", hidden.join(", "));
    let advice = "let a cluster administrator run `korder doctor`";
    (!hidden.is_empty()).then(|| finding("sight", Level::Note, message, Some(advice)))
}

/// Quotas that count guardians, where there are orders.
fn quotas(Facts { quotas, ordering, .. }: &Facts) -> Vec<Finding> {
    let (Some(quotas), Some(ordering)) = (quotas, ordering) else { return vec![] };
    let counting = quotas.iter().filter(|quota| {
        let in_use = quota.metadata.namespace.as_ref().is_some_and(|namespace| ordering.contains(namespace));
        in_use && korder_core::limits::counts_guardians(quota)
    });
    let named = counting.map(|quota| {
        let namespace = quota.metadata.namespace.clone().unwrap_or_default();
        let name = quota.metadata.name.clone().unwrap_or_default();
        let message = format!(
            "the ResourceQuota `{name}` in namespace `{namespace}` counts guardians beside the pods that they wait for"
        );
        let advice =
            format!("`korder resource-quota -n {namespace} {name}` prints one that does not, and `--apply` writes it");
        finding("quotas", Level::Warning, message, Some(&advice))
    });
    let found: Vec<_> = named.collect();
    if found.is_empty() { vec![finding("quotas", Level::Ok, "no ResourceQuota counts guardians", None)] } else { found }
}

fn limit_ranges(Facts { limited, ordering, .. }: &Facts) -> Option<Finding> {
    let both: Vec<String> = ordering.iter().flatten().filter(|name| limited.contains(*name)).cloned().collect();
    let message = format!("LimitRanges apply to guardians in {}", some(&both));
    let advice = "where one refuses or enlarges a guardian, its ticket says so";
    (!both.is_empty()).then(|| finding("limit ranges", Level::Note, message, Some(advice)))
}

fn kinds(Installed { kinds, .. }: &Installed) -> Option<Finding> {
    let kinds = (*kinds)?;
    if kinds == KINDS {
        return Some(finding("kinds", Level::Ok, "korder's kinds can be used", None));
    }
    let message = format!("{kinds} of {KINDS} of korder's kinds can be used");
    Some(finding("kinds", Level::Failure, message, Some("`korder install` again, or `make install`")))
}

fn programs(Installed { programs, elects, .. }: &Installed) -> Vec<Finding> {
    let judge = |program: &super::facts::Program| {
        let super::facts::Program { name, image, wanted, ready, is_available } = program;
        let state = format!("`{name}`: {ready} of {wanted} pods are ready");
        if *ready == 0 {
            let advice = format!("`kubectl describe pods -n {SYSTEM_NAMESPACE} -l app.kubernetes.io/name={name}`");
            return finding("programs", Level::Failure, state, Some(&advice));
        }
        if !is_available {
            return finding("programs", Level::Warning, state, Some("wait, or see why with `kubectl describe`"));
        }
        let version = image.rsplit_once(':').map(|(_, tag)| tag);
        let own = IMAGE.rsplit_once(':').map(|(_, tag)| tag);
        if *elects && !image.contains('@') && version != own {
            let message = format!("{state}; they run `{image}`, and this is korder {}", own.unwrap_or_default());
            return finding("programs", Level::Note, message, None);
        }
        finding("programs", Level::Ok, state, None)
    };
    programs.iter().map(judge).collect()
}

fn leader(Installed { leader, elects, .. }: &Installed) -> Option<Finding> {
    if !elects {
        return None;
    }
    let advice = format!("see `kubectl logs -n {SYSTEM_NAMESPACE} deployment/korder-controller-manager`");
    Some(match leader {
        None => finding("leader", Level::Failure, "no process of the controllers leads", Some(&advice)),
        Some(leader) if leader.silent > SILENT => {
            let seconds = leader.silent.as_secs();
            let message = format!("`{}` leads and was not heard of for {seconds} s", leader.holder);
            finding("leader", Level::Failure, message, Some(&advice))
        }
        Some(leader) => finding("leader", Level::Ok, format!("`{}` leads", leader.holder), None),
    })
}

fn gate(Installed { webhook, gate, .. }: &Installed) -> Option<Finding> {
    let form = if webhook.is_some() { "webhook" } else { "policy" };
    if *webhook == Some(false) {
        let message = "the webhook has not told the API server whom to trust: pods that ask for a ticket are refused";
        let advice = format!("see `kubectl logs -n {SYSTEM_NAMESPACE} deployment/korder-webhook`");
        return Some(finding("gate", Level::Failure, message, Some(&advice)));
    }
    Some(match gate.as_ref()? {
        Effect::Yes => finding("gate", Level::Ok, format!("pods that ask for a ticket wait for it (by {form})"), None),
        Effect::No => {
            let message = "pods that ask for a ticket are not held back";
            finding("gate", Level::Failure, message, Some("`korder install` again"))
        }
        Effect::Untold(reason) if webhook.is_some() => {
            let advice = "the API server must reach the pods of `korder-webhook`: see their readiness, network policies and \
                          firewalls between control plane and nodes";
            let message = format!("a pod that asks for a ticket is refused: {reason}");
            finding("gate", Level::Failure, message, Some(advice))
        }
        Effect::Untold(reason) => {
            finding("gate", Level::Warning, format!("the gate could not be tried out: {reason}"), None)
        }
    })
}

fn refusal(Installed { refusal, .. }: &Installed) -> Option<Finding> {
    Some(match refusal.as_ref()? {
        Effect::Yes => finding("policies", Level::Ok, "what is wrong is refused", None),
        Effect::No => {
            let message = "wrong annotations of korder's are not refused";
            finding("policies", Level::Failure, message, Some("`korder install` again"))
        }
        Effect::Untold(reason) => {
            finding("policies", Level::Warning, format!("the policies could not be tried out: {reason}"), None)
        }
    })
}

/// Whom units of stock are made as, and inventories that can't make any.
fn grants(Installed { grants, ungranted, .. }: &Installed) -> Vec<Finding> {
    let missing = ungranted.iter().map(|(inventory, grant)| {
        let message = format!("the inventory `{inventory}` makes its units as `{grant}`, which is not granted");
        let advice = format!("`korder install --namespace-grant {grant}`");
        finding("grants", Level::Warning, message, Some(&advice))
    });
    let granted: Vec<String> = grants.iter().map(ToString::to_string).collect();
    let there = finding("grants", Level::Ok, format!("units of stock may be made as {}", some(&granted)), None);
    (!granted.is_empty()).then_some(there).into_iter().chain(missing).collect()
}

/// The first of them, and how many more there are.
fn some(all: &[String]) -> String {
    let named = all.iter().take(MAX_NAMED).map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ");
    if all.len() > MAX_NAMED { format!("{named} and {} more", all.len() - MAX_NAMED) } else { named }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use k8s_openapi::api::core::v1::ResourceQuota;
    use k8s_openapi::apimachinery::pkg::version::Info;
    use korder_manifests::PolicyApi;
    use serde_json::json;

    use super::super::facts::{Leader, Program};
    use super::*;

    fn good() -> Facts {
        let program =
            |name: &str| Program { name: name.into(), image: IMAGE.into(), wanted: 2, ready: 2, is_available: true };
        let minor = TESTED_MINORS.end();
        Facts {
            version: Info {
                major: "1".into(),
                minor: minor.to_string(),
                git_version: format!("v1.{minor}.3"),
                ..Info::default()
            },
            policies: Some(PolicyApi::V1),
            served: vec![("orders".into(), "core.korder.dev".into())],
            denied: vec![],
            ordering: Some(BTreeSet::from(["shop".to_owned()])),
            quotas: Some(vec![]),
            limited: BTreeSet::new(),
            hidden: vec![],
            korder: Korder::There(Installed {
                kinds: Some(5),
                programs: vec![program("korder-controller-manager"), program("korder-webhook")],
                leader: Some(Leader { holder: "a_1_2".into(), silent: SignedDuration::from_secs(1) }),
                elects: true,
                webhook: None,
                gate: Some(Effect::Yes),
                refusal: Some(Effect::Yes),
                grants: BTreeSet::from(["shop/builder".parse().unwrap()]),
                ungranted: vec![],
            }),
        }
    }

    /// What is found to be worse than good, but for what is so on each cluster: that Kubernetes has a short name `quota`.
    fn bad(facts: &Facts) -> Vec<Finding> {
        let everywhere = |finding: &Finding| finding.message.contains("`kubectl get quota`");
        findings(facts).into_iter().filter(|finding| finding.level > Level::Ok && !everywhere(finding)).collect()
    }

    fn change(facts: &mut Facts, change: impl FnOnce(&mut Facts, &mut Installed)) {
        let Korder::There(mut installed) = facts.korder.clone() else { panic!("it is there") };
        change(facts, &mut installed);
        facts.korder = Korder::There(installed);
    }

    /// What is found to be worse than good after a change, with what is to be done.
    #[track_caller]
    fn check(changed: impl FnOnce(&mut Facts, &mut Installed), level: Level, message: &str, advice: &str) {
        let mut facts = good();
        change(&mut facts, changed);
        let bad = bad(&facts);
        let [Finding { level: found, message: told, advice: advised, .. }] = &bad[..] else { panic!("{bad:#?}") };
        assert_eq!(*found, level, "{told}");
        assert!(told.contains(message), "{told}");
        assert!(advised.clone().unwrap_or_default().contains(advice), "{advised:?}");
    }

    #[test]
    fn all_is_well() {
        assert_eq!(bad(&good()), []);
        let quota = findings(&good()).into_iter().find(|finding| finding.check == "names").unwrap();
        assert!(quota.advice.unwrap().contains("`kubectl get resourcequota`"));
    }

    #[test]
    fn each_trouble_is_found_and_only_that() {
        use Level::{Failure, Note, Warning};
        check(|facts, _| facts.version.minor = "31+".into(), Failure, "needs 1.32", "upgrade");
        check(|facts, _| facts.version.minor = "99".into(), Warning, "was tested on", "try it");
        check(
            |facts, _| facts.denied = vec!["create deployments.apps".into()],
            Note,
            "may not `create deployments",
            "admin",
        );
        let acme = ("orders".to_owned(), "acme.cert-manager.io".to_owned());
        check(
            |facts, _| facts.served.push(acme),
            Warning,
            "`acme.cert-manager.io` has `orders` too",
            "orders.core.korder.dev",
        );
        check(|facts, _| facts.limited = BTreeSet::from(["shop".into(), "other".into()]), Note, "in `shop`", "ticket");
        check(|_, there| there.kinds = Some(4), Failure, "4 of 5", "install");
        check(|_, there| there.programs[1].ready = 0, Failure, "`korder-webhook`: 0 of 2", "describe");
        check(|_, there| there.programs[0].is_available = false, Warning, "2 of 2", "wait");
        check(|_, there| there.programs[0].image = "korder:0.0.9".into(), Note, "run `korder:0.0.9`", "");
        check(|_, there| there.leader = None, Failure, "no process", "logs");
        let silent = |_: &mut Facts, there: &mut Installed| {
            there.leader.as_mut().unwrap().silent = SignedDuration::from_mins(3);
        };
        check(silent, Failure, "180 s", "logs");
        check(|_, there| there.webhook = Some(false), Failure, "whom to trust", "logs");
        check(|_, there| there.gate = Some(Effect::No), Failure, "not held back", "install");
        check(|_, there| there.gate = Some(Effect::Untold("another webhook".into())), Warning, "another webhook", "");
        let unreachable = |_: &mut Facts, there: &mut Installed| {
            (there.webhook, there.gate) = (Some(true), Some(Effect::Untold("no route to host".into())));
        };
        check(unreachable, Failure, "no route to host", "firewalls");
        check(|_, there| there.refusal = Some(Effect::No), Failure, "not refused", "install");
        let ungranted = ("shop/db".to_owned(), "shop/deployer".parse().unwrap());
        check(
            |_, there| there.ungranted.push(ungranted),
            Warning,
            "`shop/db` makes its units as `shop/deployer`",
            "`korder install --namespace-grant shop/deployer`",
        );
    }

    #[test]
    fn missing_rights_keep_a_new_installation_out() {
        let facts = Facts { denied: vec!["x".into(); 7], korder: Korder::Absent { embedded: false }, ..good() };
        let rights = findings(&facts).into_iter().find(|finding| finding.check == "rights").unwrap();
        assert_eq!((rights.level, rights.message.ends_with("and 2 more")), (Level::Failure, true));
    }

    #[test]
    fn a_quota_in_the_way_is_named_where_there_are_orders() {
        let quota = |namespace: &str| -> ResourceQuota {
            serde_json::from_value(json!({
                "metadata": { "name": "team", "namespace": namespace }, "spec": { "hard": { "requests.cpu": "4" } },
            }))
            .unwrap()
        };
        let quotas = vec![quota("shop"), quota("elsewhere")];
        check(
            |facts, _| facts.quotas = Some(quotas),
            Level::Warning,
            "in namespace `shop`",
            "korder resource-quota -n shop team",
        );
    }

    #[test]
    fn one_process_on_the_host_needs_no_leader() {
        let mut facts = good();
        change(&mut facts, |_, installed| (installed.elects, installed.leader) = (false, None));
        assert_eq!(bad(&facts), []);
    }

    #[test]
    fn what_may_not_be_looked_at_is_told_and_not_judged() {
        let mut facts = good();
        change(&mut facts, |facts, installed| {
            (installed.kinds, installed.gate, installed.refusal) = (None, None, None);
            (installed.elects, installed.leader) = (false, None);
            (facts.quotas, facts.hidden) = (None, vec!["list the resourcequotas".into(), "create pods".into()]);
        });
        let told = findings(&facts);
        assert!(
            !told.iter().any(|finding| ["kinds", "gate", "policies", "quotas"].contains(&finding.check)),
            "{told:#?}"
        );
        let [hidden] = &bad(&facts)[..] else { panic!("{told:#?}") };
        assert_eq!(hidden.level, Level::Note);
        assert!(hidden.message.contains("may not list the resourcequotas, create pods"), "{}", hidden.message);
        let nothing = Facts { korder: Korder::Hidden, denied: vec!["x".into()], ..facts };
        assert!(bad(&nothing).iter().all(|finding| finding.level == Level::Note), "{:#?}", bad(&nothing));
    }

    #[test]
    fn how_it_is_installed_depends_on_whose_cluster_it_is() {
        for (embedded, advice) in [(true, "`korder up`"), (false, "`korder install`")] {
            let facts = Facts { korder: Korder::Absent { embedded }, ..good() };
            let [absent] = &bad(&facts)[..] else { panic!("{:#?}", bad(&facts)) };
            assert!(absent.advice.as_ref().is_some_and(|told| told.contains(advice)), "{absent:?}");
        }
    }
}
