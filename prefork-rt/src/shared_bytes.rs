//! Read-only data that `preload` writes once and all workers share: bytes in a mapping of which a fork copies nothing.
//!
//! It must not know what the bytes mean, and it has nothing to do with the memory by which workers report.

use std::fmt;
use std::io::{self, BufWriter, Read, Write};
use std::ops::Deref;

use crate::sys;

/// Bytes that are written once and shared by all workers. A fork takes as long as without them.
///
/// They lie in memory of their own, outside of the heap. A fork copies no page table for it, so the next worker starts as
/// fast as without the data, and a worker that has read little of it ends as fast. All processes have one copy, in any number of
/// workers. From 64 MiB on they are moved into [huge pages](crate::Prefork::huge_pages) before the first fork, so that a worker
/// that has read everything ends as fast, too. [Large data](crate::guide::large_data) compares this with ordinary data.
///
/// Return it from `preload`, alone or in a struct, and read it as `&[u8]`. It begins at a page, so that a crate such as
/// `bytemuck` or `zerocopy` can view it as numbers or as structs without copying. An index of offsets takes the place of
/// pointers.
///
/// ```no_run
/// use std::fs::File;
/// use std::io;
///
/// use prefork_rt::{SharedBytes, prefork};
///
/// fn load() -> io::Result<SharedBytes> {
///     SharedBytes::read_from(&mut File::open("model.bin")?)
/// }
///
/// #[prefork(preload = load)]
/// fn main(model: &SharedBytes) {
///     println!("the model has {} bytes", model.len());
/// }
/// ```
///
/// # Who can write to it
///
/// No process can change what another one reads. On Linux the bytes are those of a sealed memfd, which is closed and which
/// nothing can open for writing again: a worker that writes through a stray pointer ends by SIGSEGV, and mprotect(2) does not
/// give it the right to, where /proc is mounted; where it is not, it gets a copy of its own. On other systems the mapping is
/// read-only, and only code that calls mprotect(2) itself could write to what others read.
///
/// # When it goes away
///
/// A process that drops the value unmaps it, and the memory is free when no process has it. The value that `preload` returns
/// is never dropped. After an upgrade the new binary loads its own data, and the memory is free when the last worker of the
/// old binary has ended. The same holds when an upgrade goes back to the previous binary, which loads again. Programs that a
/// worker executes inherit nothing of it. It works in the same way under `PREFORK=off`.
///
/// # Limits
///
/// The memory counts as shared memory: `Shmem` in /proc/meminfo, `shmem` of the control group in which it was written.
/// Without swap space it stays in memory. A limit on the size of files (RLIMIT_FSIZE) holds for it on Linux. There it needs
/// Linux 3.17. On other systems the data is in memory twice while [`finish`](SharedBytesWriter::finish) runs.
pub struct SharedBytes {
    bytes: sys::Sealed,
}

impl SharedBytes {
    /// A writer for data that the program computes or decodes. No byte is shared before
    /// [`finish`](SharedBytesWriter::finish).
    ///
    /// # Errors
    ///
    /// Where the system refuses the memory: memfd_create(2), for example with `EMFILE`.
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// use prefork_rt::SharedBytes;
    ///
    /// let mut writer = SharedBytes::writer()?;
    /// for number in 0..1000_u32 {
    ///     writer.write_all(&number.to_ne_bytes())?;
    /// }
    /// let numbers = writer.finish()?;
    /// assert_eq!(numbers.len(), 4000);
    /// assert_eq!(numbers[4..8], 1_u32.to_ne_bytes());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn writer() -> io::Result<SharedBytesWriter> {
        Ok(SharedBytesWriter { file: BufWriter::with_capacity(BUFFER, Output(sys::Draft::new()?)) })
    }

    /// All that a reader gives, such as a file, a decoder or the body of a response, until its end.
    ///
    /// # Errors
    ///
    /// An error of the reader, or one of [`writer`](SharedBytes::writer) and [`SharedBytesWriter::finish`].
    ///
    /// ```
    /// use prefork_rt::SharedBytes;
    ///
    /// let mut source: &[u8] = b"a table";
    /// assert_eq!(*SharedBytes::read_from(&mut source)?, *b"a table");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn read_from(reader: &mut dyn Read) -> io::Result<SharedBytes> {
        let mut writer = SharedBytes::writer()?;
        io::copy(reader, &mut writer.file)?;
        writer.finish()
    }

    /// A copy of bytes that are in memory already. Drop the original, or use [`writer`](SharedBytes::writer) so that the data
    /// is never in memory twice.
    ///
    /// # Errors
    ///
    /// One of [`writer`](SharedBytes::writer) and [`SharedBytesWriter::finish`].
    ///
    /// ```
    /// use prefork_rt::SharedBytes;
    ///
    /// let names = SharedBytes::copy_of(b"one two three")?;
    /// assert!(names.starts_with(b"one"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn copy_of(bytes: &[u8]) -> io::Result<SharedBytes> {
        let mut writer = SharedBytes::writer()?;
        writer.write_all(bytes)?;
        writer.finish()
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.bytes()
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// The number of bytes, and none of them.
impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBytes").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Writes the data of a [`SharedBytes`]: see [`SharedBytes::writer`].
///
/// It gathers short writes. Where it is dropped without [`finish`](SharedBytesWriter::finish), the memory is free again.
///
/// ```
/// use std::io::Write;
///
/// use prefork_rt::SharedBytes;
///
/// let mut writer = SharedBytes::writer()?;
/// writeln!(writer, "{} lines of text", 1)?;
/// assert_eq!(*writer.finish()?, *b"1 lines of text\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "the data is given up without `finish`"]
#[derive(Debug)]
pub struct SharedBytesWriter {
    file: BufWriter<Output>,
}

/// How many bytes are gathered for a system call.
const BUFFER: usize = 64 << 10;

impl SharedBytesWriter {
    /// Makes what was written final, and maps it. This copies nothing on Linux.
    ///
    /// # Errors
    ///
    /// Where the bytes that were gathered last cannot be written (`EFBIG` beyond the limit on the size of files, `ENOSPC`), or
    /// where the system refuses the mapping (`ENOMEM`, for example beyond the limit on the address space).
    pub fn finish(self) -> io::Result<SharedBytes> {
        let Output(draft) = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(SharedBytes { bytes: draft.seal()? })
    }
}

impl Write for SharedBytesWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[derive(Debug)]
struct Output(sys::Draft);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_writes_come_in_order() {
        let parts: Vec<Vec<u8>> = (0..200_usize).map(|part| vec![part as u8; part * part * 7 % 100_000]).collect();
        let mut writer = SharedBytes::writer().unwrap();
        for part in &parts {
            writer.write_all(part).unwrap();
        }
        assert_eq!(*writer.finish().unwrap(), *parts.concat());
    }

    #[test]
    fn no_bytes_are_an_empty_slice() {
        for empty in [SharedBytes::copy_of(b""), SharedBytes::read_from(&mut io::empty())] {
            assert!(empty.unwrap().is_empty());
        }
    }

    #[test]
    fn an_error_of_the_reader_is_returned() {
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::PermissionDenied.into())
            }
        }
        let error = SharedBytes::read_from(&mut b"some".chain(Fails)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn it_can_go_to_other_threads_and_begins_at_a_page() {
        fn is_shared<T: Send + Sync + 'static>(_: &T) {}
        let bytes = SharedBytes::copy_of(&[7; 100]).unwrap();
        is_shared(&bytes);
        assert_eq!(bytes.as_ptr() as usize % 4096, 0);
        assert_eq!(format!("{bytes:?}"), "SharedBytes { len: 100, .. }");
    }
}
