//! What this process is called in `ps`.

use std::fmt::{self, Write};

/// The kernel keeps no longer one, in bytes.
const LIMIT: usize = 15;

/// A name that the kernel takes as it is. It is made without memory from the heap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessName {
    /// Zero after its end.
    bytes: [u8; LIMIT + 1],
    length: usize,
}

/// `app: supervisor`, or `longer-app: sup`.
pub(crate) fn supervisor_name(app: &str) -> ProcessName {
    ProcessName::of(app, format_args!("supervisor"), format_args!("sup"))
}

/// `app: worker 2`, or `longer-app: w2`.
pub(crate) fn worker_name(app: &str, task_id: usize) -> ProcessName {
    ProcessName::of(app, format_args!("worker {task_id}"), format_args!("w{task_id}"))
}

/// Names this process, or as much of the name as the kernel keeps.
pub(crate) fn set_process_name(name: &str) {
    ProcessName::EMPTY.and(format_args!("{name}")).set();
}

/// What it is called now: prctl(2), and nothing where there is no such call.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn process_name() -> String {
    nix::sys::prctl::get_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn process_name() -> String {
    String::new()
}

impl ProcessName {
    const EMPTY: ProcessName = ProcessName { bytes: [0; LIMIT + 1], length: 0 };

    /// Names this process, by its main thread: prctl(2), and nothing where there is no such call.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn set(&self) {
        // A name is for people who look on: the process works without, if it should fail.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        // SAFETY: prctl(2) with PR_SET_NAME reads bytes from the pointer up to the first zero, and no more than 16; the
        // array has 16, of which the last is zero.
        let _ = unsafe { libc::prctl(libc::PR_SET_NAME, self.bytes.as_ptr()) };
    }

    /// The program's name and the role where both fit, or else the short role after as much of the name as fits.
    fn of(app: &str, role: fmt::Arguments<'_>, short: fmt::Arguments<'_>) -> ProcessName {
        let role = ProcessName::EMPTY.and(role);
        if app.is_empty() {
            return role;
        }
        let is_whole = app.len() + ": ".len() + role.length <= LIMIT;
        let role = if is_whole { role } else { ProcessName::EMPTY.and(short) };
        let room = LIMIT.saturating_sub(role.length + ": ".len());
        match &app[..boundary(app, room)] {
            "" => role,
            app => ProcessName::EMPTY.and(format_args!("{app}: {}", role.as_str())),
        }
    }

    fn and(mut self, text: fmt::Arguments<'_>) -> ProcessName {
        // What does not fit is cut.
        let _ = self.write_fmt(text);
        self
    }

    pub(crate) fn as_str(&self) -> &str {
        // Only whole characters are written to it, so this is no error.
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl Write for ProcessName {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let text = &text.as_bytes()[..boundary(text, LIMIT - self.length)];
        self.bytes[self.length..][..text.len()].copy_from_slice(text);
        self.length += text.len();
        Ok(())
    }
}

/// Where to cut so that at most `room` bytes and only whole characters are left.
fn boundary(text: &str, room: usize) -> usize {
    (0..=room.min(text.len())).rfind(|&end| text.is_char_boundary(end)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_is_written_out_where_the_whole_name_fits_and_else_is_short() {
        for (app, expected) in [
            ("app", "app: supervisor"),
            ("http", "http: sup"),
            ("a", "a: supervisor"),
            ("", "supervisor"),
            ("ä", "ä: supervisor"),
            ("ää", "ää: sup"),
            ("ten-bytes!", "ten-bytes!: sup"),
            ("eleven-byte", "eleven-byt: sup"),
            ("nine-byteä", "nine-byte: sup"),
            ("🦀", "🦀: sup"),
        ] {
            assert_eq!(supervisor_name(app).as_str(), expected);
        }
        for (app, task_id, expected) in [
            ("app", 2, "app: worker 2"),
            ("http", 9, "http: worker 9"),
            ("http", 10, "http: worker 10"),
            ("http", 100, "http: w100"),
            ("tcp_echo", 2, "tcp_echo: w2"),
            ("tcp_echo", 4095, "tcp_echo: w4095"),
            ("tcp_echo", 99_999, "tcp_ech: w99999"),
            ("tcp_echo", 4_194_304, "tcp_e: w4194304"),
            ("", 100_000, "worker 100000"),
        ] {
            assert_eq!(worker_name(app, task_id).as_str(), expected);
        }
    }

    #[test]
    fn no_name_is_longer_than_the_kernels() {
        for app in ["", "a", "tcp_echo", "äöüäöüäöüäöü", "🦀🦀🦀🦀🦀"] {
            assert!(supervisor_name(app).as_str().len() <= LIMIT);
            for task_id in [0, 10, 1_000_000, usize::MAX] {
                assert!(worker_name(app, task_id).as_str().len() <= LIMIT);
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_name_is_what_it_was_set_to() {
        // The name is the thread's; a process has that of its main thread.
        let named = |name: &str| {
            set_process_name(name);
            process_name()
        };
        assert_eq!(named(worker_name("äpp", 12).as_str()), "äpp: worker 12");
        assert_eq!(named("0123456789abcdefg"), "0123456789abcde");
        assert_eq!(named("0123456789abcdä"), "0123456789abcd");
        assert_eq!(named("before\0after"), "before");
        assert_eq!(named(""), "");
    }
}
