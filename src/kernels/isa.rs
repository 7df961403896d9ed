//! Which instructions the integer kernels can use on this machine.

/// Defines a kernel: an implementation that this machine can run. Values come from `detect` and `available` alone, so
/// that holding one proves that the machine has its instructions.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Values come from [`Self::detect`] and [`Self::available`] alone, so that holding one proves
        /// that the machine has its instructions.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(crate::kernels::isa::Isa);

        impl $name {
            /// The fastest implementation for this machine.
            pub fn detect() -> Self {
                Self(crate::kernels::isa::Isa::detect())
            }

            /// All implementations this machine can run, slowest first.
            pub fn available() -> Vec<Self> {
                crate::kernels::isa::Isa::available().into_iter().map(Self).collect()
            }

            /// Its name, for reports.
            pub fn name(self) -> &'static str {
                self.0.name()
            }
        }
    };
}
pub(super) use kernel;

/// An instruction set that integer kernels are written for.
///
/// Values other than [`Isa::Scalar`] come from [`Self::available`] alone, so that holding one proves
/// that the machine has its instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isa {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Isa {
    /// The fastest on this machine.
    pub fn detect() -> Self {
        // `available` always ends with one.
        Self::available().pop().unwrap_or(Self::Scalar)
    }

    /// All that this machine has, slowest first.
    pub fn available() -> Vec<Self> {
        let mut found = vec![Self::Scalar];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                found.push(Self::Avx2);
            }
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vnni")
            {
                found.push(Self::Avx512Vnni);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            found.push(Self::Neon);
        }
        found
    }

    /// Its name, for reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => "avx512-vnni",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "neon",
        }
    }
}
