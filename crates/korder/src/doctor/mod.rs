//! Whether a cluster is fit for korder, and korder on it well: `korder doctor`.
//!
//! [`facts`] reads what there is, [`checks`] judges it without asking anybody.

mod checks;
mod facts;
mod rights;

use serde::Serialize;

pub(crate) use checks::findings;
pub(crate) use facts::gather;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Something may go wrong.
    Warning,
    /// korder can't be installed, or does not do what it should.
    Failure,
}

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Name of the check.
    pub(crate) check: &'static str,
    /// How bad it is.
    pub(crate) level: Level,
    /// What was found.
    pub(crate) message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) advice: Option<String>,
}
