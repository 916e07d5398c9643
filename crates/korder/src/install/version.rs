//! The versions of Kubernetes that korder runs on.

use std::ops::RangeInclusive;

use cli::Hinted;
use k8s_openapi::apimachinery::pkg::version::Info;

/// The oldest minor version of Kubernetes 1.
const OLDEST_MINOR: u32 = 32;
/// The minor versions of Kubernetes 1 that this korder was tested on.
pub(crate) const TESTED_MINORS: RangeInclusive<u32> = 34..=36;

/// Refuses a cluster that is too old, with the reason.
pub(crate) fn check(version: &Info) -> Result<(), Hinted> {
    let too_old = match (version.major.as_str(), minor(version)) {
        ("1", Some(minor)) => minor < OLDEST_MINOR,
        (major, _) => major.parse::<u32>().is_ok_and(|major| major < 1),
    };
    if too_old {
        return Err(Hinted::new(
            format!(
                "the cluster runs Kubernetes `{}`, and korder needs 1.{OLDEST_MINOR} or newer: \
                 before it, custom resources can't be selected by field, as in \
                 `kubectl get ktk --field-selector .status.phase=Ready`, and the hand-over was never tried",
                version.git_version
            ),
            "upgrade the cluster, or try korder on an embedded one with `korder up`",
        ));
    }
    Ok(())
}

/// The minor version; vendors append to it, as in `31+`.
pub(crate) fn minor(version: &Info) -> Option<u32> {
    let digits: String = version.minor.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(major: &str, minor: &str) -> bool {
        let git_version = format!("v{major}.{minor}.0");
        check(&Info { major: major.into(), minor: minor.into(), git_version, ..Info::default() }).is_ok()
    }

    #[test]
    fn from_1_32_on() {
        for (minor, good) in [("28", false), ("31", false), ("31+", false), ("32", true), ("32+", true), ("36", true)] {
            assert_eq!(accepted("1", minor), good, "1.{minor}");
        }
        assert!(accepted("2", "0"));
    }

    #[test]
    fn the_refusal_says_what_runs_and_what_is_needed() {
        let old = Info { major: "1".into(), minor: "28".into(), git_version: "v1.28.4".into(), ..Info::default() };
        let refusal = check(&old).unwrap_err().to_string();
        assert!(refusal.contains("`v1.28.4`") && refusal.contains("1.32 or newer"), "{refusal}");
    }
}
