//! Memory layout of a vector's codes in its record.
//!
//! A record is a header (constants of the vector, which the kernels skip) followed by its codes, in
//! chunks of 64 bytes, so that one load fills a 512-bit register:
//!
//! - 8 bits: byte `i` of chunk `c` is code `64·c + i`.
//! - 4 bits: byte `i` of chunk `c` holds code `128·c + i` in its low and code `128·c + h + i` in
//!   its high half, so that a mask and a shift give two runs of consecutive codes and nothing has
//!   to be unpacked. `h` is 64, and half of what is left (rounded up) in the last chunk. SVS calls
//!   such layouts *Turbo*.
//!
//! Records are as short as their codes allow (rounded up to 4 bytes for the header's floats), or
//! padded to whole cache lines if that adds little. Kernels read whole chunks, past the end of a
//! record: the query is zero there, so that those bytes do not count, and
//! [`CodeLayout::SLACK_BYTES`] follow the last record.

/// Bits per code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeBits {
    /// Codes from 0 to 15.
    Four,
    /// Codes from 0 to 255.
    Eight,
}

impl CodeBits {
    /// The largest code.
    pub fn max(self) -> u8 {
        match self {
            Self::Four => 15,
            Self::Eight => 255,
        }
    }

    /// Offset subtracted from a code to fit it into a signed byte.
    pub fn middle(self) -> u8 {
        match self {
            Self::Four => 0,
            Self::Eight => 128,
        }
    }

    /// Codes per byte.
    pub const fn per_byte(self) -> usize {
        match self {
            Self::Four => 2,
            Self::Eight => 1,
        }
    }
}

/// Largest dimension for which 32-bit sums cannot overflow: 255·127·65,536 < 2³¹.
pub const MAX_CODE_DIMENSION: usize = 1 << 16;

/// Bytes per load of a kernel.
pub(super) const CHUNK_BYTES: usize = 64;

/// A record is padded to whole cache lines if that lengthens it by no more than one in this many
/// bytes: a record read alone then touches as few lines as possible.
const PADDING_PART: usize = 8;

/// Layout of the records of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeLayout {
    bits: CodeBits,
    dimension: usize,
    header_bytes: usize,
    stride: usize,
}

impl CodeLayout {
    /// Bytes that must follow the last record.
    pub const SLACK_BYTES: usize = CHUNK_BYTES;

    /// A layout for records of `dimension` codes after a header of `header_bytes`.
    ///
    /// # Panics
    /// If the dimension is above [`MAX_CODE_DIMENSION`], the limit for fields.
    pub fn new(bits: CodeBits, dimension: usize, header_bytes: usize) -> Self {
        assert!(dimension <= MAX_CODE_DIMENSION, "sums of {dimension} products could overflow");
        let bytes = header_bytes + dimension.div_ceil(bits.per_byte());
        let lines = bytes.next_multiple_of(CHUNK_BYTES);
        let pad = (lines - bytes) * PADDING_PART <= bytes;
        let stride = if pad { lines } else { bytes.next_multiple_of(4) };
        Self { bits, dimension, header_bytes, stride }
    }

    /// Bits per code.
    pub fn bits(&self) -> CodeBits {
        self.bits
    }

    /// Codes per record.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Bytes before the codes.
    pub fn header_bytes(&self) -> usize {
        self.header_bytes
    }

    /// Distance between records, in bytes.
    #[inline]
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Bytes of `rows` records and the slack after them.
    pub fn section_bytes(&self, rows: usize) -> usize {
        rows * self.stride() + Self::SLACK_BYTES
    }

    /// Chunks per record, the last of which may be partial.
    pub(super) fn chunks(&self) -> usize {
        self.dimension.div_ceil(CHUNK_BYTES * self.bits.per_byte())
    }

    /// For each chunk: its first code, and the number of codes in its low and its high halves.
    fn runs(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let step = CHUNK_BYTES * self.bits.per_byte();
        let (bits, dimension) = (self.bits, self.dimension);
        (0..dimension).step_by(step).map(move |first| {
            let codes = step.min(dimension - first);
            let low = codes.div_ceil(bits.per_byte());
            (first, low, codes - low)
        })
    }

    /// Positions of the codes: for each run of consecutive codes, its chunk, half (0 or 1), first
    /// code and length.
    pub(super) fn places(&self) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        self.runs().enumerate().flat_map(|(chunk, (first, low, high))| {
            [(chunk, 0, first, low), (chunk, 1, first + low, high)]
        })
    }

    /// Writes `codes` (one per byte, each at most [`CodeBits::max`]) into a record.
    ///
    /// # Panics
    /// If the length of `codes` is not [`Self::dimension`], or the record is shorter than the
    /// stride.
    pub fn pack(&self, codes: &[u8], record: &mut [u8]) {
        assert_eq!(codes.len(), self.dimension, "one code a dimension");
        let bytes = &mut record[self.header_bytes..self.stride()];
        bytes.fill(0);
        for (chunk, half, first, len) in self.places() {
            let target = &mut bytes[chunk * CHUNK_BYTES..][..len];
            for (byte, &code) in target.iter_mut().zip(&codes[first..]) {
                *byte |= code << (4 * half);
            }
        }
    }

    /// Reads the codes of a record, one per byte.
    ///
    /// # Panics
    /// As [`Self::pack`].
    pub fn unpack(&self, record: &[u8], codes: &mut [u8]) {
        assert_eq!(codes.len(), self.dimension, "one code a dimension");
        let bytes = &record[self.header_bytes..self.stride()];
        for (chunk, half, first, len) in self.places() {
            let source = &bytes[chunk * CHUNK_BYTES..][..len];
            for (code, &byte) in codes[first..][..len].iter_mut().zip(source) {
                *code = (byte >> (4 * half)) & self.bits.max();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_bit_codes_lie_in_two_runs_a_chunk() {
        let layout = CodeLayout::new(CodeBits::Four, 131, 8);
        let codes: Vec<u8> = (0..131).map(|i| (i % 16) as u8).collect();
        let mut record = vec![0xff; layout.stride()];
        layout.pack(&codes, &mut record);
        assert_eq!(layout.stride(), (8_usize + 64 + 2).next_multiple_of(4));
        assert_eq!(record[..8], [0xff; 8], "the header is not touched");
        // Chunk 0: codes 0..64 low, 64..128 high. Chunk 1: codes 128, 129 low, 130 high.
        assert_eq!(record[8], codes[0] | codes[64] << 4);
        assert_eq!(record[8 + 63], codes[63] | codes[127] << 4);
        assert_eq!(record[8 + 64..8 + 66], [codes[128] | codes[130] << 4, codes[129]]);
    }

    #[test]
    fn unpack_is_the_inverse_of_pack() {
        for bits in [CodeBits::Four, CodeBits::Eight] {
            for dimension in (1..=300).chain([1024, 1099]) {
                let layout = CodeLayout::new(bits, dimension, 12);
                let codes: Vec<u8> =
                    (0..dimension).map(|i| (i * 37 % 256) as u8 & bits.max()).collect();
                let mut record = vec![0xaa; layout.stride()];
                layout.pack(&codes, &mut record);
                let mut unpacked = vec![0; dimension];
                layout.unpack(&record, &mut unpacked);
                assert_eq!(codes, unpacked, "{bits:?} {dimension}");
            }
        }
    }
}
