//! Large pages for many numbers.
//!
//! Memory is brought a page at a time, when it is first touched, and a page of 4 KiB takes as long as to write it several times. A page of
//! 2 MiB is brought at once, and a product that walks down a column of a large matrix does not miss the table of pages with each row.

/// Asks the system for large pages where these numbers, not touched yet, have room for two at least. Linux gives them where it is set to
/// give them to those who ask, or to everybody; elsewhere nothing happens.
#[cfg(target_os = "linux")]
pub(crate) fn ask_for_large_pages<T>(numbers: &mut [T]) {
    // Of x86-64, and of AArch64 with pages of 4 KiB; if pages have other sizes, the system rounds or refuses.
    const LARGE: usize = 1 << 21;
    let bytes = size_of_val(numbers);
    let memory = numbers.as_mut_ptr().cast::<u8>();
    let before = memory.align_offset(LARGE);
    let whole = bytes.saturating_sub(before) / LARGE * LARGE;
    if whole >= 2 * LARGE {
        // SAFETY: these bytes are ours alone, and in what pages they lie changes neither them nor others.
        unsafe { libc::madvise(memory.add(before).cast(), whole, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn ask_for_large_pages<T>(_: &mut [T]) {}
