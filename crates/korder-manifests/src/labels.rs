//! The labels by which what korder installed is found again.

use serde_json::{Value, json};

/// Label on everything that is installed; its value is `korder`, or `Helm` where Helm has installed it.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label on everything that is installed; its value is `korder`.
pub const PART_OF: &str = "app.kubernetes.io/part-of";
/// Selects everything that is installed.
pub const OURS: &str = "app.kubernetes.io/part-of=korder,app.kubernetes.io/managed-by in (korder,Helm)";

/// The labels of everything that is installed.
pub(crate) fn ours() -> Value {
    json!({ MANAGED_BY: "korder", PART_OF: "korder" })
}

/// The labels of what belongs to one program: those of everything, and its name.
pub(crate) fn of(program: &str) -> Value {
    json!({ MANAGED_BY: "korder", PART_OF: "korder", "app.kubernetes.io/name": program })
}
