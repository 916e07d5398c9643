//! Why a unit can't be made.

/// The longest explanation, in characters: what others say may be long.
const MAX_MESSAGE: usize = 1024;

/// Why a unit can't be made: nothing will come of trying the same once more at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In one CamelCase word; see [`crate::reasons`].
    pub reason: &'static str,
    /// In words.
    pub message: String,
}

impl Failure {
    /// A failure with its explanation, which is cut where it is too long.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE) {
            message.truncate(end);
            message.push('…');
        }
        Self { reason, message }
    }
}
