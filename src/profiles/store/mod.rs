//! Policy in the kernel: what is there, what should be, and how it gets there.

pub mod closing;
pub mod drift;
pub mod ensure;
pub mod load;
pub mod mode;
pub mod tidy;
