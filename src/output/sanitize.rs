//! Replaces characters in untrusted text that a terminal, a log or an XML parser would act on. Pure.
//!
//! Text is cleaned where it leaves the program: by the printer, the log writer, `main` and the writers of reports.

use std::fmt::Write as _;

/// True for a character that must not leave the program as it is:
///
/// - control characters, C0, DEL and C1: terminals obey them
/// - bidirectional controls (Unicode UAX #9): they make a line read as another one
/// - U+2028 and U+2029: some readers end a line there
/// - U+FEFF and tag characters: invisible
/// - noncharacters, which XML 1.0 forbids in part
pub(crate) fn is_harmful(character: char) -> bool {
    let code = character as u32;
    character.is_control()
        || matches!(code, 0x061C | 0x200E | 0x200F | 0x2028..=0x202E | 0x2066..=0x2069 | 0xFEFF)
        || matches!(code, 0xFDD0..=0xFDEF | 0xFFF9..=0xFFFB | 0xE0000..=0xE007F)
        || code & 0xFFFE == 0xFFFE
}

/// The text as one line, with a blank for each harmful character.
pub(crate) fn harmless(text: &str) -> String {
    harmless_start(text, usize::MAX)
}

/// The same of its first characters alone.
pub(crate) fn harmless_start(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).map(|c| if is_harmful(c) { ' ' } else { c }).collect()
}

/// Text of several lines: line feeds and tabs stay.
pub(crate) fn harmless_lines(text: &str) -> String {
    text.chars().map(|c| if is_harmful(c) && !matches!(c, '\n' | '\t') { ' ' } else { c }).collect()
}

/// The same, and our own colours stay too: `ESC [ digits m`. For text whose foreign parts were cleaned before.
pub(crate) fn harmless_coloured(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\x1b') {
        let (before, from_escape) = rest.split_at(at);
        out.push_str(&harmless_lines(before));
        let length = colour_length(from_escape);
        out.push_str(if length > 0 { &from_escape[..length] } else { " " });
        rest = &from_escape[length.max(1)..];
    }
    out + &harmless_lines(rest)
}

/// Length of the colour that `text` begins with, in bytes; 0 without one.
fn colour_length(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\x1b[") else { return 0 };
    let digits = parameters.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b';').count();
    if parameters.as_bytes().get(digits) == Some(&b'm') { digits + 3 } else { 0 }
}

/// JSON text with an escape for each harmful character inside its strings: it reads back the same. Line feeds and tabs,
/// which stand between values only, stay.
pub(crate) fn harmless_json(json: &str) -> String {
    let is_harmful = |character| is_harmful(character) && !matches!(character, '\n' | '\t');
    if !json.chars().any(is_harmful) {
        return json.to_owned();
    }
    let mut out = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if is_harmful(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _infallible = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_is_obeyed() {
        assert_eq!(harmless("a\x1b[31mb\n::error::c\u{9b}d"), "a [31mb ::error::c d");
        assert_eq!(harmless_start("žluťoučký\nkůň", 10), "žluťoučký ");
        assert_eq!(harmless("a\u{202E}b\u{2028}c\u{85}d\u{FFFE}e\u{2066}f\u{E0041}g\u{FEFF}"), "a b c d e f g ");
        assert_eq!(harmless("👩\u{200D}🚀 ü"), "👩\u{200D}🚀 ü", "what joins an emoji stays");
    }

    #[test]
    fn several_lines_stay_several_lines() {
        assert_eq!(harmless_lines("a\tb\nc\r\x1b]0;x\x07"), "a\tb\nc  ]0;x ");
    }

    #[test]
    fn colours_stay_and_nothing_else_of_that_kind() {
        assert_eq!(harmless_coloured("\x1b[31mred\x1b[0m"), "\x1b[31mred\x1b[0m");
        assert_eq!(harmless_coloured("a\x1b[2Jb\x1b]0;t\x07\x1b"), "a [2Jb ]0;t  ");
        assert_eq!(harmless_coloured("\x1b[1;31"), " [1;31");
    }

    #[test]
    fn json_reads_back_the_same() {
        let text = "a\u{9b}b\u{2028}\u{202E}\u{FFFE}\u{E0041}\x1bü";
        let json = serde_json::to_string(text).unwrap();
        let clean = harmless_json(&json);
        assert!(!clean.chars().any(is_harmful), "{clean}");
        assert_eq!(serde_json::from_str::<String>(&clean).unwrap(), text);
        assert_eq!(harmless_json("{\n\t\"a\":1}"), "{\n\t\"a\":1}");
    }
}
