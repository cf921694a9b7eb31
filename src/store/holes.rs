//! Zeros that take no disk: a disk image is mostly zeros, and so is what a fetcher keeps of it.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

/// Bytes that are looked at together.
const STEP: usize = 64;
/// Within longer data, the shortest hole in bytes.
const SHORTEST: usize = 64 << 10;

/// Writes `data`, which ends within the file, at `offset`: as a hole if it is all zeros and the
/// file system knows holes.
///
/// # Errors
/// The operating system's.
pub(super) fn write_all_at(file: &File, data: &[u8], offset: u64) -> io::Result<()> {
    write_by(file, data, offset, punch)
}

/// Cuts `data` where pieces of 64 KiB turn from zeros to anything else or back, and hands on each
/// stretch and where it begins, until one fails.
pub(super) fn for_each_stretch(
    data: &[u8],
    mut write: impl FnMut(usize, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut start = 0;
    while let Some(rest) = data.get(start..).filter(|rest| !rest.is_empty()) {
        let mut pieces = rest
            .chunks(SHORTEST)
            .map(|piece| (piece.len(), is_zero(piece)));
        let (mut length, zeros) = pieces.next().unwrap_or((rest.len(), false));
        length += pieces
            .take_while(|(_, other)| *other == zeros)
            .map(|(length, _)| length)
            .sum::<usize>();
        write(start, rest.get(..length).unwrap_or(rest))?;
        start += length;
    }
    Ok(())
}

fn write_by(
    file: &File,
    data: &[u8],
    offset: u64,
    punch: impl Fn(&File, u64, usize) -> io::Result<()>,
) -> io::Result<()> {
    // Whatever the reason that there can be no hole, writing works or tells.
    if is_zero(data) && punch(file, offset, data.len()).is_ok() {
        return Ok(());
    }
    file.write_all_at(data, offset)
}

/// Ends at the first bytes that are not zero, so that other data costs nothing.
pub(super) fn is_zero(data: &[u8]) -> bool {
    !data.is_empty()
        && data
            .chunks(STEP)
            .all(|step| step.iter().fold(0, |bits, byte| bits | byte) == 0)
}

/// Makes a hole where there may have been bytes.
pub(super) fn punch(file: &File, offset: u64, length: usize) -> io::Result<()> {
    let off_t = |number: u64| {
        libc::off_t::try_from(number).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
    };
    let (offset, length) = (off_t(offset)?, off_t(length as u64)?);
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: no memory is handed over; the descriptor is open as long as `file` is borrowed.
    match unsafe { libc::fallocate(file.as_raw_fd(), mode, offset, length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_zeros_are_zeros() {
        for length in [1, 63, 64, 65, 4096, 40_960] {
            let mut data = vec![0; length];
            assert!(is_zero(&data), "{length}");
            for at in [0, length / 2, length - 1] {
                data[at] = 1;
                assert!(!is_zero(&data), "{length} {at}");
                data[at] = 0;
            }
        }
        assert!(!is_zero(&[]));
    }

    #[test]
    fn stretches_are_all_of_it_in_order() {
        let mut data = vec![7u8; 5 * SHORTEST + 100];
        data[SHORTEST..3 * SHORTEST].fill(0);
        data[5 * SHORTEST..].fill(0);
        let mut found = Vec::new();
        for_each_stretch(&data, |start, stretch| {
            found.push((start, stretch.len(), is_zero(stretch)));
            Ok(())
        })
        .unwrap();
        let piece = SHORTEST;
        let expected = [
            (0, piece, false),
            (piece, 2 * piece, true),
            (3 * piece, 2 * piece, false),
            (5 * piece, 100, true),
        ];
        assert_eq!(found, expected);
        for_each_stretch(&[], |_, _| Err(io::ErrorKind::Other.into())).unwrap();
    }

    #[test]
    fn where_no_hole_can_be_made_zeros_are_written() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[7; 20_000], 0).unwrap();
        for error in [libc::EOPNOTSUPP, libc::ENOSYS, libc::EINVAL, libc::ENOSPC] {
            let refuse = |_: &File, _, _| Err(io::Error::from_raw_os_error(error));
            write_by(&file, &[0; 9000], 5000, refuse).unwrap();
            let mut found = vec![1; 20_000];
            file.read_exact_at(&mut found, 0).unwrap();
            assert!(found[5000..14_000].iter().all(|byte| *byte == 0));
            assert!(found[..5000].iter().all(|byte| *byte == 7));
            assert!(found[14_000..].iter().all(|byte| *byte == 7));
            file.write_all_at(&[7; 20_000], 0).unwrap();
        }
        assert!(punch(&file, u64::MAX, 1).is_err());
    }
}
