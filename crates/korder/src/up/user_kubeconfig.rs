//! The user's own kubeconfig.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::instance::{make_private_dir, write_private};

/// Name of the context, the cluster and the user that are added.
const NAME: &str = "korder";

/// Adds the access of `kubeconfig` to the user's own as the context `korder`, and returns the user's file. Whatever
/// else is in there stays; the current context changes only where there is none.
pub(crate) fn merge_kubeconfig(kubeconfig: &Path) -> anyhow::Result<PathBuf> {
    let path = user_file().context("there is neither `KUBECONFIG` nor a home directory")?;
    let mut merged = match fs::read_to_string(&path) {
        Ok(text) => parse(&text).with_context(|| format!("cannot read `{}`", path.display()))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => json!({"apiVersion": "v1", "kind": "Config"}),
        Err(error) => return Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    };
    let text = fs::read_to_string(kubeconfig).with_context(|| format!("cannot read `{}`", kubeconfig.display()))?;
    let ours = parse(&text).with_context(|| format!("cannot read `{}`", kubeconfig.display()))?;
    merge(&mut merged, &ours).with_context(|| format!("`{}` is no kubeconfig", path.display()))?;
    if let Some(directory) = path.parent() {
        make_private_dir(directory)?;
    }
    write_private(&path, serde_saphyr::to_string(&merged)?.as_bytes())?;
    Ok(path)
}

/// The file that `kubectl config` changes.
fn user_file() -> Option<PathBuf> {
    let listed =
        env::var_os("KUBECONFIG").and_then(|list| env::split_paths(&list).find(|path| !path.as_os_str().is_empty()));
    listed.or_else(|| Some(env::home_dir()?.join(".kube").join("config")))
}

fn parse(text: &str) -> anyhow::Result<Value> {
    // A name such as `no` is a name, as kubectl reads it too.
    let options = serde_saphyr::options! { strict_booleans: true };
    let value: Value = serde_saphyr::from_str_with_options(text, options)?;
    // An empty file is an empty kubeconfig.
    Ok(if value.is_null() { json!({}) } else { value })
}

/// Puts the only cluster and user of `ours` into `target` under our name.
fn merge(target: &mut Value, ours: &Value) -> anyhow::Result<()> {
    let target = target.as_object_mut().context("it is not an object")?;
    put(target, "clusters", "cluster", &ours["clusters"][0]["cluster"])?;
    put(target, "users", "user", &ours["users"][0]["user"])?;
    put(target, "contexts", "context", &json!({"cluster": NAME, "user": NAME}))?;
    let current = target.entry("current-context").or_insert(Value::Null);
    if current.as_str().unwrap_or_default().is_empty() {
        *current = NAME.into();
    }
    Ok(())
}

/// Sets the entry of our name in a list of named entries.
fn put(target: &mut Map<String, Value>, list: &str, kind: &str, value: &Value) -> anyhow::Result<()> {
    let entries = target.entry(list).or_insert(Value::Null);
    if entries.is_null() {
        *entries = json!([]);
    }
    let entries = entries.as_array_mut().with_context(|| format!("`{list}` is not a list"))?;
    entries.retain(|entry| entry["name"] != NAME);
    entries.push(json!({"name": NAME, kind: value}));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Value {
        json!({"clusters": [{"name": "c", "cluster": {"server": "s"}}], "users": [{"name": "u", "user": {"token": "t"}}]})
    }

    #[test]
    fn an_empty_file_gets_all_that_is_needed() {
        let mut target = parse("").unwrap();
        merge(&mut target, &ours()).unwrap();
        assert_eq!(
            target,
            json!({
                "clusters": [{"name": "korder", "cluster": {"server": "s"}}],
                "users": [{"name": "korder", "user": {"token": "t"}}],
                "contexts": [{"name": "korder", "context": {"cluster": "korder", "user": "korder"}}],
                "current-context": "korder",
            })
        );
    }

    #[test]
    fn what_others_have_stays_and_ours_is_replaced() {
        let text = "clusters: [{name: a, cluster: {server: x, tls-server-name: y}}, {name: korder, cluster: {server: old}}]\n\
                    users: null\ncurrent-context: a\npreferences: {colors: true}\n";
        let mut target = parse(text).unwrap();
        merge(&mut target, &ours()).unwrap();
        assert_eq!(target["clusters"][0], json!({"name": "a", "cluster": {"server": "x", "tls-server-name": "y"}}));
        assert_eq!(target["clusters"][1]["cluster"]["server"], "s");
        assert_eq!(target["clusters"].as_array().map(Vec::len), Some(2));
        assert_eq!(target["current-context"], "a");
        assert_eq!(target["preferences"], json!({"colors": true}));
    }

    #[test]
    fn what_is_no_kubeconfig_is_refused() {
        assert!(merge(&mut json!([1]), &ours()).is_err());
        assert!(merge(&mut json!({"clusters": 1}), &ours()).is_err());
    }
}
