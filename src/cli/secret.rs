//! A secret, as an option or the environment gives it.

/// A password or a shared secret.
#[derive(Clone)]
pub(crate) struct Secret(String);

/// A text that is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoSecret {
    #[error("it holds no password")]
    Empty,
    #[error("it holds several lines; a password is one line")]
    SeveralLines,
}

impl std::str::FromStr for Secret {
    type Err = NoSecret;

    /// The one line that is not blank. Line breaks and the mark that some editors put before a text do not belong to it,
    /// blanks of that line do.
    fn from_str(text: &str) -> Result<Self, NoSecret> {
        let mut lines = without_mark(text).lines().filter(|line| !line.trim().is_empty());
        let line = lines.next().ok_or(NoSecret::Empty)?;
        if lines.next().is_some() { Err(NoSecret::SeveralLines) } else { Ok(Self(line.to_owned())) }
    }
}

impl Secret {
    /// The secret itself, for whoever must be told.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The text without its byte order mark.
pub(crate) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_line_that_is_not_blank() {
        for (text, expected) in [
            ("geheim", Ok("geheim")),
            ("geheim\n", Ok("geheim")),
            ("geheim\r\n\r\n", Ok("geheim")),
            ("\u{feff}geheim\n", Ok("geheim")),
            ("\n \t\ngeheim\n", Ok("geheim")),
            (" two words \n", Ok(" two words ")),
            ("", Err(NoSecret::Empty)),
            ("\u{feff}", Err(NoSecret::Empty)),
            (" \t\n\n", Err(NoSecret::Empty)),
            ("one\ntwo\n", Err(NoSecret::SeveralLines)),
        ] {
            let read = text.parse::<Secret>().map(|secret| secret.0);
            assert_eq!(read.as_deref().map_err(|error| *error), expected, "{text:?}");
        }
    }
}
