//! Label selectors in the text form that `kubectl get -l` takes.
//!
//! The grammar is that of `labels.Parse` in `k8s.io/apimachinery`, but for its comparisons of numbers (`>` and `<`),
//! which label selectors have nowhere else.

use kube::core::{Expression, Selector};

/// Why a text is no label selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a requirement of a label selector, such as `app`, `!app`, `app=web`, `app!=web` or `app in (web, db)`"
)]
pub(super) struct InvalidSelector(String);

/// Reads a selector; one without any requirement is none.
///
/// # Errors
/// Names the first requirement that is not one.
pub(super) fn parse(text: &str) -> Result<Selector, InvalidSelector> {
    let mut selector = Selector::default();
    for part in requirements(text) {
        selector.extend(requirement(part).ok_or_else(|| InvalidSelector(part.to_owned()))?);
    }
    Ok(selector)
}

/// Splits at commas that are not within the parentheses of a set.
fn requirements(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let parts = text.split(move |character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    });
    parts.map(str::trim)
}

fn requirement(text: &str) -> Option<Expression> {
    if let Some(key) = text.strip_prefix('!') {
        return Some(Expression::DoesNotExist(self::key(key)?));
    }
    if let Some((head, set)) = text.split_once('(') {
        let values = set.strip_suffix(')')?.split(',').map(value).collect::<Option<_>>()?;
        let (key, operator) = head.trim().rsplit_once(char::is_whitespace)?;
        return match operator {
            "in" => Some(Expression::In(self::key(key)?, values)),
            "notin" => Some(Expression::NotIn(self::key(key)?, values)),
            _ => None,
        };
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Some(Expression::NotEqual(self::key(key)?, self::value(value)?));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Some(Expression::Equal(self::key(key)?, self::value(value)?));
    }
    Some(Expression::Exists(key(text)?))
}

/// A label's key: a name, with a DNS subdomain before it or not.
fn key(text: &str) -> Option<String> {
    let text = text.trim();
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let domain = |prefix: &str| {
        let label = |label: &str| {
            let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(inner)
        };
        prefix.len() <= 253 && prefix.split('.').all(label)
    };
    (is_name(name) && prefix.is_none_or(domain)).then(|| text.to_owned())
}

/// A label's value, which may be empty.
fn value(text: &str) -> Option<String> {
    let text = text.trim();
    (text.is_empty() || is_name(text)).then(|| text.to_owned())
}

/// Up to 63 letters, digits, `-`, `_` and `.`, a letter or digit at both ends.
fn is_name(text: &str) -> bool {
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.len() <= 63 && ends(text.bytes().next()) && ends(text.bytes().last()) && text.bytes().all(inner)
}

#[cfg(test)]
mod tests {
    use kube::core::SelectorExt;

    use super::*;

    fn selects(text: &str) -> bool {
        let labels = [("app", "web"), ("e.com/size", "5"), ("empty", "")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        parse(text).unwrap().matches(&labels)
    }

    #[test]
    fn what_kubectl_selects_is_selected() {
        for yes in [
            "app",
            "app=web",
            "app==web",
            " app = web ",
            "app!=db",
            "other!=web",
            "!other",
            "! other",
            "app in (db, web)",
            "app in (web),e.com/size",
            "app notin (db)",
            "other notin (web)",
            "empty=",
            "empty in (x,)",
            "app,!other,e.com/size in (5)",
        ] {
            assert!(selects(yes), "{yes}");
        }
        for no in ["other", "app=db", "app!=web", "!app", "app in (db)", "app notin (web,db)", "app=web,other", "app="]
        {
            assert!(!selects(no), "{no}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "",
            ",",
            "app,",
            "app in web",
            "app in (web",
            "app within (web)",
            "size>4",
            "/x",
            "-app",
            "a b",
            "A.com/x",
            "e.com/",
            "app=we b",
            "app in (a b)",
            "!",
            "=x",
            "app=a=b",
            "(a)",
            "in (a)",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(&"a".repeat(64)).is_err());
    }
}
