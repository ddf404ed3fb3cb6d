//! The start of the wrapper and the hook, in place of the standard library's; and what needs system
//! calls for which no library has safe functions.
//!
//! Before it calls `main`, the standard library prepares a handler that names a stack overflow. That
//! takes 15 system calls, /proc/self/maps among them: a tenth of the time of a process that only
//! executes another program. Here are only the two preparations on which a correct program depends
//! (`std::rt::init`, library/std/src/sys/pal/unix/mod.rs):
//!
//! - Standard streams that are closed are opened as `/dev/null`. Otherwise the first file that is
//!   opened would get number 2, and a message would be written into it.
//! - SIGPIPE is ignored, so that a closed standard error does not kill the program.
//!   `std::process::Command` resets it for the program that it executes.
//!
//! A stack overflow still ends the program with SIGSEGV, without a message.
//!
//! This is the only crate with unsafe code. It needs glibc, which hands the arguments to the standard
//! library before `main` (`.init_array`); with another libc, [`entry`] defines an ordinary `main`.

pub mod descriptors;
pub mod fork;
pub mod interrupt;
pub mod process_id;
mod unwind;

use libc::{POLLNVAL, c_int, pollfd};

/// Defines the program's `main`, which calls a function and exits with the code that it returns. The
/// crate needs `#![cfg_attr(target_env = "gnu", no_main)]`.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        /// Called by the C library.
        // SAFETY: no other function of the program has this name, and nothing is dereferenced.
        #[cfg(target_env = "gnu")]
        #[unsafe(no_mangle)]
        pub extern "C" fn main() -> i32 {
            $crate::prepare();
            i32::from($main())
        }

        // What is built with another way to panic, as tests are, keeps libgcc's. Other architectures
        // have other parts of it.
        #[cfg(all(
            target_arch = "x86_64",
            target_env = "gnu",
            target_feature = "crt-static",
            panic = "abort"
        ))]
        $crate::no_unwinder! {
            _Unwind_DeleteException _Unwind_FindEnclosingFunction _Unwind_ForcedUnwind
            _Unwind_GetCFA _Unwind_GetDataRelBase _Unwind_GetGR _Unwind_GetIP _Unwind_GetIPInfo
            _Unwind_GetLanguageSpecificData _Unwind_GetRegionStart _Unwind_GetTextRelBase
            _Unwind_RaiseException _Unwind_Resume _Unwind_Resume_or_Rethrow _Unwind_SetGR
            _Unwind_SetIP
        }

        #[cfg(not(target_env = "gnu"))]
        fn main() -> std::process::ExitCode {
            std::process::ExitCode::from($main())
        }
    };
}

/// Opens closed standard streams, and ignores SIGPIPE.
#[doc(hidden)]
pub fn prepare() {
    let mut streams = [0, 1, 2].map(|fd| pollfd {
        fd,
        events: 0,
        revents: 0,
    });
    // SAFETY: the array has three elements.
    let polled = unsafe { libc::poll(streams.as_mut_ptr(), 3, 0) };
    for stream in streams {
        if polled >= 0 && stream.revents & POLLNVAL != 0 && !opens_null() {
            std::process::abort();
        }
    }
    // SAFETY: SIG_IGN is no function, and no other thread runs yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Opens `/dev/null` under the lowest free number, which is that of the closed stream.
fn opens_null() -> bool {
    // SAFETY: the path ends with a zero byte.
    let fd: c_int = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
    fd >= 0
}
