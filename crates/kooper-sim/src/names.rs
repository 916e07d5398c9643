//! What names, label keys and label values may look like.

/// Whether text may be a label's key: a name, or a DNS subdomain, a slash and a name.
pub(crate) fn is_qualified_name(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_label_name(name),
        None => is_label_name(text),
    }
}

/// Whether text may be a label's value.
pub(crate) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_label_name(text)
}

/// Whether text is a DNS subdomain as RFC 1123 has it: what most objects' names must be.
pub(crate) fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|label| is_dns_label_of(label, 253))
}

/// Whether text is a DNS label as RFC 1123 has it: what a namespace's name must be.
pub(crate) fn is_dns_label(text: &str) -> bool {
    is_dns_label_of(text, 63)
}

fn is_dns_label_of(text: &str, longest: usize) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.len() <= longest
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
}

fn is_label_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_names() {
        assert!(is_dns_subdomain("a") && is_dns_subdomain("a-1.b") && is_dns_label("a-1"));
        for bad in ["", "A", "a_b", "-a", "a-", "a..b", ".a", &"a".repeat(254)] {
            assert!(!is_dns_subdomain(bad), "{bad}");
        }
        assert!(!is_dns_label("a.b") && !is_dns_label(&"a".repeat(64)));
    }

    #[test]
    fn labels() {
        assert!(
            is_qualified_name("app") && is_qualified_name("e.com/App_1.x") && is_label_value("") && is_label_value("A")
        );
        for bad in ["", "/a", "e.com/", "a/b/c", "E.com/a", "-a", &"a".repeat(64)] {
            assert!(!is_qualified_name(bad), "{bad}");
        }
        assert!(!is_label_value("a b") && !is_label_value("a-") && !is_label_value(&"a".repeat(64)));
    }
}
