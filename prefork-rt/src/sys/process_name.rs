//! What this process is called in `ps`.
#![allow(unsafe_code)]

#[cfg(any(target_os = "linux", target_os = "android"))]
use std::ffi::CStr;
use std::fmt::{self, Write};

/// The most bytes of a name that the kernel stores.
const LIMIT: usize = 15;

/// A name that is short enough for the kernel. To make one takes no memory from the heap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessName {
    /// Zeros follow the name.
    bytes: [u8; LIMIT + 1],
    length: usize,
}

/// Names this process, with as much of the name as the kernel stores.
pub(crate) fn set_process_name(name: &str) {
    ProcessName::EMPTY.and(format_args!("{name}")).set();
}

/// The name of this process: prctl(2). Empty where there is no such call.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn process_name() -> String {
    let mut name = [0_u8; LIMIT + 1];
    // SAFETY: prctl(2) with PR_GET_NAME writes up to 16 bytes through the pointer, of which one is zero; the array has 16.
    let told = unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) } == 0;
    let name = CStr::from_bytes_until_nul(&name).ok().filter(|_| told);
    name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn process_name() -> String {
    String::new()
}

impl ProcessName {
    const EMPTY: ProcessName = ProcessName { bytes: [0; LIMIT + 1], length: 0 };

    /// Gives this name to the calling thread, whose name is the process's in the main thread: prctl(2). Does nothing where
    /// there is no such call.
    #[inline] // Each page of code that a new worker enters costs it a fault.
    pub(crate) fn set(&self) {
        // The process works without a name, should this fail.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        // SAFETY: prctl(2) with PR_SET_NAME reads bytes from the pointer up to the first zero, and no more than 16; the
        // array has 16, of which the last is zero.
        let _ = unsafe { libc::prctl(libc::PR_SET_NAME, self.bytes.as_ptr()) };
    }

    /// `app: role`, or, where that is too long, the short role after as much of `app` as fits.
    pub(crate) fn of_role(app: &str, role: fmt::Arguments<'_>, short: fmt::Arguments<'_>) -> ProcessName {
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
        // A text that does not fit is cut.
        let _ = self.write_fmt(text);
        self
    }

    pub(crate) fn as_str(&self) -> &str {
        // It holds whole characters only, so this is no error.
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

/// Where to cut a text, so that at most `room` bytes and only whole characters are left.
fn boundary(text: &str, room: usize) -> usize {
    (0..=room.min(text.len())).rfind(|&end| text.is_char_boundary(end)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cut_between_characters_and_the_role_is_not() {
        let name = |app: &str, role: &str| {
            let name = ProcessName::of_role(app, format_args!("{role}"), format_args!("short"));
            name.as_str().to_owned()
        };
        assert_eq!(name("app", "long role"), "app: long role");
        assert_eq!(name("apps", "long role"), "apps: long role");
        assert_eq!(name("äpps", "long role"), "äpps: short");
        assert_eq!(name("0123456789", "long role"), "01234567: short");
        assert_eq!(name("0123456ä", "long role"), "0123456: short");
        assert_eq!(name("", "a role that is too long"), "a role that is ");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_name_is_what_it_was_set_to() {
        // The name is the thread's; a process has that of its main thread.
        let named = |name: &str| {
            set_process_name(name);
            process_name()
        };
        assert_eq!(named("äpp: worker 12"), "äpp: worker 12");
        assert_eq!(named("0123456789abcdefg"), "0123456789abcde");
        assert_eq!(named("0123456789abcdä"), "0123456789abcd");
        assert_eq!(named("before\0after"), "before");
        assert_eq!(named(""), "");
    }
}
