//! Several frames in one block (RFC 9559 §10.3).

use std::collections::VecDeque;

use crate::container::ebml;

/// Takes the payload behind a block's header apart; `None` when its sizes do not add up.
pub(super) fn frames(flags: u8, payload: Vec<u8>) -> Option<VecDeque<Vec<u8>>> {
    let kind = flags >> 1 & 3;
    if kind == 0 {
        return Some(VecDeque::from([payload]));
    }
    let (count, mut rest) = payload.split_first()?;
    let count = usize::from(*count) + 1;
    // The last size is what is left.
    let mut sizes = match kind {
        1 => xiph(&mut rest, count - 1)?,
        2 => vec![rest.len() / count; count - 1],
        _ => differences(&mut rest, count - 1)?,
    };
    sizes.push(rest.len().checked_sub(sizes.iter().try_fold(0_usize, |sum, size| sum.checked_add(*size))?)?);
    sizes
        .into_iter()
        .map(|size| {
            let (frame, after) = rest.split_at_checked(size)?;
            rest = after;
            Some(frame.to_vec())
        })
        .collect()
}

/// Sizes as sums of bytes; one below 255 ends each.
fn xiph(rest: &mut &[u8], count: usize) -> Option<Vec<usize>> {
    let mut size = || {
        let mut size = 0;
        loop {
            let (byte, after) = rest.split_first()?;
            *rest = after;
            size += usize::from(*byte);
            if *byte < 255 {
                return Some(size);
            }
        }
    };
    (0..count).map(|_| size()).collect()
}

/// The first size, then how much each differs from the one before it, as numbers of variable length around 0.
fn differences(rest: &mut &[u8], count: usize) -> Option<Vec<usize>> {
    let mut size = 0_i64;
    (0..count)
        .map(|n| {
            let (number, bytes) = ebml::read_number(rest).ok().flatten()?;
            // Below 2^56.
            let number = number.cast_signed();
            size = if n == 0 { number } else { size.checked_add(number - (ebml::max(bytes) >> 1).cast_signed())? };
            usize::try_from(size).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_of_lacing() {
        let apart = |flags, payload: &[u8]| frames(flags, payload.to_vec());
        let wanted = VecDeque::from([vec![1, 2], vec![3, 4], vec![5, 6]]);
        assert_eq!(apart(0x80, &[1, 2]), Some(VecDeque::from([vec![1, 2]])));
        assert_eq!(apart(2, &[2, 2, 2, 1, 2, 3, 4, 5, 6]), Some(wanted.clone()));
        assert_eq!(apart(4, &[2, 1, 2, 3, 4, 5, 6]), Some(wanted.clone()));
        // The difference 0 is the middle of a byte's range.
        assert_eq!(apart(6, &[2, 0x82, 0xbf, 1, 2, 3, 4, 5, 6]), Some(wanted));
        let long = [&[1, 255, 1][..], &[7; 256], &[8]].concat();
        assert_eq!(apart(2, &long).map(|frames| frames[0].len()), Some(256));
    }

    #[test]
    fn sizes_that_lie_are_refused() {
        for (flags, payload) in
            [(2, &[][..]), (2, &[1]), (2, &[1, 9, 1]), (6, &[2, 0x81, 0x80, 1]), (6, &[1, 0]), (2, &[1, 255])]
        {
            assert_eq!(frames(flags, payload.to_vec()), None, "{payload:?}");
        }
    }
}
