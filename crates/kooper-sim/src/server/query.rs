//! The options that requests carry in their query.

use http::Uri;

use crate::refusal::{FieldError, Refusal, bad_request, invalid_as, not_simulated};
use crate::request::query;
use crate::store::ListOptions;

/// Reads the options of a list or a watch. Unknown ones are ignored, as by the API server.
///
/// # Errors
/// 400 for values that can't be read.
pub(super) fn list_options(uri: &Uri) -> Result<ListOptions, Refusal> {
    let mut options = ListOptions::default();
    for (key, value) in query(uri) {
        match key.as_str() {
            "labelSelector" => options.label_selector = value,
            "fieldSelector" => options.field_selector = value,
            "limit" => options.limit = parse(&key, &value)?,
            "continue" => options.continue_token = value,
            "resourceVersion" => options.resource_version = value,
            "resourceVersionMatch" => options.resource_version_match = value,
            "sendInitialEvents" => options.send_initial_events = Some(parse(&key, &value)?),
            "allowWatchBookmarks" => options.allow_watch_bookmarks = parse(&key, &value)?,
            "timeoutSeconds" => options.timeout_seconds = Some(parse(&key, &value)?),
            _ => {}
        }
    }
    Ok(options)
}

/// Whether a write is a dry run, and whether all of its options are simulated.
///
/// # Errors
/// 422 for a `dryRun` other than `All`; 501 for strict validation, since the kinds have no schemas here.
pub(super) fn is_dry_run(uri: &Uri) -> Result<bool, Refusal> {
    let mut dry_run = false;
    for (key, value) in query(uri) {
        match (key.as_str(), value.as_str()) {
            ("dryRun", "All") => dry_run = true,
            ("dryRun", other) => {
                let error = FieldError::not_supported("dryRun", other, &["All"]);
                return Err(invalid_as("meta.k8s.io", "CreateOptions", "", vec![error]));
            }
            ("fieldValidation", "Strict") => return Err(not_simulated("the field validation `Strict`")),
            _ => {}
        }
    }
    Ok(dry_run)
}

fn parse<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, Refusal> {
    value.parse().map_err(|_| bad_request(format!("`{value}` is no value for the option `{key}`")))
}
