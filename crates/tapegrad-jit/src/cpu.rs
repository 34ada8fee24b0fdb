//! What the CPU can do, found out at run time.

use crate::ir::Elem;
use crate::memory::Memory;
use std::arch::is_x86_feature_detected;
use std::sync::OnceLock;

/// Whether what is compiled here can be run: the CPU has AVX2 and FMA, and the system gives memory that can be executed, which
/// is tried once.
#[must_use]
pub fn supported() -> bool {
    static EXECUTABLE: OnceLock<bool> = OnceLock::new();
    const RETURN: u8 = 0xC3;
    Cpu::get().is_some() && *EXECUTABLE.get_or_init(|| Memory::new(&[RETURN]).is_ok())
}

/// How many numbers the longest vectors have that code over rows takes on this CPU; 1 without AVX2 and FMA.
#[must_use]
pub fn longest_vector(elem: Elem) -> usize {
    Cpu::get().map_or(1, |cpu| cpu.lanes(elem))
}

/// The instructions that code may consist of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cpu {
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512F, AVX-512DQ and AVX-512VL besides: code over rows and elements takes vectors twice as long.
    Avx512,
}

impl Cpu {
    /// This one's; nothing if it cannot run any of what is compiled here.
    pub(crate) fn get() -> Option<Cpu> {
        if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
            return None;
        }
        let long = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        Some(if long { Cpu::Avx512 } else { Cpu::Avx2 })
    }

    /// Lanes of the longest vectors.
    pub(crate) fn lanes(self, elem: Elem) -> usize {
        let bytes = if self == Cpu::Avx512 { 64 } else { 32 };
        bytes / elem.bytes()
    }
}
