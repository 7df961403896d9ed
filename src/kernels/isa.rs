//! The instruction sets that kernels are written for, proofs that the CPU supports them, and the
//! one place that selects among them.

/// Defines a kernel: an implementation that this CPU supports, from one family of instruction sets
/// ([`Isa::integers`], [`Isa::floats`], [`Isa::up_to_avx2`]).
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident: $family:ident) => {
        $(#[$doc])*
        ///
        /// Values come from [`Self::detect`] and [`Self::available`] alone, so that holding one proves
        /// that the machine has its instructions.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(crate::kernels::isa::Isa);

        impl $name {
            /// The fastest implementation for this machine.
            pub fn detect() -> Self {
                let fastest = crate::kernels::isa::Isa::$family().last();
                Self(fastest.unwrap_or(crate::kernels::isa::Isa::Baseline))
            }

            /// All implementations this machine can run, slowest first.
            pub fn available() -> Vec<Self> {
                crate::kernels::isa::Isa::$family().map(Self).collect()
            }

            /// Its name, for reports.
            pub fn name(self) -> &'static str {
                self.0.name()
            }
        }
    };
}
pub(super) use kernel;

/// Defines a proof that the CPU has some features, which can only be obtained by detection.
macro_rules! proof {
    ($(#[$doc:meta])* $name:ident, $detected:ident, $($feature:tt),+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) struct $name(());

        impl $name {
            /// The proof, if the machine has them.
            fn detect() -> Option<Self> {
                let found = $(std::arch::$detected!($feature))&&+;
                found.then_some(Self(()))
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
proof! {
    /// Proves AVX2 and FMA.
    Avx2, is_x86_feature_detected, "avx2", "fma"
}
#[cfg(target_arch = "x86_64")]
proof! {
    /// Proves AVX-512F and FMA.
    Avx512, is_x86_feature_detected, "avx512f", "fma"
}
#[cfg(target_arch = "x86_64")]
proof! {
    /// Proves AVX-512F, AVX-512BW, AVX-512VNNI and FMA.
    Avx512Vnni, is_x86_feature_detected, "avx512f", "avx512bw", "avx512vnni", "fma"
}
#[cfg(target_arch = "aarch64")]
proof! {
    /// Proves NEON.
    Neon, is_aarch64_feature_detected, "neon"
}

/// An instruction set, with the proof that the machine has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isa {
    /// The target's baseline: SSE2 or NEON, as far as the compiler uses it.
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni(Avx512Vnni),
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
}

impl Isa {
    /// Supported instruction sets with integer kernels, slowest first. AVX-512 without VNNI is not
    /// included: it was slower than AVX2.
    pub fn integers() -> impl Iterator<Item = Self> {
        let found = [
            Some(Self::Baseline),
            #[cfg(target_arch = "x86_64")]
            Avx2::detect().map(Self::Avx2),
            #[cfg(target_arch = "x86_64")]
            Avx512Vnni::detect().map(Self::Avx512Vnni),
            #[cfg(target_arch = "aarch64")]
            Neon::detect().map(Self::Neon),
        ];
        found.into_iter().flatten()
    }

    /// Supported instruction sets for float kernels, slowest first. On ARM the baseline is
    /// sufficient.
    pub fn floats() -> impl Iterator<Item = Self> {
        let found = [
            Some(Self::Baseline),
            #[cfg(target_arch = "x86_64")]
            Avx2::detect().map(Self::Avx2),
            #[cfg(target_arch = "x86_64")]
            Avx512::detect().map(Self::Avx512),
        ];
        found.into_iter().flatten()
    }

    /// Supported instruction sets for 16-bit integer kernels, slowest first: 512-bit registers took
    /// half as long again. On ARM the baseline is sufficient.
    pub fn up_to_avx2() -> impl Iterator<Item = Self> {
        let found = [
            Some(Self::Baseline),
            #[cfg(target_arch = "x86_64")]
            Avx2::detect().map(Self::Avx2),
        ];
        found.into_iter().flatten()
    }

    /// Its name, for reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni(_) => "avx512-vnni",
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => "neon",
        }
    }

    /// Runs plain Rust, compiled for this instruction set.
    #[inline]
    pub fn run<P: Plain>(self, plain: P) -> P::Output {
        match self {
            Self::Baseline => plain.run::<BASELINE_FUSED>(),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the value proves AVX2 and FMA; the function is otherwise safe.
            Self::Avx2(_) => unsafe { run_avx2(plain) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: either value proves AVX-512F and FMA; the function is otherwise safe.
            Self::Avx512(_) | Self::Avx512Vnni(_) => unsafe { run_avx512(plain) },
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => plain.run::<BASELINE_FUSED>(),
        }
    }
}

/// A computation in plain Rust, which the compiler vectorizes for each instruction set.
pub(super) trait Plain {
    type Output;

    /// Runs the computation. `FUSED` is true if a fused multiply-add is one instruction rather than
    /// a slow function call. Implementations, and everything they call, must be
    /// `#[inline(always)]`: functions that are not inlined are compiled for the baseline.
    fn run<const FUSED: bool>(self) -> Self::Output;
}

/// Every ARM64 CPU has fused multiply-add; not every x86-64 CPU does.
const BASELINE_FUSED: bool = cfg!(target_arch = "aarch64");

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<P: Plain>(plain: P) -> P::Output {
    plain.run::<true>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,fma")]
fn run_avx512<P: Plain>(plain: P) -> P::Output {
    plain.run::<true>()
}
