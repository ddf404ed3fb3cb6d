//! In place of the unwinder of libgcc, which a release never uses: a panic aborts, no thread is
//! cancelled, and the message of a panic has its place but no backtrace (`report::on_panic`).
//!
//! The standard library prints a backtrace by a callback of `_Unwind_Backtrace`. Here that function is
//! seen by the compiler, and calls nothing. So the readers of debugging information and of compressed
//! sections are not linked: a quarter of a megabyte.

/// Defines the functions of the Itanium C++ ABI (Level I: Base ABI) and of GCC's unwind.h, all that
/// `unwind-dw2.o` of libgcc has: if one were missing, the linker would take that file, too, and find
/// the others twice.
#[doc(hidden)]
#[macro_export]
macro_rules! no_unwinder {
    ($($name:ident)*) => {
        /// Sees no frame: `_URC_END_OF_STACK`.
        // SAFETY: the only function of this name, and its arguments are not used.
        #[unsafe(no_mangle)]
        pub extern "C" fn _Unwind_Backtrace(_: *const u8, _: *mut u8) -> i32 {
            5
        }

        $(
            /// Never called: nothing unwinds.
            // SAFETY: the only function of this name, and it does not return.
            #[unsafe(no_mangle)]
            pub extern "C" fn $name() -> ! {
                ::std::process::abort()
            }
        )*
    };
}
