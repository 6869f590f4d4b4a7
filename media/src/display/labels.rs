//! What a view says beside its pictures: a line of state, figures and keys, and words over a picture that is not live.

/// What is left between two parts of the line.
const BETWEEN: &str = " · ";

/// The words of a view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Of the window.
    pub title: String,
    /// Whose pictures are shown: those of another one do not stay.
    pub peer: String,
    /// Who is on the phone, and what is switched off. Never left out.
    pub state: String,
    /// Figures, the most important first: a narrow line has fewer.
    pub figures: Vec<String>,
    /// Keys and what they do, the most important first. The last one leads to the others, and stays like the first.
    pub keys: Vec<String>,
    /// Why the partner's picture is not live. It is dimmed then.
    pub not_live: Option<String>,
    /// Whether one's own picture is sent.
    pub own: Own,
    /// Lines over everything, such as a list of all keys; none most of the time.
    pub help: Vec<String>,
}

/// Whether one's own picture is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Own {
    /// It is.
    #[default]
    Sent,
    /// It is not: shown dimmed.
    Withheld,
}

impl Labels {
    /// The same without anything that moves a cursor, changes colours or turns the writing direction.
    #[must_use]
    pub fn printable(&self) -> Self {
        let all = |texts: &[String]| texts.iter().map(|text| printable(text)).collect();
        Self {
            title: printable(&self.title),
            peer: self.peer.clone(),
            state: printable(&self.state),
            figures: all(&self.figures),
            keys: all(&self.keys),
            not_live: self.not_live.as_deref().map(printable),
            own: self.own,
            help: all(&self.help),
        }
    }

    /// The line, exactly `columns` wide: state and figures at the left, keys at the right. What does not fit is left out
    /// whole, figures first.
    #[must_use]
    pub fn line(&self, columns: usize) -> String {
        let (mut figures, mut keys) = (self.figures.as_slice(), self.keys.clone());
        let width = |figures: &[String], keys: &[String]| {
            let left = joined(std::iter::once(&self.state).chain(figures)).chars().count();
            let right = joined(keys.iter()).chars().count();
            // A blank at each edge, and one between.
            left + right + 3
        };
        while width(figures, &keys) > columns {
            if let Some((_, fewer)) = figures.split_last() {
                figures = fewer;
            } else if keys.len() > 2 {
                keys.remove(keys.len() - 2);
            } else if keys.len() == 2 {
                keys.truncate(1);
            } else {
                break;
            }
        }
        let right = joined(keys.iter());
        let room = columns.saturating_sub(right.chars().count() + 3);
        let left: String = joined(std::iter::once(&self.state).chain(figures)).chars().take(room).collect();
        let line = format!(" {left:room$} {right} ");
        line.chars().take(columns).collect()
    }

    /// What is written over the pictures, line by line.
    #[must_use]
    pub fn over(&self) -> &[String] {
        if self.help.is_empty() { self.not_live.as_slice() } else { &self.help }
    }
}

fn joined<'a>(parts: impl Iterator<Item = &'a String>) -> String {
    parts.filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join(BETWEEN)
}

fn printable(text: &str) -> String {
    let is_harmless = |character: &char| {
        !character.is_control()
            && !matches!(character, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}')
            && !matches!(character, '\u{2066}'..='\u{2069}' | '\u{FEFF}' | '\u{E0000}'..='\u{E007F}')
    };
    text.chars().filter(is_harmless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Labels {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Labels {
            state: "bob".into(),
            figures: texts(&["30 pictures/s", "in 1287 out 1290 kbit/s", "host to host"]),
            keys: texts(&["q end", "m mute", "c camera", "h hold", "? keys"]),
            ..Labels::default()
        }
    }

    #[test]
    fn a_narrow_line_keeps_its_keys_and_leaves_figures_out() {
        let labels = labels();
        let wide = labels.line(120);
        assert_eq!(wide.chars().count(), 120);
        assert!(wide.starts_with(" bob · 30 pictures/s · in 1287") && wide.contains("host to host"), "{wide}");
        assert!(wide.ends_with(" q end · m mute · c camera · h hold · ? keys "), "{wide}");
        let usual = labels.line(80);
        assert!(usual.contains("bob · 30 pictures/s ") && usual.ends_with("h hold · ? keys "), "{usual}");
        let narrow = labels.line(30);
        assert!(narrow.starts_with(" bob ") && narrow.ends_with(" q end · m mute · ? keys "), "{narrow}");
        assert_eq!(labels.line(13), " bob   q end ");
        for columns in 0..130 {
            assert_eq!(labels.line(columns).chars().count(), columns);
        }
    }

    #[test]
    fn words_are_harmless() {
        assert_eq!(printable("a\x1b[2Jb\u{9b}31m\r\n\u{202E}ü"), "a[2Jb31mü");
        let labels = Labels { not_live: Some("\x07x".into()), ..labels() }.printable();
        assert_eq!(labels.over(), ["x"]);
    }
}
