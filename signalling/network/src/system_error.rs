//! What the system says of a file or a socket, in words for people.

use std::io;

/// How this system says that a program has as many files open as it may (EMFILE).
pub const TOO_MANY_FILES: i32 = 24;

/// How an error of the system begins its number.
const NUMBER: &str = " (os error ";

/// What went wrong, without the system's number behind it.
pub fn in_words(error: &io::Error) -> String {
    if error.raw_os_error() == Some(TOO_MANY_FILES) {
        return too_many_files();
    }
    without_number(&error.to_string())
}

/// A text that quotes an error of the system, without the number: `(os error 2)`.
pub fn without_number(text: &str) -> String {
    let mut parts = text.split(NUMBER);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |words, part| words + part.split_once(')').map_or("", |(_number, rest)| rest))
}

/// How a text begins that says that no file can be opened any more.
pub const OUT_OF_FILES: &str = "too many open files";

/// What to do then.
pub const OUT_OF_FILES_FIX: &str = "raise the limit with ulimit -n";

/// That no file can be opened any more, with the limit if the system tells it, and what to do.
pub fn too_many_files() -> String {
    format!("{}; {OUT_OF_FILES_FIX}", out_of_files())
}

/// The same without what to do.
pub fn out_of_files() -> String {
    let limit = std::fs::read_to_string("/proc/self/limits").ok().and_then(|limits| {
        let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
        line.split_whitespace().nth(3).map(|limit| format!(" (limit {limit})"))
    });
    format!("{OUT_OF_FILES}{}", limit.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_left_out() {
        assert_eq!(in_words(&io::Error::from_raw_os_error(2)), "No such file or directory");
        assert_eq!(in_words(&io::Error::from_raw_os_error(113)), "No route to host");
        assert_eq!(in_words(&io::Error::other("no camera (yet)")), "no camera (yet)");
        assert_eq!(without_number("a: Is a directory (os error 21): b (os error 2)"), "a: Is a directory: b");
    }

    #[test]
    fn too_many_files_come_with_advice() {
        let told = in_words(&io::Error::from_raw_os_error(TOO_MANY_FILES));
        assert!(told.starts_with("too many open files") && told.ends_with("ulimit -n"), "{told}");
    }
}
