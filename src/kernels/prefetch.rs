//! Prefetching memory into the cache.

/// Bytes of a cache line on the supported CPUs; where lines are longer, some prefetches are
/// redundant.
const LINE_BYTES: usize = 64;

/// Prefetches `count` values from index `start` on. Nothing is read, so addresses past the end are
/// harmless.
#[inline(always)]
pub fn prefetch<T>(values: &[T], start: usize, count: usize) {
    let first = values.as_ptr().wrapping_add(start).cast::<u8>();
    let end = first.wrapping_add(count.saturating_mul(size_of::<T>()));
    let mut at = first.wrapping_sub(first as usize % LINE_BYTES);
    while at < end {
        line(at);
        at = at.wrapping_add(LINE_BYTES);
    }
}

/// Prefetches the cache line of any address.
#[inline(always)]
pub(super) fn line(pointer: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing and cannot fault, whatever the address; SSE, which every
    // x86-64 has, brings the instruction.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(pointer.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a prefetch reads nothing and cannot fault, whatever the address; every ARM64 has the
    // instruction.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) pointer, options(nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = pointer;
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_place_may_be_asked_for() {
        let bytes = [1_u8; 100];
        for (start, len) in [(0, 0), (0, 100), (99, 1), (1 << 40, 200), (usize::MAX - 3, 70)] {
            super::prefetch(&bytes, start, len);
        }
        assert_eq!(bytes, [1; 100]);
    }
}
