//! IDs of the many peers of a load.

use signalling::id::PeerId;

/// A name for one of many peers of this program.
///
/// # Errors
/// In words, when the ID is too long to have more added to it.
pub(crate) fn numbered(id: &PeerId, role: &str, number: u32) -> Result<PeerId, String> {
    format!("{id}-{role}-{number}").parse().map_err(|error| format!("{error}; pass a shorter --id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_too_long_for_more_is_said_to_be() {
        let id: PeerId = "x".repeat(60).parse().unwrap();
        assert!(numbered(&id, "caller", 1).unwrap_err().contains("--id"));
        assert_eq!(numbered(&"me".parse().unwrap(), "caller", 7).unwrap().as_str(), "me-caller-7");
    }
}
