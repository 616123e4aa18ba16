//! CPython, where this process has one: its protocol around fork(2), and the names of its threads.
//!
//! It must not know what is forked, or why. What the notes say of CPython's functions stands in its C API reference, in the
//! chapters "Operating System Utilities", "Initialization, Finalization, and Threads" and "The Very High Level Layer".
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::fs;
use std::marker::PhantomData;
use std::mem;
use std::ptr;
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::Duration;

use super::{Fork, spawn_without_signals};

/// How long to wait for the GIL to learn the names of threads. A thread may keep it for ever.
const PATIENCE: Duration = Duration::from_secs(1);

/// `Py_eval_input`: the text is one expression.
const EXPRESSION: c_int = 258;

const FLUSHES: [&CStr; 2] = [c"__import__('sys').stdout.flush()", c"__import__('sys').stderr.flush()"];

/// A line for each thread: its id in the kernel, its name.
const THREADS: &CStr =
    c"'\\n'.join(f'{t.native_id} {t.name}' for t in __import__('sys').modules['threading'].enumerate())";

/// The interpreter of this process. It was initialized when it was found.
#[derive(Clone, Copy)]
pub(crate) struct Interpreter(&'static Functions);

/// Finds the interpreter: its library may be linked in, statically or not, or loaded later, for all or for one module. An
/// error says which library is loaded and which function it lacks.
pub(crate) fn find_python() -> Result<Option<Interpreter>, String> {
    static FUNCTIONS: OnceLock<Functions> = OnceLock::new();
    let found = match Functions::linked().or_else(|_| Functions::exported(libc::RTLD_DEFAULT)) {
        Ok(functions) => functions,
        Err(_) => match loaded_library() {
            Some(library) => library.functions()?,
            None => return Ok(None),
        },
    };
    let interpreter = Interpreter(FUNCTIONS.get_or_init(|| found));
    Ok(interpreter.is_initialized().then_some(interpreter))
}

impl Interpreter {
    fn is_initialized(self) -> bool {
        // SAFETY: Py_IsInitialized takes nothing, and may be called at any time.
        (unsafe { (self.0.Py_IsInitialized)() }) != 0
    }

    /// Flushes what Python code has printed, so that workers do not print it once more.
    pub(crate) fn flush(self) {
        if let Some(gil) = Gil::take(self) {
            gil.flush();
        }
    }

    /// Forks by calling `fork`, as os.fork() does: the functions of os.register_at_fork run before and, in the parent, after
    /// it, also where it fails. What those print that run after it is flushed; what those print that run before it is in Python's
    /// buffer at the fork, because no Python code can run between PyOS_BeforeFork and fork(2). The new process gets what it must
    /// [finish](InChild::finish).
    pub(crate) fn around<E>(self, fork: impl FnOnce() -> Result<Fork, E>) -> Result<(Fork, Option<InChild>), E> {
        let Some(gil) = Gil::take(self) else { return fork().map(|forked| (forked, None)) };
        // SAFETY: PyOS_BeforeFork takes nothing, belongs before fork(2), and runs Python code, for which this thread
        // has the GIL.
        unsafe { (self.0.PyOS_BeforeFork)() };
        match fork() {
            Ok(Fork::Child) => Ok((Fork::Child, Some(InChild(gil)))),
            in_parent @ (Ok(Fork::Parent(_)) | Err(_)) => {
                // SAFETY: PyOS_AfterFork_Parent takes nothing, and belongs in the parent, whether or not a process was
                // made, after PyOS_BeforeFork. This thread still has the GIL.
                unsafe { (self.0.PyOS_AfterFork_Parent)() };
                gil.flush();
                in_parent.map(|forked| (forked, None))
            }
        }
    }

    /// The threads that Python's module threading knows, by their ids in the kernel. None where they cannot be learned:
    /// another thread keeps the GIL, or Python is older than 3.8.
    pub(crate) fn thread_names(self) -> Vec<(u32, String)> {
        // SAFETY: PyGILState_Check takes nothing, and may be called by any thread while there is an interpreter.
        let has_gil = self.is_initialized() && (unsafe { (self.0.PyGILState_Check)() }) != 0;
        let listed = if has_gil { self.list_threads() } else { self.list_threads_elsewhere() };
        listed.unwrap_or_default().lines().filter_map(id_and_name).collect()
    }

    fn list_threads(self) -> Option<String> {
        Gil::take(self)?.evaluate(THREADS)
    }

    /// Waits for the GIL on a thread of its own, which this one need not wait for.
    fn list_threads_elsewhere(self) -> Option<String> {
        let (sender, receiver) = mpsc::channel();
        // The receiver may be gone.
        let list = move || drop(sender.send(self.list_threads()));
        spawn_without_signals("prefork-names", list).ok()?;
        receiver.recv_timeout(PATIENCE).ok()?
    }
}

fn id_and_name(line: &str) -> Option<(u32, String)> {
    let (id, name) = line.split_once(' ')?;
    Some((id.parse().ok()?, name.to_owned()))
}

/// What is left to do in a process that was forked just now, before it runs Python code.
#[must_use]
pub(crate) struct InChild(Gil);

impl InChild {
    /// Makes the interpreter that of this process, and runs the functions of os.register_at_fork.
    pub(crate) fn finish(self) {
        let Functions { PyOS_AfterFork_Child, .. } = *self.0.interpreter.0;
        // SAFETY: PyOS_AfterFork_Child takes nothing, and must be called in a new process before that calls the interpreter:
        // `around` makes an `InChild` in a new process only, after PyOS_BeforeFork. Its only thread is the one that had the
        // GIL at the fork.
        unsafe { PyOS_AfterFork_Child() };
    }
}

/// This thread has the GIL until the value is dropped.
struct Gil {
    interpreter: Interpreter,
    before: c_int,
    /// Keeps the value on the thread that has the GIL.
    _thread: PhantomData<*const ()>,
}

impl Gil {
    /// Waits for the GIL, or keeps it where this thread has it already. `None` where the interpreter has been finalized.
    fn take(interpreter: Interpreter) -> Option<Gil> {
        if !interpreter.is_initialized() {
            return None;
        }
        // SAFETY: PyGILState_Ensure takes nothing, and may be called by any thread, whatever it has of Python's, while there is
        // an interpreter.
        let before = unsafe { (interpreter.0.PyGILState_Ensure)() };
        Some(Gil { interpreter, before, _thread: PhantomData })
    }

    fn flush(&self) {
        for flush in FLUSHES {
            let _ = self.evaluate(flush);
        }
    }

    /// The value of an expression of Python, where it is text. An exception is discarded.
    fn evaluate(&self, expression: &CStr) -> Option<String> {
        let functions = self.interpreter.0;
        let value = self.value_of(expression);
        // SAFETY: PyUnicode_AsUTF8AndSize takes any object, and sets an exception where it is not text. It writes no size
        // where the second pointer is null. This thread has the GIL.
        let text = value.map(|value| unsafe { (functions.PyUnicode_AsUTF8AndSize)(value, ptr::null_mut()) });
        let text = text.filter(|text| !text.is_null()).map(|text| {
            // SAFETY: what is not null is the text with a NUL at its end, in memory that belongs to the object, of which this
            // function still has a reference.
            unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
        });
        if let Some(value) = value {
            // SAFETY: PyRun_String returned a new reference, which is given back once.
            unsafe { (functions.Py_DecRef)(value) };
        }
        // SAFETY: PyErr_Clear takes nothing, and may be called where no exception is set. This thread has the GIL.
        unsafe { (functions.PyErr_Clear)() };
        text
    }

    /// A new reference.
    fn value_of(&self, expression: &CStr) -> Option<*mut Object> {
        let functions = self.interpreter.0;
        // SAFETY: PyDict_New takes nothing, and returns null or a new reference. This thread has the GIL.
        let names = unsafe { (functions.PyDict_New)() };
        if names.is_null() {
            return None;
        }
        // SAFETY: PyRun_String reads a text up to its NUL, and takes a dictionary for the global names and any mapping for the
        // local ones, which may be the same. This thread has the GIL.
        let value = unsafe { (functions.PyRun_String)(expression.as_ptr(), EXPRESSION, names, names) };
        // SAFETY: PyDict_New returned a new reference, which is given back once.
        unsafe { (functions.Py_DecRef)(names) };
        (!value.is_null()).then_some(value)
    }
}

impl Drop for Gil {
    fn drop(&mut self) {
        // SAFETY: PyGILState_Release takes what PyGILState_Ensure returned to this thread; it is called once for each such
        // call. PyOS_AfterFork_Child keeps the state of the thread that has forked.
        unsafe { (self.interpreter.0.PyGILState_Release)(self.before) };
    }
}

/// `PyObject`.
type Object = c_void;

/// Where a function is, or null.
type Address = *const c_void;

/// Declares the functions of CPython that this file calls: a structure of pointers to them, and a weak reference to each. The
/// linker resolves a weak reference where the program is linked with CPython, statically too, and makes it null where not.
/// A symbol of a static library is found in no other way, as programs export none.
macro_rules! functions {
    ($($name:ident: $type:ty;)*) => {
        #[derive(Clone, Copy)]
        #[allow(non_snake_case)]
        struct Functions { $($name: $type,)* }

        impl Functions {
            const COUNT: usize = [$(stringify!($name)),*].len();

            /// Asks for the address of each. The error is the first that there is none of.
            fn find(mut address: impl FnMut(&'static str) -> Address) -> Result<Functions, &'static str> {
                $(
                    #[allow(non_snake_case)]
                    let $name = address(stringify!($name));
                    if $name.is_null() {
                        return Err(stringify!($name));
                    }
                )*
                Ok(Functions {
                    $(
                        // SAFETY: the address is that of CPython's function of this name, which has this type in every
                        // version since 3.7. A function's address is a pointer to it.
                        $name: unsafe { mem::transmute::<Address, $type>($name) },
                    )*
                })
            }
        }

        #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
        std::arch::global_asm!(
            ".pushsection .data.rel.ro.prefork_python, \"aw\"",
            ".balign 8",
            concat!(".hidden ", weak_references!()),
            concat!(".globl ", weak_references!()),
            concat!(weak_references!(), ":"),
            $(
                concat!(".weak ", stringify!($name)),
                concat!(".8byte ", stringify!($name)),
            )*
            ".popsection",
        );
    };
}

/// The name of the table of weak references. Another version of this crate in the same program has its own.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
macro_rules! weak_references {
    () => {
        concat!("prefork_rt_python_", env!("CARGO_PKG_VERSION_MAJOR"), "_", env!("CARGO_PKG_VERSION_MINOR"))
    };
}

functions! {
    Py_IsInitialized: unsafe extern "C" fn() -> c_int;
    PyGILState_Check: unsafe extern "C" fn() -> c_int;
    PyGILState_Ensure: unsafe extern "C" fn() -> c_int;
    PyGILState_Release: unsafe extern "C" fn(c_int);
    PyOS_BeforeFork: unsafe extern "C" fn();
    PyOS_AfterFork_Parent: unsafe extern "C" fn();
    PyOS_AfterFork_Child: unsafe extern "C" fn();
    PyDict_New: unsafe extern "C" fn() -> *mut Object;
    PyRun_String: unsafe extern "C" fn(*const c_char, c_int, *mut Object, *mut Object) -> *mut Object;
    PyUnicode_AsUTF8AndSize: unsafe extern "C" fn(*mut Object, *mut isize) -> *const c_char;
    PyErr_Clear: unsafe extern "C" fn();
    Py_DecRef: unsafe extern "C" fn(*mut Object);
}

impl Functions {
    /// Those that this program is linked with.
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn linked() -> Result<Functions, &'static str> {
        unsafe extern "C" {
            #[link_name = weak_references!()]
            static ADDRESSES: [Address; Functions::COUNT];
        }
        // SAFETY: the assembler code above makes this table: an address of 8 bytes for each function, in the order of the
        // structure. Nothing writes to it once the program runs.
        let mut addresses = unsafe { ADDRESSES }.into_iter();
        Functions::find(|_| addresses.next().unwrap_or(ptr::null()))
    }

    #[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
    fn linked() -> Result<Functions, &'static str> {
        Err("weak references")
    }

    /// Those that a library exports, or the whole program: dlsym(3).
    fn exported(library: *mut c_void) -> Result<Functions, &'static str> {
        Functions::find(|name| {
            let Ok(name) = CString::new(name) else { return ptr::null() };
            // SAFETY: dlsym(3) takes a handle that dlopen(3) returned, or RTLD_DEFAULT, and reads a name up to its NUL.
            unsafe { libc::dlsym(library, name.as_ptr()) }
        })
    }
}

/// The path of a library of CPython that is loaded.
struct Library(String);

/// The library that was loaded for one module only, so that dlsym(3) finds nothing of it without a handle.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn loaded_library() -> Option<Library> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let mut paths = maps.lines().filter_map(|line| line.find('/').map(|start| &line[start..]));
    let path = paths.find(|path| path.rsplit('/').next().is_some_and(|name| name.starts_with("libpython")));
    path.map(|path| Library(path.to_owned()))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn loaded_library() -> Option<Library> {
    None
}

impl Library {
    fn functions(&self) -> Result<Functions, String> {
        let Library(path) = self;
        let library =
            self.open().ok_or_else(|| format!("{path} is loaded in this process, but dlopen(3) refuses it"))?;
        Functions::exported(library).map_err(|lacks| format!("{path} is loaded in this process, but lacks {lacks}"))
    }

    /// The handle is never closed, so the library stays loaded.
    fn open(&self) -> Option<*mut c_void> {
        let path = CString::new(self.0.as_str()).ok()?;
        // SAFETY: dlopen(3) reads a path up to its NUL. With RTLD_NOLOAD it loads no library, and so runs no code of one.
        let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
        (!library.is_null()).then_some(library)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_without_python_has_no_interpreter() {
        assert!(matches!(find_python(), Ok(None)));
        assert_eq!(
            Functions::linked().err(),
            Functions::exported(libc::RTLD_DEFAULT).err().or(Some("weak references"))
        );
    }

    #[test]
    fn a_line_that_is_no_thread_is_skipped() {
        assert_eq!(id_and_name("17 Thread-1 (serve)"), Some((17, "Thread-1 (serve)".to_owned())));
        assert_eq!([id_and_name("None early"), id_and_name("17"), id_and_name("of two lines")], [None, None, None]);
    }
}
