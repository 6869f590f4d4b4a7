//! What others wrote, without what a terminal or a CI system would obey. Pure.

/// The text with a blank for each control character.
pub(crate) fn harmless(text: &str) -> String {
    harmless_start(text, usize::MAX)
}

/// The same of its first characters alone.
pub(crate) fn harmless_start(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_is_obeyed() {
        assert_eq!(harmless("a\x1b[31mb\n::error::c\u{9b}d"), "a [31mb ::error::c d");
        assert_eq!(harmless_start("žluťoučký\nkůň", 10), "žluťoučký ");
    }
}
