//! Whether what is read from a table or a log is what was written: every read is checked
//! here, because rusty-leveldb goes on to the next block when one is damaged.
//!
//! The formats are LevelDB's: `doc/table_format.md` and `doc/log_format.md` there.

/// What follows each block of a table: how it is compressed, and a checksum.
const BLOCK_TRAILER: usize = 5;

/// What a table ends with.
const FOOTER: usize = 48;
const FOOTER_MAGIC: [u8; 8] = 0xdb47_7524_8b80_fb57_u64.to_le_bytes();

/// A block of a log, and what each record in it begins with.
const LOG_BLOCK: usize = 32 << 10;
const RECORD_HEADER: usize = 7;

const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// Undoes what keeps a checksum of checksums from being zero.
fn unmasked(masked: [u8; 4]) -> u32 {
    u32::from_le_bytes(masked)
        .wrapping_sub(0xa282_ead8)
        .rotate_left(15)
}

/// What there is to say against a read of a table, if anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    Checksum,
    Footer,
    /// The table was written by somebody who compresses in another way.
    Compression(u8),
}

/// Looks at what was read of a table at `offset`, of `length` bytes in all. `after` gives the
/// bytes that follow it: a filter is read without its trailer.
pub(super) fn check_table(
    read: &[u8],
    offset: u64,
    length: u64,
    after: impl FnOnce() -> [u8; BLOCK_TRAILER],
) -> Result<(), Damage> {
    if read.len() == FOOTER && offset + FOOTER as u64 == length {
        return if is_footer(read, offset) {
            Ok(())
        } else {
            Err(Damage::Footer)
        };
    }
    if let Some((block, trailer)) = read.split_last_chunk()
        && is_whole(block, *trailer)
    {
        return match trailer[0] {
            0 | 1 => Ok(()),
            other => Err(Damage::Compression(other)),
        };
    }
    if is_whole(read, after()) {
        Ok(())
    } else {
        Err(Damage::Checksum)
    }
}

/// Whether a file so long can be a table.
pub(super) fn least_table(length: usize) -> Result<(), Damage> {
    if length < FOOTER {
        return Err(Damage::Footer);
    }
    Ok(())
}

fn is_whole(block: &[u8], trailer: [u8; BLOCK_TRAILER]) -> bool {
    let [compression, checksum @ ..] = trailer;
    let sum = crc32c::crc32c_append(crc32c::crc32c(block), &[compression]);
    sum == unmasked(checksum)
}

/// Whether its two blocks are before it, so that no absurd length is read. Nothing else of
/// a table is without a checksum.
fn is_footer(footer: &[u8], offset: u64) -> bool {
    let Some(mut handles) = footer.strip_suffix(&FOOTER_MAGIC[..]) else {
        return false;
    };
    let mut number = || {
        let mut value = 0_u64;
        for shift in (0..63).step_by(7) {
            let (byte, rest) = handles.split_first()?;
            handles = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    };
    (0..2).all(|_| {
        let block = number().zip(number());
        let end = block.and_then(|(at, size)| at.checked_add(size)?.checked_add(5));
        end.is_some_and(|end| end <= offset)
    })
}

/// How much of a log is whole batches, or `None` if damage is followed by the beginning of
/// another batch: then it is not what a crash left of the last one.
pub(super) fn whole_records(log: &[u8]) -> Option<usize> {
    let (mut at, mut end, mut is_inside) = (0, 0, false);
    while let Some((kind, length)) = record(log, at) {
        at = length;
        match (kind, is_inside) {
            (FULL, false) => end = at,
            (FIRST, false) => is_inside = true,
            (MIDDLE, true) => {}
            (LAST, true) => {
                is_inside = false;
                end = at;
            }
            _ => return None,
        }
        if LOG_BLOCK - at % LOG_BLOCK < RECORD_HEADER {
            at = at.next_multiple_of(LOG_BLOCK);
        }
    }
    // The rest of this block, as far as lengths can be believed, and all others.
    let here = log
        .get(at..)
        .and_then(header)
        .map(|(length, _)| at + RECORD_HEADER + length);
    let others = (at / LOG_BLOCK + 1..).map(|block| block * LOG_BLOCK);
    let others = others.take_while(|at| *at < log.len());
    let is_followed = here
        .into_iter()
        .chain(others)
        .any(|at| matches!(record(log, at), Some((FULL | FIRST, _))));
    (!is_followed).then_some(end)
}

/// The kind of the record at `at` and where it ends, if it is whole.
fn record(log: &[u8], at: usize) -> Option<(u8, usize)> {
    let rest = log.get(at..)?;
    let left_in_block = LOG_BLOCK - at % LOG_BLOCK;
    let (length, kind) = header(rest)?;
    let end = RECORD_HEADER + length;
    if !(FULL..=LAST).contains(&kind) || end > left_in_block {
        return None;
    }
    let sum = crc32c::crc32c(rest.get(RECORD_HEADER - 1..end)?);
    let stored = unmasked([rest[0], rest[1], rest[2], rest[3]]);
    (sum == stored).then_some((kind, at + end))
}

fn header(record: &[u8]) -> Option<(usize, u8)> {
    match record {
        [_, _, _, _, low, high, kind, ..] => {
            Some((usize::from(u16::from_le_bytes([*low, *high])), *kind))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(sum: u32) -> [u8; 4] {
        sum.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
    }

    /// A log of one batch for each length.
    fn log(lengths: &[usize]) -> Vec<u8> {
        let mut log = Vec::new();
        for length in lengths {
            let (mut left, mut is_first) = (*length, true);
            loop {
                let mut room = LOG_BLOCK - log.len() % LOG_BLOCK;
                if room < RECORD_HEADER {
                    log.resize(log.len() + room, 0);
                    room = LOG_BLOCK;
                }
                let part = left.min(room - RECORD_HEADER);
                left -= part;
                let kind = match (is_first, left == 0) {
                    (true, true) => FULL,
                    (true, false) => FIRST,
                    (false, false) => MIDDLE,
                    (false, true) => LAST,
                };
                let mut record = vec![kind];
                record.resize(1 + part, b'x');
                log.extend(masked(crc32c::crc32c(&record)));
                log.extend(u16::try_from(part).unwrap().to_le_bytes());
                log.extend(record);
                is_first = false;
                if left == 0 {
                    break;
                }
            }
        }
        log
    }

    #[test]
    fn whatever_a_crash_cuts_off_a_log_only_the_last_batch_goes() {
        let lengths = [
            100,
            LOG_BLOCK - 100 - 2 * RECORD_HEADER - 3,
            70_000,
            5,
            40_000,
        ];
        let ends: Vec<usize> = (1..=lengths.len())
            .map(|n| log(&lengths[..n]).len())
            .collect();
        let whole = log(&lengths);
        let cuts = (0..whole.len()).step_by(37).chain(ends.clone());
        for cut in cuts {
            let expected = ends.iter().copied().filter(|end| *end <= cut).max();
            let expected = expected.unwrap_or_default();
            assert_eq!(whole_records(&whole[..cut]), Some(expected), "{cut}");
            // Some file systems leave zeros there.
            let mut zeros = whole[..cut].to_vec();
            zeros.resize(cut + 50_000, 0);
            assert_eq!(whole_records(&zeros), Some(expected), "{cut}");
        }
    }

    #[test]
    fn damage_that_whole_batches_follow_is_no_crash() {
        let whole = log(&[100, 40_000, 100, 40_000, 100]);
        let last = log(&[100, 40_000, 100, 40_000]).len();
        for at in (0..last).step_by(11) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x20;
            if damaged[at] == whole[at] || whole_records(&damaged) != Some(whole.len()) {
                let found = whole_records(&damaged);
                // A length that cannot be believed hides what follows in its block.
                assert!(
                    found.is_none() || found.is_some_and(|end| end <= at),
                    "{at}"
                );
            }
        }
        let mut damaged = whole.clone();
        damaged[50] ^= 1;
        assert_eq!(whole_records(&damaged), None);
    }

    #[test]
    fn a_footer_that_points_outside_is_none() {
        let mut footer = vec![0x10, 0x20, 0x40, 0x20];
        footer.resize(FOOTER - 8, 0);
        footer.extend(FOOTER_MAGIC);
        assert!(is_footer(&footer, 101));
        assert!(!is_footer(&footer, 100));
        let mut far = footer.clone();
        far[..10].fill(0xff);
        assert!(!is_footer(&far, 1 << 30));
        footer[45] ^= 1;
        assert!(!is_footer(&footer, 101));
    }
}
