//! The versions of Kubernetes that can be built here.

use std::env;
use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// The environment variable that names the version where nothing else does.
pub const VERSION_VARIABLE: &str = "KUBERNETES_VERSION";

/// A minor version of Kubernetes, the newest unless another is asked for.
///
/// Each has a module file of its own, which names the patch release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// Version 1.34.
    V1_34,
    /// Version 1.35.
    V1_35,
    /// Version 1.36.
    #[default]
    V1_36,
}

impl Version {
    /// All, oldest first.
    pub const ALL: [Self; 3] = [Self::V1_34, Self::V1_35, Self::V1_36];

    /// The one that the environment asks for, or the newest.
    pub fn of_environment() -> Result<Self, Error> {
        match env::var(VERSION_VARIABLE) {
            Ok(text) if !text.is_empty() => text.parse(),
            _ => Ok(Self::default()),
        }
    }

    /// As `1.36`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_34 => "1.34",
            Self::V1_35 => "1.35",
            Self::V1_36 => "1.36",
        }
    }

    /// The module file among the sources.
    pub(crate) fn module_file(self) -> &'static str {
        match self {
            Self::V1_34 => "go-1.34.mod",
            Self::V1_35 => "go-1.35.mod",
            Self::V1_36 => "go.mod",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|version| version.as_str() == text);
        found.ok_or_else(|| Error::UnknownVersion { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_their_minor_alone() {
        for version in Version::ALL {
            assert_eq!(version.to_string().parse::<Version>().unwrap(), version);
        }
        for text in ["1.33", "v1.36", "1.36.3", ""] {
            let error = text.parse::<Version>().unwrap_err().to_string();
            assert_eq!(
                error,
                format!("`{text}` is none of the versions of Kubernetes that can be built: 1.34, 1.35, 1.36")
            );
        }
    }
}
