//! What a pod asks for by its annotations, read once.
//!
//! Admission refuses values that make no sense; what slipped past it, such as a pod from before the policies, waits with
//! the reason.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use korder_api::{Duration, names};
use kube::core::Selector;

use crate::pod::Pod;

mod selector;

/// How much of a value is quoted in a message.
const QUOTED: usize = 100;

/// What a pod asks for.
#[derive(Clone, Debug)]
pub struct Ask<'p> {
    /// Which tickets it may have.
    pub wanted: Wanted<'p>,
    /// The labels that such a ticket must have.
    pub selector: Option<Selector>,
    /// Whether it waits for a ticket; else it goes on without one.
    pub required: bool,
    /// The pods with which it claims all or nothing.
    pub group: Option<Group<'p>>,
    /// How long it waits.
    pub timeout: Option<Timeout<'p>>,
}

/// Which tickets a pod may have: each part that is there narrows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted<'p> {
    /// The pod's namespace, which the tickets' order must admit.
    pub namespace: &'p str,
    /// Namespace and name of their order.
    pub order: Option<(&'p str, &'p str)>,
    /// Name of the one ticket, in the namespace of the order that is named, else of the pod.
    pub ticket: Option<&'p str>,
    /// Their labels, as they were written.
    pub labels: Option<&'p str>,
}

/// Pods of one namespace that claim all or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group<'p> {
    /// The namespace.
    pub namespace: &'p str,
    /// The name.
    pub name: &'p str,
    /// How many pods it has. Pods that disagree about this are of different groups.
    pub size: usize,
}

/// How long a pod waits for a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout<'p> {
    /// How long, from its creation.
    pub after: SignedDuration,
    /// The same as it was written.
    pub text: &'p str,
    /// What happens then.
    pub then: OnTimeout,
}

/// What happens to a pod that has waited too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTimeout {
    /// It is told, and waits on.
    #[default]
    Wait,
    /// It goes on without a ticket.
    Fallback,
    /// It fails.
    Fail,
}

/// An annotation that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("annotation `{key}: {value}` makes no sense: {allowed}")]
pub struct InvalidAnnotation {
    key: &'static str,
    value: String,
    allowed: String,
}

impl<'p> Ask<'p> {
    /// Reads the annotations of a pod; one without any, as behind a gate that was put there by hand, asks for any ticket.
    ///
    /// # Errors
    /// Names the first annotation that makes no sense, alone or with the others.
    pub fn of(pod: &'p Pod) -> Result<Self, InvalidAnnotation> {
        let ticket = pod.annotation(names::ANNOTATION_TICKET);
        if let Some(name) = ticket.filter(|name| name.contains('/')) {
            return Err(invalid(
                names::ANNOTATION_TICKET,
                name,
                "it must be the name of a ticket, without a namespace",
            ));
        }
        let labels = pod.annotation(names::ANNOTATION_TICKET_SELECTOR);
        let selector = labels.map(selector::parse).transpose().map_err(|error| {
            invalid(names::ANNOTATION_TICKET_SELECTOR, labels.unwrap_or_default(), error.to_string())
        })?;
        let ask = Self {
            wanted: Wanted { namespace: pod.namespace(), order: order(pod), ticket, labels },
            selector,
            required: required(pod)?,
            group: Group::read(pod)?,
            timeout: timeout(pod)?,
        };
        let never_waits =
            |key| invalid(key, pod.annotation(key).unwrap_or_default(), "a pod that is not `required` never waits");
        match (ask.required, ask.group, ask.timeout) {
            (false, Some(_), _) => Err(never_waits(names::ANNOTATION_GROUP)),
            (false, None, Some(_)) => Err(never_waits(names::ANNOTATION_TIMEOUT)),
            _ => Ok(ask),
        }
    }
}

/// The order of which tickets are asked for, in the pod's own namespace where none is named.
fn order(pod: &Pod) -> Option<(&str, &str)> {
    let named = pod.annotation(names::ANNOTATION_ORDER)?;
    Some(named.split_once('/').unwrap_or((pod.namespace(), named)))
}

fn required(pod: &Pod) -> Result<bool, InvalidAnnotation> {
    match pod.annotation(names::ANNOTATION_REQUIRED) {
        None | Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(other) => Err(invalid(names::ANNOTATION_REQUIRED, other, "it must be \"true\" or \"false\"")),
    }
}

fn timeout(pod: &Pod) -> Result<Option<Timeout<'_>>, InvalidAnnotation> {
    let then = pod.annotation(names::ANNOTATION_ON_TIMEOUT);
    let Some(text) = pod.annotation(names::ANNOTATION_TIMEOUT) else {
        let alone = |then| invalid(names::ANNOTATION_ON_TIMEOUT, then, "it needs `korder.dev/timeout`");
        return then.map_or(Ok(None), |then| Err(alone(then)));
    };
    let length =
        text.parse::<Duration>().map_err(|error| invalid(names::ANNOTATION_TIMEOUT, text, error.to_string()))?;
    let after = SignedDuration::try_from(length.get())
        .map_err(|error| invalid(names::ANNOTATION_TIMEOUT, text, error.to_string()))?;
    let then = then.map_or(Ok(OnTimeout::default()), OnTimeout::from_str)?;
    Ok(Some(Timeout { after, text, then }))
}

impl FromStr for OnTimeout {
    type Err = InvalidAnnotation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "Wait" => Ok(Self::Wait),
            "Fallback" => Ok(Self::Fallback),
            "Fail" => Ok(Self::Fail),
            other => Err(invalid(names::ANNOTATION_ON_TIMEOUT, other, "it must be Wait, Fallback or Fail")),
        }
    }
}

impl Timeout<'_> {
    /// When the pod has waited too long; never where that lies beyond all times.
    pub fn due(&self, pod: &Pod) -> Option<Timestamp> {
        pod.created()?.checked_add(self.after).ok()
    }
}

impl<'p> Group<'p> {
    /// The group of a pod, if it is of one and says so in a way that makes sense.
    pub fn of(pod: &'p Pod) -> Option<Self> {
        Self::read(pod).ok().flatten()
    }

    /// The same as a text, for an index.
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.namespace, self.size, self.name)
    }

    fn read(pod: &'p Pod) -> Result<Option<Self>, InvalidAnnotation> {
        let name = pod.annotation(names::ANNOTATION_GROUP);
        let size = pod.annotation(names::ANNOTATION_GROUP_SIZE);
        let (name, size) = match (name, size) {
            (None, None) => return Ok(None),
            (Some(name), Some(size)) => (name, size),
            (Some(name), None) => {
                return Err(invalid(names::ANNOTATION_GROUP, name, "it needs `korder.dev/group-size`"));
            }
            (None, Some(size)) => {
                return Err(invalid(names::ANNOTATION_GROUP_SIZE, size, "it needs `korder.dev/group`"));
            }
        };
        let count = size.parse().ok().filter(|count| (1..=names::MAX_GROUP_SIZE).contains(count));
        let allowed = || format!("it must be a number from 1 to {}", names::MAX_GROUP_SIZE);
        let size = count.ok_or_else(|| invalid(names::ANNOTATION_GROUP_SIZE, size, allowed()))?;
        Ok(Some(Self { namespace: pod.namespace(), name, size }))
    }
}

fn invalid(key: &'static str, value: &str, allowed: impl Into<String>) -> InvalidAnnotation {
    InvalidAnnotation { key, value: value.chars().take(QUOTED).collect(), allowed: allowed.into() }
}

/// As in "no ticket … is ready".
impl fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ticket")?;
        if let Some(name) = self.ticket {
            write!(f, " `{name}`")?;
        }
        if let Some(labels) = self.labels {
            let labels: String = labels.chars().take(QUOTED).collect();
            write!(f, " with labels `{labels}`")?;
        }
        match self.order {
            Some((namespace, name)) if namespace == self.namespace => write!(f, " of order `{name}`"),
            Some((namespace, name)) => write!(f, " of order `{namespace}/{name}`"),
            None if self.ticket.is_none() => f.write_str(" of any order"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{at, claimant};

    fn annotated(annotations: &[(&str, &str)]) -> Pod {
        let mut pod = claimant(1);
        let annotations = annotations.iter().map(|(key, value)| (format!("korder.dev/{key}"), (*value).to_owned()));
        pod.metadata.annotations = Some(annotations.collect());
        pod
    }

    #[test]
    fn what_is_not_said_is_as_documented() {
        let pod = annotated(&[]);
        let ask = Ask::of(&pod).unwrap();
        assert_eq!(ask.wanted, Wanted { namespace: "default", order: None, ticket: None, labels: None });
        assert!(ask.required && ask.selector.is_none() && ask.group.is_none() && ask.timeout.is_none());
        let pod = annotated(&[("timeout", "5m")]);
        let ask = Ask::of(&pod).unwrap();
        assert!(ask.required, "any other annotation means that it is required");
        assert_eq!(ask.timeout.unwrap().then, OnTimeout::Wait);
        assert_eq!(ask.timeout.unwrap().due(&pod), Some(at(300)));
    }

    #[test]
    fn all_that_can_be_said() {
        let pod = annotated(&[
            ("required", "true"),
            ("order", "team-a/shelf"),
            ("ticket", "shelf-3"),
            ("ticket-selector", "zone in (a,b)"),
            ("group", "ring"),
            ("group-size", "3"),
            ("timeout", "1h30m"),
            ("on-timeout", "Fail"),
        ]);
        let ask = Ask::of(&pod).unwrap();
        assert_eq!(ask.wanted.order, Some(("team-a", "shelf")));
        assert_eq!(ask.wanted.to_string(), "ticket `shelf-3` with labels `zone in (a,b)` of order `team-a/shelf`");
        assert_eq!(ask.group, Some(Group { namespace: "default", name: "ring", size: 3 }));
        let timeout = Timeout { after: SignedDuration::from_mins(90), text: "1h30m", then: OnTimeout::Fail };
        assert_eq!(ask.timeout, Some(timeout));
        assert!(!Ask::of(&annotated(&[("required", "false")])).unwrap().required);
    }

    #[test]
    fn what_a_pod_wants_in_words() {
        let wanted = |annotations: &[(&str, &str)]| Ask::of(&annotated(annotations)).unwrap().wanted.to_string();
        assert_eq!(wanted(&[]), "ticket of any order");
        assert_eq!(wanted(&[("order", "o")]), "ticket of order `o`");
        assert_eq!(wanted(&[("ticket", "t")]), "ticket `t`");
        assert_eq!(wanted(&[("ticket-selector", "a=b")]), "ticket with labels `a=b` of any order");
    }

    #[test]
    fn nonsense_is_named() {
        let table: [(&[(&str, &str)], &str); 12] = [
            (&[("required", "yes")], "`korder.dev/required: yes` makes no sense: it must be \"true\" or \"false\""),
            (&[("ticket", "a/b")], "`korder.dev/ticket: a/b` makes no sense: it must be the name of a ticket"),
            (&[("ticket-selector", "a in")], "`korder.dev/ticket-selector: a in` makes no sense: `a in` is not"),
            (&[("group", "g")], "`korder.dev/group: g` makes no sense: it needs `korder.dev/group-size`"),
            (&[("group-size", "2")], "`korder.dev/group-size: 2` makes no sense: it needs `korder.dev/group`"),
            (&[("group", "g"), ("group-size", "0")], "`korder.dev/group-size: 0` makes no sense: it must be a number"),
            (&[("group", "g"), ("group-size", "501")], "it must be a number from 1 to 500"),
            (&[("timeout", "5 min")], "`korder.dev/timeout: 5 min` makes no sense: `5 min` is not a duration"),
            (&[("on-timeout", "Fail")], "`korder.dev/on-timeout: Fail` makes no sense: it needs `korder.dev/timeout`"),
            (&[("timeout", "1s"), ("on-timeout", "fail")], "it must be Wait, Fallback or Fail"),
            (&[("required", "false"), ("timeout", "1s")], "a pod that is not `required` never waits"),
            (&[("required", "false"), ("group", "g"), ("group-size", "2")], "`korder.dev/group: g`"),
        ];
        for (annotations, told) in table {
            let error = Ask::of(&annotated(annotations)).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn long_nonsense_is_cut() {
        let error = Ask::of(&annotated(&[("required", &"ä".repeat(10_000))])).unwrap_err();
        assert!(error.to_string().len() < 400, "{error}");
    }
}
