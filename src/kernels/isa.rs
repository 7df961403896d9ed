//! The instruction sets that kernels are written for, proofs that the machine has them, and the one
//! place that chooses among them.

/// Defines a kernel: an implementation that this machine can run, of one of the families of instruction
/// sets ([`Isa::integers`], [`Isa::floats`], [`Isa::up_to_avx2`]).
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

/// Defines the proof that the machine has some features. It is made by detecting them alone.
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
    /// What the target always has: SSE2 or NEON, as far as the compiler uses it.
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
    /// Those of this machine that kernels of integers are written for, slowest first. AVX-512 without
    /// VNNI is none of them: it was slower than AVX2.
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

    /// Those of this machine that kernels of floats are compiled for, slowest first. On ARM the
    /// baseline has all that they use.
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

    /// Those of this machine that kernels of 16-bit integers are compiled for, slowest first: registers of
    /// 512 bits took half as long again. On ARM the baseline has all that they use.
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

    /// Runs plain Rust as it was compiled for this instruction set.
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

/// A computation in plain Rust, which the compiler turns into the vectors of each instruction set.
pub(super) trait Plain {
    type Output;

    /// Computes it. `FUSED` says whether a multiplication with an addition is one instruction, and not
    /// a slow function call. Implementations, and all that they call, are `#[inline(always)]`: what is
    /// not inlined is compiled for the baseline.
    fn run<const FUSED: bool>(self) -> Self::Output;
}

/// Every ARM64 has the instruction; not so every x86-64.
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
