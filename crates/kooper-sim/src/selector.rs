//! Label and field selectors, as lists, watches and collections' deletions take them.

use serde_json::Value;

use crate::kind::Kind;
use crate::names::is_qualified_name;
use crate::refusal::{Refusal, bad_request};

/// Which objects of a kind a request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    labels: Vec<LabelRequirement>,
    fields: Vec<FieldRequirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct LabelRequirement {
    key: String,
    test: LabelTest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum LabelTest {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
    GreaterThan(i64),
    LessThan(i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldRequirement {
    path: Vec<String>,
    value: String,
    equal: bool,
}

impl Selector {
    /// Reads the two selectors of a request; empty text selects everything.
    ///
    /// # Errors
    /// 400 for bad grammar, and for fields that can't be selected by.
    pub(crate) fn parse(kind: &Kind, labels: &str, fields: &str) -> Result<Self, Refusal> {
        let labels = split_requirements(labels).into_iter().map(label_requirement).collect::<Result<_, _>>()?;
        let fields = fields.split(',').filter(|part| !part.trim().is_empty()).map(|part| field_requirement(kind, part));
        Ok(Self { labels, fields: fields.collect::<Result<_, _>>()? })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels.iter().all(|requirement| requirement.matches(labels))
            && self.fields.iter().all(|requirement| requirement.matches(object))
    }
}

impl LabelRequirement {
    fn matches(&self, labels: &Value) -> bool {
        let label = labels[&self.key].as_str();
        let number = || label.and_then(|label| label.parse::<i64>().ok());
        match &self.test {
            LabelTest::In(values) => label.is_some_and(|label| values.iter().any(|value| value == label)),
            LabelTest::NotIn(values) => !label.is_some_and(|label| values.iter().any(|value| value == label)),
            LabelTest::Exists => label.is_some(),
            LabelTest::DoesNotExist => label.is_none(),
            LabelTest::GreaterThan(bound) => number().is_some_and(|number| number > *bound),
            LabelTest::LessThan(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

impl FieldRequirement {
    fn matches(&self, object: &Value) -> bool {
        let found = self.path.iter().fold(object, |value, key| &value[key]);
        let text = match found {
            Value::String(text) => text.clone(),
            // The API server compares the typed object's text: a flag that is absent is "false".
            Value::Null if self.path.last().is_some_and(|key| key == "unschedulable") => "false".to_owned(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        (text == self.value) == self.equal
    }
}

/// Splits at commas that are not within the parentheses of a set.
fn split_requirements(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let parts = text.split(move |character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn label_requirement(text: &str) -> Result<LabelRequirement, Refusal> {
    let (key, condition) = parse_label_requirement(text)
        .ok_or_else(|| bad_request(format!("unable to parse requirement: `{text}` is not a label requirement")))?;
    if !is_qualified_name(&key) {
        return Err(bad_request(format!("unable to parse requirement: `{key}` is not a label key")));
    }
    Ok(LabelRequirement { key, test: condition })
}

fn parse_label_requirement(text: &str) -> Option<(String, LabelTest)> {
    let one = |value: &str| vec![value.trim().to_owned()];
    let pair = |separator: &str| text.split_once(separator).map(|(key, value)| (key.trim().to_owned(), value));
    if let Some(key) = text.strip_prefix('!') {
        return Some((key.trim().to_owned(), LabelTest::DoesNotExist));
    }
    if let Some((head, set)) = text.split_once('(') {
        let values = set.strip_suffix(')')?.split(',').map(|value| value.trim().to_owned()).collect();
        let (key, operator) = head.trim().rsplit_once(char::is_whitespace)?;
        let condition = match operator {
            "in" => LabelTest::In(values),
            "notin" => LabelTest::NotIn(values),
            _ => return None,
        };
        return Some((key.trim().to_owned(), condition));
    }
    if let Some((key, value)) = pair("!=") {
        return Some((key, LabelTest::NotIn(one(value))));
    }
    if let Some((key, value)) = pair("==").or_else(|| pair("=")) {
        return Some((key, LabelTest::In(one(value))));
    }
    if let Some((key, value)) = pair(">") {
        return Some((key, LabelTest::GreaterThan(value.trim().parse().ok()?)));
    }
    if let Some((key, value)) = pair("<") {
        return Some((key, LabelTest::LessThan(value.trim().parse().ok()?)));
    }
    Some((text.to_owned(), LabelTest::Exists))
}

fn field_requirement(kind: &Kind, text: &str) -> Result<FieldRequirement, Refusal> {
    let split = |separator: &str| text.split_once(separator);
    let (path, value, equal) = split("!=")
        .map(|(path, value)| (path, value, false))
        .or_else(|| split("==").or_else(|| split("=")).map(|(path, value)| (path, value, true)))
        .ok_or_else(|| bad_request(format!("invalid selector: `{text}`; can't understand it")))?;
    let path = path.trim();
    let known = path == "metadata.name"
        || (path == "metadata.namespace" && kind.is_namespaced())
        || kind.selectable_fields.iter().any(|field| field == path);
    if !known {
        return Err(bad_request(format!("field label not supported: {path}")));
    }
    let path = path.split('.').map(str::to_owned).collect();
    Ok(FieldRequirement { path, value: value.trim().to_owned(), equal })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Selector;
    use crate::kind::Kind;

    fn pods() -> Kind {
        Kind::builtin().remove(0)
    }

    fn selects(labels: &str, fields: &str) -> Result<bool, u16> {
        let pod = json!({
            "metadata": {"name": "p", "namespace": "n", "labels": {"app": "web", "e.com/size": "5", "empty": ""}},
            "spec": {"nodeName": "node-1"},
        });
        Selector::parse(&pods(), labels, fields).map(|selector| selector.matches(&pod)).map_err(|status| status.code)
    }

    #[test]
    fn labels() {
        for yes in [
            "",
            "app",
            "app=web",
            "app==web",
            " app = web ",
            "app!=db",
            "other!=web",
            "!other",
            "app in (db, web)",
            "app in (web),e.com/size",
            "app notin (db)",
            "other notin (web)",
            "e.com/size>4",
            "e.com/size<6",
            "empty=",
            "empty in (x,)",
            "app,!other,e.com/size in (5)",
        ] {
            assert_eq!(selects(yes, ""), Ok(true), "{yes}");
        }
        for no in [
            "other",
            "app=db",
            "app!=web",
            "!app",
            "app in (db)",
            "app notin (web,db)",
            "other=web",
            "e.com/size>5",
            "app>1",
            "other<1",
            "app=web,other",
            "other in (web)",
            "app=",
        ] {
            assert_eq!(selects(no, ""), Ok(false), "{no}");
        }
        for bad in ["app in web", "app in (web", "app within (web)", "e.com/size>many", "/x", "-app", "a b"] {
            assert_eq!(selects(bad, ""), Err(400), "{bad}");
        }
    }

    #[test]
    fn fields() {
        for yes in [
            "",
            "metadata.name=p",
            "metadata.name==p,metadata.namespace=n",
            "spec.nodeName=node-1",
            "spec.nodeName!=x",
            "status.phase=",
            "status.nominatedNodeName!=x",
        ] {
            assert_eq!(selects("", yes), Ok(true), "{yes}");
        }
        for no in ["metadata.name=q", "metadata.name!=p", "spec.nodeName=", "metadata.name=p,status.phase=Running"] {
            assert_eq!(selects("", no), Ok(false), "{no}");
        }
        for bad in ["spec.hostname=x", "metadata.name", "metadata.labels=x"] {
            assert_eq!(selects("", bad), Err(400), "{bad}");
        }
    }
}
