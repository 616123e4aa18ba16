//! Moves what the program has loaded into huge pages before the first fork: a fork copies one entry of the page table for
//! each page, and the end of a worker gives each back.
//!
//! It must not know what the memory holds.

use std::fs;
use std::io;
use std::ops::Range;
use std::time::Duration;

use crate::amounts;
use crate::logging;
use crate::sys::{self, PageMap, Usage};

/// Below this a fork takes 2 ms at most, and the program is left as it is.
const LEAST: usize = 64 << 20;
/// How much is moved between two looks at the time used. Each call waits for all CPUs once.
const BATCH: usize = 64 << 20;
/// The CPU time it may take, however little the program has used before. It is enough for a GiB whose huge pages a virtual
/// machine's host has yet to find, for which we measured up to 4.2 s. Where the memory is there, a GiB takes 0.3 s.
const SHORTEST: Duration = Duration::from_secs(5);

/// Moves the large private memory of this process into huge pages, as far as that needs no more memory, and logs what it
/// has moved.
///
/// Unless `asked` for by name, it uses no more CPU time than the program has used until then, or [`SHORTEST`], so that a start
/// takes about twice as long at most. Where asked for, it also says where nothing can be done. `before` is what this process
/// had used before it became this program.
pub(super) fn collapse_large_memory(asked: bool, before: Duration) {
    let Ok(usage) = sys::usage() else { return };
    if usage.peak_memory < LEAST as u64 {
        return;
    }
    match collapse(&usage, longest(asked, usage.cpu_time, before)) {
        Ok(outcome) => {
            if let Some(line) = outcome.line() {
                logging::info(&line);
            }
            if let Some(error) = outcome.refused.filter(|_| asked) {
                warn_of_no_effect(&error);
            }
        }
        Err(error) if asked => warn_of_no_effect(&error),
        Err(_) => {}
    }
}

/// The CPU time that the move may use, in a process that has used `used`, and `before` of it as another program: exec(2) keeps
/// the count.
fn longest(asked: bool, used: Duration, before: Duration) -> Option<Duration> {
    (!asked).then(|| used.saturating_sub(before).max(SHORTEST))
}

fn warn_of_no_effect(error: &io::Error) {
    logging::warn(&format!(
        "huge_pages = true has no effect on all or part of the memory: {error}; it takes Linux 6.1 with transparent huge \
         pages, /proc, and a process that may use them"
    ));
}

#[derive(Debug, Default)]
struct Outcome {
    /// What could be moved, in bytes, without what was in huge pages before, and how much of it was.
    total: usize,
    done: usize,
    /// The CPU time that it took.
    taken: Duration,
    /// The last error that says that a part of the memory may have none.
    refused: Option<io::Error>,
    /// Why it did not go on.
    stopped: Option<Stopped>,
}

#[derive(Debug)]
enum Stopped {
    Late,
    Refused(io::Error),
}

impl Outcome {
    /// From the size of all that may be in huge pages, and what this process had in them before and has now.
    fn count(&mut self, all: usize, before: usize, now: usize) {
        self.done = now.saturating_sub(before);
        self.total = all.saturating_sub(before).max(self.done);
    }

    /// What the log says, unless little was moved because the rest was huge before or may have no huge pages.
    fn line(&self) -> Option<String> {
        let (done, total, taken) = (self.done >> 20, self.total >> 20, amounts::time(self.taken));
        let consequence = "for each GiB that is left, a restart takes about 50 ms longer";
        match &self.stopped {
            Some(Stopped::Late) => Some(format!(
                "moved {done} of {total} MiB into huge pages in {taken} of CPU time, and left the rest, so that the start \
                 does not take longer; {consequence}; huge_pages = true moves all, false nothing"
            )),
            Some(Stopped::Refused(error)) => Some(format!(
                "moved {done} of {total} MiB into huge pages in {taken} of CPU time, and left the rest, as the system had no \
                 more for this process: {error}; {consequence}"
            )),
            None if self.done >= LEAST => Some(format!(
                "moved {done} of {total} MiB into huge pages in {taken} of CPU time, so that workers start and end \
                 fast; huge_pages = false saves this time"
            )),
            None => None,
        }
    }
}

/// `before` is what the process had used before this, `longest` the CPU time that this may use.
fn collapse(before: &Usage, longest: Option<Duration>) -> io::Result<Outcome> {
    let size = sys::huge_page_size()?;
    let maps = fs::read_to_string("/proc/self/maps")?;
    let mut ranges = full_ranges(&maps, size)?;
    // After the private memory, which each fork pays for, and of these only the end of a worker that has read them.
    ranges.extend(shared_bytes(&maps, size));
    let full = ranges.iter().map(Range::len).sum::<usize>();
    if full < LEAST {
        return Ok(Outcome::default());
    }
    let huge_before = in_huge_pages()?;
    let mut outcome = Outcome::default();
    for batch in ranges.iter().flat_map(|range| batches(range, size)) {
        outcome.taken = sys::usage()?.cpu_time.saturating_sub(before.cpu_time);
        if longest.is_some_and(|longest| outcome.taken > longest) {
            outcome.stopped = Some(Stopped::Late);
            break;
        }
        match collapse_batch(&batch) {
            Ok(()) => {}
            Err(error) if sys::errno(&error) == Some(libc::EAGAIN) => {}
            Err(error) if sys::errno(&error) == Some(libc::EINVAL) => outcome.refused = Some(error),
            Err(error) => {
                outcome.stopped = Some(Stopped::Refused(error));
                break;
            }
        }
    }
    outcome.taken = sys::usage()?.cpu_time.saturating_sub(before.cpu_time);
    outcome.count(full, huge_before, in_huge_pages()?);
    Ok(outcome)
}

/// Tries once more where something else used a page just then, and twice more where no huge page was free: a try
/// makes the kernel move pages together, and we have seen the second one succeed. What is huge by then takes no time.
fn collapse_batch(batch: &Range<usize>) -> io::Result<()> {
    let mut outcome = sys::collapse(batch);
    for errno in [libc::ENOMEM, libc::ENOMEM, libc::EAGAIN] {
        if outcome.as_ref().is_err_and(|error| sys::errno(error) == Some(errno)) {
            outcome = sys::collapse(batch);
        }
    }
    outcome
}

/// How many bytes this process has in huge pages.
fn in_huge_pages() -> io::Result<usize> {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup")?;
    kilobytes_in_huge_pages(&rollup).map(|size| size << 10).ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// Of lines such as `AnonHugePages:     1022976 kB`: private memory without a file, and shared memory.
fn kilobytes_in_huge_pages(rollup: &str) -> Option<usize> {
    let line = |name| rollup.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = |line: &str| line.trim_start().strip_suffix(" kB")?.parse::<usize>().ok();
    Some(kilobytes(line("AnonHugePages:")?)? + kilobytes(line("ShmemPmdMapped:")?)?)
}

/// What is made into huge pages: the parts of private memory in which every small page is there, and this process's alone.
///
/// So it needs no more memory: an absent page, or the page of zeros that all untouched memory shares, would become memory,
/// and a page shared with another process would be copied.
fn full_ranges(maps: &str, size: usize) -> io::Result<Vec<Range<usize>>> {
    let pages = PageMap::open()?;
    let mut entries = vec![0; size / pages.page()];
    let mut full: Vec<Range<usize>> = Vec::new();
    for mapping in maps.lines().filter_map(private_memory) {
        for start in whole_pages(&mapping, size).step_by(size) {
            pages.read(start, &mut entries)?;
            if !entries.iter().copied().all(is_own) {
                continue;
            }
            match full.last_mut() {
                Some(last) if last.end == start => last.end += size,
                _ => full.push(start..start + size),
            }
        }
    }
    Ok(full)
}

/// The mappings of [`crate::SharedBytes`], as far as huge pages fit: all of their small pages are there.
fn shared_bytes(maps: &str, size: usize) -> impl Iterator<Item = Range<usize>> {
    let mappings = maps.lines().filter_map(shared_mapping);
    mappings.map(move |mapping| whole_pages(&mapping, size)).filter(|pages| !pages.is_empty())
}

/// The part of a mapping that huge pages of this size could take the place of.
fn whole_pages(mapping: &Range<usize>, size: usize) -> Range<usize> {
    mapping.start.next_multiple_of(size)..mapping.end / size * size
}

/// The addresses of a line of /proc/PID/maps, where it is of private memory that no file has. A main thread's stack is not:
/// it shrinks and grows.
fn private_memory(line: &str) -> Option<Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let addresses = fields.next()?;
    let private = fields.next()?.ends_with('p');
    let inode = fields.nth(2)?;
    let has_no_file = inode == "0" && fields.next().is_none_or(|name| name == "[heap]" || name.starts_with("[anon:"));
    if private && has_no_file { range(addresses) } else { None }
}

/// The addresses of a line of /proc/PID/maps, where it is of shared bytes.
fn shared_mapping(line: &str) -> Option<Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (addresses, access) = (fields.next()?, fields.next()?);
    let name = fields.nth(3)?.strip_prefix("/memfd:")?;
    if access == "r--s" && name.as_bytes() == sys::SEALED_NAME.to_bytes() { range(addresses) } else { None }
}

/// `7f0000000000-7f0040001000`.
fn range(addresses: &str) -> Option<Range<usize>> {
    let (start, end) = addresses.split_once('-')?;
    let number = |digits| usize::from_str_radix(digits, 16).ok();
    Some(number(start)?..number(end)?)
}

/// Whether an entry of /proc/PID/pagemap is of a page that is there and that this process alone has mapped.
fn is_own(entry: u64) -> bool {
    const PRESENT: u64 = 1 << 63;
    const OF_A_FILE: u64 = 1 << 61;
    const EXCLUSIVE: u64 = 1 << 56;
    entry & (PRESENT | OF_A_FILE | EXCLUSIVE) == PRESENT | EXCLUSIVE
}

/// Parts of about [`BATCH`] bytes.
fn batches(range: &Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> + use<> {
    let (batch, end) = (BATCH.next_multiple_of(size), range.end);
    range.clone().step_by(batch).map(move |start| start..end.min(start + batch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_memory_without_a_file_is_taken_from_a_list_of_mappings() {
        for (line, expected) in [
            ("7f0000000000-7f0040001000 rw-p 00000000 00:00 0 ", Some(0x7f00_0000_0000..0x7f00_4000_1000)),
            (
                "55d0a0000000-55d0a8000000 rw-p 00000000 00:00 0                          [heap]",
                Some(0x55d0_a000_0000..0x55d0_a800_0000),
            ),
            (
                "7f0000000000-7f0000200000 rw-p 00000000 00:00 0                          [anon:a pool]",
                Some(0x7f00_0000_0000..0x7f00_0020_0000),
            ),
            ("7f0000000000-7f0000200000 r--p 00000000 00:00 0 ", Some(0x7f00_0000_0000..0x7f00_0020_0000)),
            ("7f0000000000-7f0000200000 rw-s 00000000 00:01 1025                       /dev/zero (deleted)", None),
            ("7f0000000000-7f0000200000 rw-p 00000000 00:0f 7                          /anon_hugepage (deleted)", None),
            ("7f0000000000-7f0000200000 rw-p 00003000 08:01 1234                       /usr/lib/libc.so.6", None),
            ("7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]", None),
            ("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]", None),
            ("7f0000000000 rw-p", None),
            ("x-y rw-p 00000000 00:00 0 ", None),
            ("", None),
        ] {
            assert_eq!(private_memory(line), expected, "{line}");
        }
    }

    #[test]
    fn a_start_takes_twice_as_long_at_most_or_five_seconds_more() {
        let seconds = Duration::from_secs;
        let of_a_start = |asked, used| longest(asked, used, Duration::ZERO);
        assert_eq!(of_a_start(false, seconds(1)), Some(seconds(5)));
        assert_eq!(of_a_start(false, seconds(9)), Some(seconds(9)));
        assert_eq!(of_a_start(true, seconds(9)), None);
    }

    #[test]
    fn what_the_previous_binary_has_used_makes_the_move_of_the_next_no_longer() {
        let seconds = Duration::from_secs;
        assert_eq!(longest(false, seconds(86_401), seconds(86_400)), Some(seconds(5)));
        assert_eq!(longest(false, seconds(86_409), seconds(86_400)), Some(seconds(9)));
        // Two counts that the kernel has scaled may differ by a little.
        assert_eq!(longest(false, seconds(86_400), seconds(86_401)), Some(seconds(5)));
    }

    #[test]
    fn a_line_says_what_was_moved_and_how_long_it_took_and_what_to_do() {
        let outcome = |done: usize, stopped| Outcome {
            total: 1022 << 20,
            done: done << 20,
            taken: Duration::from_millis(350),
            refused: None,
            stopped,
        };
        let start = "moved 704 of 1022 MiB into huge pages in 350ms of CPU time, and left the rest, ";
        let late = outcome(704, Some(Stopped::Late)).line().unwrap();
        assert!(late.starts_with(start) && late.contains("huge_pages = true moves all"), "{late}");
        let refused = outcome(704, Some(Stopped::Refused(io::ErrorKind::OutOfMemory.into()))).line().unwrap();
        assert!(refused.starts_with(start) && refused.contains("out of memory"), "{refused}");
        let all = outcome(1022, None).line().unwrap();
        assert!(all.starts_with("moved 1022 of 1022 MiB") && all.contains("huge_pages = false"), "{all}");
        assert_eq!(outcome(0, None).line(), None);
    }

    #[test]
    fn what_was_in_huge_pages_before_is_not_counted_as_moved() {
        let line = |before: usize, now: usize| {
            let mut outcome = Outcome::default();
            outcome.count(1022 << 20, before << 20, now << 20);
            outcome.line()
        };
        assert_eq!(line(1022, 1022), None);
        assert!(line(22, 1022).unwrap().starts_with("moved 1000 of 1000 MiB"));
        // Other shared memory of the program may be in huge pages, too.
        assert!(line(2000, 2500).unwrap().starts_with("moved 500 of 500 MiB"));
    }

    #[test]
    fn the_size_in_huge_pages_is_in_smaps_rollup() {
        let rollup = "55d0a0000000-7ffd00021000 ---p 00000000 00:00 0   [rollup]\nRss:  1050000 kB\nAnonHugePages:   1046528 kB\nShmemPmdMapped:     2048 kB\n";
        assert_eq!(kilobytes_in_huge_pages(rollup), Some(1_048_576));
        for other in ["", "Rss:  1050000 kB\n", "AnonHugePages:   8 kB\nShmemPmdMapped:\n", "AnonHugePages:   x kB\n"] {
            assert_eq!(kilobytes_in_huge_pages(other), None, "{other}");
        }
    }

    #[cfg(all(target_os = "linux", not(prefork_portable)))]
    #[test]
    fn shared_bytes_are_taken_from_a_list_of_mappings() {
        let Ok(size) = sys::huge_page_size() else { return };
        let bytes = crate::shared_bytes::SharedBytes::copy_of(&vec![7; 3 * size + 4096]).unwrap();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let start = bytes.as_ptr() as usize;
        let found: Vec<_> = shared_bytes(&maps, size).collect();
        assert!(found.contains(&(start..start + 3 * size)), "{found:x?} {start:x}");
        for other in [
            "7f0000000000-7f0040000000 rw-s 00000000 00:01 1025                       /memfd:prefork-shared-bytes (deleted)",
            "7f0000000000-7f0040000000 r--s 00000000 00:01 1025                       /memfd:another (deleted)",
            "7f0000000000-7f0000001000 r--s 00000000 00:01 1025                       /memfd:prefork-shared-bytes (deleted)",
            "7f0000000000-7f0040000000 r--s 00000000 00:00 0 ",
        ] {
            assert_eq!(shared_bytes(other, size).next(), None, "{other}");
        }
    }

    #[test]
    fn only_pages_that_are_there_and_of_this_process_alone_are_its_own() {
        const PRESENT_AND_EXCLUSIVE: u64 = 1 << 63 | 1 << 56;
        assert!(is_own(PRESENT_AND_EXCLUSIVE) && is_own(PRESENT_AND_EXCLUSIVE | 1 << 55 | 0x1234));
        // Absent, of zeros or shared, swapped out, of a file.
        for entry in [0, 1 << 63, 1 << 62, PRESENT_AND_EXCLUSIVE | 1 << 61] {
            assert!(!is_own(entry), "{entry:#x}");
        }
    }

    #[test]
    fn batches_cover_a_range_without_a_gap() {
        let huge = 2 << 20;
        for length in [huge, BATCH, BATCH + huge, 3 * BATCH - huge] {
            let parts: Vec<_> = batches(&(huge..huge + length), huge).collect();
            assert!(parts.windows(2).all(|two| two[0].end == two[1].start), "{parts:?}");
            assert_eq!((parts[0].start, parts[parts.len() - 1].end), (huge, huge + length));
            assert!(parts.iter().all(|part| part.len() <= BATCH));
        }
    }

    /// The zeros of `vec![0; n]` that were only read are one page, mapped everywhere.
    #[cfg(target_os = "linux")]
    #[test]
    fn memory_that_was_only_read_or_not_touched_is_left_alone() {
        let Ok(size) = sys::huge_page_size() else { return };
        let written = std::hint::black_box(vec![1_u8; 8 * size]);
        let read = std::hint::black_box(vec![0_u8; 8 * size]);
        assert_eq!(read.iter().map(|byte| u64::from(*byte)).sum::<u64>(), 0);
        let untouched: Vec<u8> = Vec::with_capacity(8 * size);
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let Ok(full) = full_ranges(&maps, size) else { return };
        let overlap = |data: &[u8]| -> usize {
            let data = data.as_ptr_range();
            let (start, end) = (data.start as usize, data.end as usize);
            full.iter().map(|range| range.end.min(end).saturating_sub(range.start.max(start))).sum()
        };
        assert!(overlap(&written) >= 6 * size, "{full:x?}");
        assert!(overlap(&read) <= size, "{full:x?}");
        let start = untouched.as_ptr() as usize;
        assert!(full.iter().all(|range| range.end <= start || range.start >= start + 8 * size || range.len() <= size));
    }
}
