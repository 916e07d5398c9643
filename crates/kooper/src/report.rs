//! Errors and panics as one line of text.

use std::any::Any;
use std::error::Error;
use std::fmt;

/// An error with its sources, separated by `: `.
pub(crate) struct Chain<'a>(&'a (dyn Error + 'static));

pub(crate) fn chain<'a>(error: &'a (dyn Error + 'static)) -> Chain<'a> {
    Chain(error)
}

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = text_of(self.0);
        f.write_str(&text)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            let cause = text_of(error);
            // Many errors already end with the text of their source.
            if !text.contains(&cause) {
                write!(f, ": {cause}")?;
            }
            text = cause;
            next = error.source();
        }
        Ok(())
    }
}

/// The text of one error. That of an answer of the server is its message: its own text would go on with
/// all fields of the answer.
fn text_of(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => status.to_string(),
        _ => error.to_string(),
    }
}

/// What a panic said.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}
