//! Conditions that users write in CEL, evaluated within bounds.
//!
//! An expression comes from a user and runs in the one process that serves all: it may take so many steps and no more, and
//! what would stop the process is refused.

use std::collections::HashMap;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use kube_cel::KubeCelExt as _;
use kube_cel::cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, operators};
use kube_cel::cel::objects::Value as Cel;
use kube_cel::cel::parser::Parser;
use kube_cel::cel::{Context, ExecutionError, ResolveResult, to_value};
use serde_json::Value;

/// How many times all loops of an expression together may be run through.
const MAX_STEPS: u32 = 4096;
/// The largest object that is looked at, in values (not bytes).
const MAX_VALUES: usize = 20_000;
/// The function that counts the steps; no user can write its name.
const STEP: &str = "@step";
/// Functions that compile their argument each time, and so may not be called in loops.
const COMPILING: [&str; 4] = ["matches", "find", "findAll", "replaceAll"];

/// What an expression says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holds {
    /// It holds.
    Yes,
    /// It does not.
    No,
    /// It can't be told of the object as it is: what is missing.
    Unknown(String),
}

/// An expression that no object can meet: why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{expression}`: {why}")]
pub struct ExpressionError {
    expression: String,
    why: String,
}

/// Whether an expression holds in which `name` stands for a value.
///
/// # Errors
/// An expression that can't be read, that is not of a truth, or that takes too long.
pub fn holds(expression: &str, name: &str, value: &Value) -> Result<Holds, ExpressionError> {
    let wrong = |why: String| ExpressionError { expression: expression.to_owned(), why };
    // The parser counts its depth down below nothing after an error.
    let parsed = catch_unwind(|| Parser::new().parse(expression).map_err(|errors| errors.to_string()));
    let mut parsed = parsed.unwrap_or_else(|_| Err("it can't be read".to_owned())).map_err(wrong)?;
    bounded(&mut parsed, false).map_err(wrong)?;
    let mut values = MAX_VALUES;
    let value =
        cel_of(value, &mut values).ok_or_else(|| wrong("the object is too large to be looked at".to_owned()))?;
    let left = Arc::new(AtomicU32::new(MAX_STEPS));
    let mut context = Context::default().with_all();
    context.add_variable_from_value(name, value);
    context.add_function("dyn", |value: Cel| -> ResolveResult { Ok(value) });
    let steps = Arc::clone(&left);
    context.add_function(STEP, move || -> ResolveResult {
        match steps.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
            Ok(_) => Ok(Cel::Bool(true)),
            Err(_) => Err(ExecutionError::function_error(STEP, "too many steps")),
        }
    });
    let result = Cel::resolve(&parsed, &context);
    if left.load(Ordering::Relaxed) == 0 {
        return Err(wrong(format!("it takes more than {MAX_STEPS} steps")));
    }
    match result {
        Ok(Cel::Bool(true)) => Ok(Holds::Yes),
        Ok(Cel::Bool(false)) => Ok(Holds::No),
        Ok(_) => Err(wrong("it gives neither true nor false".to_owned())),
        Err(ExecutionError::NoSuchKey(key)) => Ok(Holds::Unknown(format!("there is no `{key}`"))),
        Err(ExecutionError::UndeclaredReference(name)) => Err(wrong(format!("there is no `{name}`"))),
        Err(ExecutionError::IndexOutOfBounds(_)) => Ok(Holds::Unknown("a list is shorter".to_owned())),
        // Not the error's own words: they contain the values, which may be secret.
        Err(_) => Ok(Holds::Unknown("it can't be evaluated".to_owned())),
    }
}

/// Makes each loop of an expression count its steps.
fn bounded(parsed: &mut IdedExpr, in_loop: bool) -> Result<(), String> {
    match &mut parsed.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Ok(()),
        Expr::Select(select) => bounded(&mut select.operand, in_loop),
        Expr::List(list) => list.elements.iter_mut().try_for_each(|element| bounded(element, in_loop)),
        Expr::Map(map) => map.entries.iter_mut().try_for_each(|entry| match &mut entry.expr {
            EntryExpr::StructField(field) => bounded(&mut field.value, in_loop),
            EntryExpr::MapEntry(entry) => {
                bounded(&mut entry.key, in_loop)?;
                bounded(&mut entry.value, in_loop)
            }
        }),
        Expr::Struct(_) => Err("messages can't be made".to_owned()),
        Expr::Call(call) => {
            if in_loop && COMPILING.contains(&call.func_name.as_str()) {
                return Err(format!("`{}` can't be called in a loop", call.func_name));
            }
            call.target.iter_mut().try_for_each(|target| bounded(target, in_loop))?;
            call.args.iter_mut().try_for_each(|argument| bounded(argument, in_loop))
        }
        Expr::Comprehension(comprehension) => {
            let ComprehensionExpr { iter_range, accu_init, loop_cond, loop_step, result, .. } = comprehension.as_mut();
            bounded(iter_range, in_loop)?;
            for part in [accu_init, &mut *loop_cond, loop_step, result] {
                bounded(part, true)?;
            }
            *loop_cond = call(operators::LOGICAL_AND, vec![call(STEP, vec![]), std::mem::take(loop_cond)]);
            Ok(())
        }
    }
}

fn call(name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    IdedExpr { id: 0, expr: Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args }) }
}

/// As the API server has it: numbers without a fraction are signed. None where there are more values than are left.
fn cel_of(value: &Value, left: &mut usize) -> Option<Cel> {
    *left = left.checked_sub(1)?;
    Some(match value {
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(|item| cel_of(item, left)).collect::<Option<_>>()?)),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| Some((name.clone(), cel_of(value, left)?)));
            fields.collect::<Option<HashMap<_, _>>>()?.into()
        }
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Cel::Int(integer),
            None => Cel::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        scalar => to_value(scalar).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn object() -> Value {
        json!({
            "metadata": {"name": "db", "generation": 3, "labels": {"example.com/a": "b"}},
            "status": {
                "phase": "Running", "ratio": 0.5, "replicas": 2,
                "conditions": [{"type": "Ready", "status": "True"}, {"type": "Synced", "status": "False"}],
            },
        })
    }

    fn of(expression: &str) -> Result<Holds, ExpressionError> {
        holds(expression, "object", &object())
    }

    #[test]
    fn conditions_hold_or_not() {
        for (expression, expected) in [
            ("object.status.phase == 'Running'", Holds::Yes),
            ("object.status.replicas == object.metadata.generation", Holds::No),
            ("object.status.replicas < 3 && object.status.ratio == 0.5", Holds::Yes),
            ("object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')", Holds::Yes),
            ("object.status.conditions.all(c, c.status == 'True')", Holds::No),
            ("object.metadata.labels['example.com/a'] == 'b'", Holds::Yes),
            ("has(object.status.address)", Holds::No),
            ("object.status.phase.matches('^Run')", Holds::Yes),
            ("quantity('1Gi').isGreaterThan(quantity('1Mi'))", Holds::Yes),
            ("dyn(object).status.phase == 'Running'", Holds::Yes),
        ] {
            assert_eq!(of(expression), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn what_is_not_there_yet_is_waited_for() {
        for expression in [
            "object.status.address != ''",
            "object.status.conditions[7].status == 'True'",
            "object.status.phase + 1 == 2",
        ] {
            assert!(matches!(of(expression), Ok(Holds::Unknown(_))), "{expression}: {:?}", of(expression));
        }
    }

    #[test]
    fn what_can_never_hold_is_refused() {
        for (expression, word) in [
            ("object.status.", "ERROR"),
            ("object.status.phase", "neither true nor false"),
            ("self.status == 1", "`self`"),
            ("nofunction(object)", "`nofunction`"),
            ("Thing{a: 1} == object", "messages"),
            ("object.status.conditions.all(c, c.type.matches('a'))", "in a loop"),
            ("@step()", "ERROR"),
        ] {
            let told = of(expression).map_err(|error| error.to_string());
            assert!(told.as_ref().is_err_and(|told| told.contains(word)), "{expression}: {told:?}");
        }
    }

    #[test]
    fn loops_have_an_end() {
        let ten = "[0,1,2,3,4,5,6,7,8,9]";
        let mut nested = "true".to_owned();
        for level in 0..20 {
            nested = format!("{ten}.all(i{level}, {nested})");
        }
        assert!(nested.len() <= 1024);
        let told = of(&nested).unwrap_err().to_string();
        assert!(told.contains("steps"), "{told}");
        // And the counting is not swallowed by what makes errors harmless.
        let told = of(&format!("{nested} || true")).unwrap_err().to_string();
        assert!(told.contains("steps"), "{told}");
    }

    #[test]
    fn depth_has_an_end() {
        let deep = format!("{}true{}", "(".repeat(500), ")".repeat(500));
        assert!(of(&deep).is_err());
        let negated = format!("{}true", "!".repeat(1000));
        let _any = of(&negated);
        let long = format!("true{}", "&&true".repeat(170));
        let _any = of(&long);
        let minus = format!("0 == {}1", "- ".repeat(500));
        let _any = of(&minus);
        let indexed = format!("object{} == 1", ".a".repeat(500));
        let _any = of(&indexed);
        let conditional = format!("{}true", "true?true:".repeat(100));
        let _any = of(&conditional);
    }

    #[test]
    fn large_objects_are_not_looked_at() {
        let large = Value::Array(vec![json!(1); MAX_VALUES]);
        assert!(holds("true", "object", &large).unwrap_err().to_string().contains("too large"));
    }

    proptest! {
        #[test]
        fn no_expression_stops_the_process(expression in "[a-z0-9.()\\[\\]{}'\"!&|?:<>=+*/%, -]{0,60}") {
            let _any = of(&expression);
        }
    }
}
