//! What a shell offers after `kubectl create order`, as kubectl asks its plugins: the words so far are arguments, the last of them
//! perhaps a part of one; the answer is a choice a line, a description after a tab, and then a colon with a sum of flags.

use clap::{Arg, Command, CommandFactory as _};
use korder_api::Inventory;
use kube::api::{Api, ListParams};
use kube::config::KubeConfigOptions;
use kube::{Client, Config, ResourceExt};

use super::{Arguments, COMPLETION_TIMEOUT};

/// The flag that says: offer no files.
const NO_FILES: &str = ":4";
/// None of the flags: offer files where nothing else is.
const FILES: &str = ":0";

/// What can come next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// One of these words, each with its description after a tab; they begin with what stands there.
    Words(Vec<String>),
    /// A file.
    File,
    /// The name of an inventory, after this.
    Inventory(String),
}

/// The answer for these words.
pub(crate) async fn complete(words: &[String]) -> String {
    let (mut lines, last) = match choice(words) {
        Choice::Words(words) => (words, NO_FILES),
        Choice::File => (vec![], FILES),
        Choice::Inventory(before) => {
            let names = tokio::time::timeout(COMPLETION_TIMEOUT, inventories(words)).await;
            // A shell has nobody to tell what went wrong.
            let names = names.ok().and_then(Result::ok).unwrap_or_default();
            (names.into_iter().map(|name| format!("{before}{name}")).collect(), NO_FILES)
        }
    };
    lines.push(last.to_owned());
    lines.join("\n")
}

/// What can come next after these words, the last of which may be a part of one.
pub(super) fn choice(words: &[String]) -> Choice {
    let command = Arguments::command();
    let (last, before) = words.split_last().map_or(("", &words[..0]), |(last, before)| (last.as_str(), before));
    if let Some((flag, value)) = last.split_once('=').filter(|_| last.starts_with("--")) {
        return argument(&command, flag)
            .map_or(Choice::Words(vec![]), |found| of_value(found, value, &format!("{flag}=")));
    }
    let previous = before.last().and_then(|word| argument(&command, word));
    if let Some(found) = previous.filter(|found| found.get_action().takes_values() && !found.is_require_equals_set()) {
        return of_value(found, last, "");
    }
    if !last.starts_with('-') {
        return Choice::Words(vec![]);
    }
    let longs = command.get_arguments().filter(|found| !found.is_hide_set()).filter_map(|found| {
        let help = found.get_help().map(ToString::to_string).unwrap_or_default();
        let equals = if found.is_require_equals_set() { "=" } else { "" };
        Some(format!("--{}{equals}\t{}", found.get_long()?, help.lines().next().unwrap_or_default()))
    });
    Choice::Words(longs.filter(|line| line.starts_with(last)).collect())
}

/// The argument that a word names: `--output` or `-o`.
fn argument<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let long = word.strip_prefix("--");
    let mut letters = word.chars();
    let short = match (letters.next(), letters.next(), letters.next()) {
        (Some('-'), Some(letter), None) => Some(letter),
        _ => None,
    };
    command.get_arguments().find(|found| {
        let aliases = found.get_visible_aliases().unwrap_or_default();
        long.is_some_and(|long| found.get_long() == Some(long) || aliases.contains(&long))
            || short.is_some() && found.get_short() == short
    })
}

fn of_value(found: &Arg, begun: &str, before: &str) -> Choice {
    match found.get_id().as_str() {
        "item_file" | "kubeconfig" => Choice::File,
        "inventory" => Choice::Inventory(before.to_owned()),
        _ => {
            let possible = found.get_possible_values();
            let names = possible.iter().map(|value| {
                let help = value.get_help().map(ToString::to_string).unwrap_or_default();
                (value.get_name().to_owned(), help)
            });
            Choice::Words(
                names
                    .filter(|(name, _)| name.starts_with(begun))
                    .map(|(name, help)| format!("{before}{name}\t{help}"))
                    .collect(),
            )
        }
    }
}

/// The names of the inventories in the namespace that the words name.
async fn inventories(words: &[String]) -> anyhow::Result<Vec<String>> {
    let value = |names: &[&str]| {
        words.iter().enumerate().find_map(|(index, word)| match word.split_once('=') {
            Some((name, value)) if names.contains(&name) => Some(value.to_owned()),
            None if names.contains(&word.as_str()) => words.get(index + 1).cloned(),
            _ => None,
        })
    };
    let options = KubeConfigOptions { context: value(&["--context"]), ..KubeConfigOptions::default() };
    let config = match value(&["--kubeconfig"]) {
        Some(file) => Config::from_custom_kubeconfig(kube::config::Kubeconfig::read_from(file)?, &options).await?,
        None => Config::from_kubeconfig(&options).await?,
    };
    let client = Client::try_from(config)?;
    let namespace = value(&["-n", "--namespace"]).unwrap_or_else(|| client.default_namespace().to_owned());
    let listed = Api::<Inventory>::namespaced(client, &namespace).list_metadata(&ListParams::default()).await?;
    Ok(listed.items.iter().map(ResourceExt::name_any).collect())
}
