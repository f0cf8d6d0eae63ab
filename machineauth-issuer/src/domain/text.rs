//! Texts that people write: names and descriptions.

/// The longest accepted name, in characters.
pub const MAX_NAME: usize = 200;
/// The longest accepted description, in characters.
pub const MAX_DESCRIPTION: usize = 2000;

/// Whether `text` can name something: something to see, 1 to [`MAX_NAME`] characters, none of them a control character.
pub fn is_name(text: &str) -> bool {
    !text.trim().is_empty()
        && text.chars().count() <= MAX_NAME
        && !text.chars().any(char::is_control)
}

/// Whether `text` can describe something: at most [`MAX_DESCRIPTION`] characters, of control characters only line breaks
/// and tabs.
pub fn is_description(text: &str) -> bool {
    text.chars().count() <= MAX_DESCRIPTION
        && !text
            .chars()
            .any(|character| character.is_control() && !matches!(character, '\n' | '\r' | '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_something_to_see() {
        assert!(is_name("Åsa's agent №1"));
        for text in ["", "  ", "a\nb", "a\0"] {
            assert!(!is_name(text), "{text:?}");
        }
        assert!(is_name(&"é".repeat(MAX_NAME)));
        assert!(!is_name(&"é".repeat(MAX_NAME + 1)));
    }

    #[test]
    fn a_description_may_have_lines() {
        assert!(is_description("") && is_description("one\ntwo\tthree"));
        assert!(!is_description("\u{1b}[31m"));
        assert!(!is_description(&"x".repeat(MAX_DESCRIPTION + 1)));
    }
}
