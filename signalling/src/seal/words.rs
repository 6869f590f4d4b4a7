//! Bits as words that people read to each other: the English list of BIP-39, 2048 words of 11 bits each. Four letters
//! tell any two of them apart.

/// The list, one word a line, in alphabetical order.
const LIST: &str = include_str!("words.txt");

/// Words of a fingerprint: 132 bits, which nobody finds a second key for.
pub const FINGERPRINT_WORDS: usize = 12;

/// Words of a short authentication string: 44 bits, of which whoever sits in the middle has one try a call.
pub const SAS_WORDS: usize = 4;

/// Bits of one word.
const BITS: usize = 11;

/// The first `count` words of `bytes`, most significant bit first, separated by spaces.
pub(super) fn encode(bytes: &[u8], count: usize) -> String {
    let list: Vec<&str> = LIST.lines().collect();
    let bit = |index: usize| bytes.get(index / 8).map_or(0, |byte| usize::from(byte >> (7 - index % 8) & 1));
    let number = |word: usize| (word * BITS..(word + 1) * BITS).fold(0, |number, index| number << 1 | bit(index));
    let words: Vec<&str> = (0..count).filter_map(|word| list.get(number(word)).copied()).collect();
    words.join(" ")
}

/// The words of a fingerprint as this program writes them, of those that a person wrote; `None` when they are no such
/// words.
#[must_use]
pub fn fingerprint_words(text: &str) -> Option<String> {
    let words: Vec<String> = text.split(|c: char| !c.is_ascii_alphabetic()).map(str::to_ascii_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
    let known = words.iter().all(|word| LIST.lines().any(|listed| listed == *word));
    (words.len() == FINGERPRINT_WORDS && known).then(|| words.join(" "))
}

/// Whether two texts have the same words, in whatever case and with whatever between them.
#[must_use]
pub fn same(one: &str, other: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        let letters = |word: &&str| !word.is_empty();
        text.split(|c: char| !c.is_ascii_alphabetic()).filter(letters).map(str::to_ascii_lowercase).collect()
    };
    words(one) == words(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_that_of_bip_39() {
        use std::fmt::Write as _;
        let hash = ring::digest::digest(&ring::digest::SHA256, LIST.as_bytes());
        let hash = hash.as_ref().iter().fold(String::new(), |mut text, byte| {
            let _infallible = write!(text, "{byte:02x}");
            text
        });
        assert_eq!(hash, "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda");
        assert_eq!(LIST.lines().count(), 1 << BITS);
    }

    #[test]
    fn words_are_taken_from_the_first_bit_on() {
        assert_eq!(encode(&[0; 32], 3), "abandon abandon abandon");
        assert_eq!(encode(&[0xff; 32], 2), "zoo zoo");
        // 00000000001 00000000010 000…
        assert_eq!(encode(&[0x00, 0x20, 0x08, 0x00, 0x00], 3), "ability able abandon");
    }

    #[test]
    fn words_that_are_none_are_refused() {
        let twelve = ["zoo"; 12].join(", ").to_uppercase();
        assert_eq!(fingerprint_words(&twelve), Some(["zoo"; 12].join(" ")));
        for bad in ["", "zoo", &["zoo"; 13].join(" "), &["zo"; 12].join(" ")] {
            assert_eq!(fingerprint_words(bad), None, "{bad}");
        }
    }

    #[test]
    fn people_write_them_as_they_like() {
        assert!(same("ability able zoo", " Ability, ABLE-zoo."));
        assert!(!same("ability able zoo", "able ability zoo"));
        assert!(!same("ability able zoo", "ability able"));
    }
}
