//! Memory layout of a document's token codes.
//!
//! Tokens are grouped into blocks of 16, so that a 512-bit register holds one 4-byte word of each.
//! The last block is only as wide as needed: there is no padding, and a document of n tokens takes
//! n times the bytes of a token. A block of w tokens is
//!
//! - the steps Δ of its tokens, w × f32, and their lows l, w × f32 (LVQ: x̂ᵢ = l + Δ·codeᵢ);
//! - for each word of a token, the words of the w tokens side by side, 4·w bytes. With 8 bits, byte
//!   i of word g is code 4·g + i; with 4 bits it holds code 8·g + i in its low and code 8·g + 4 + i
//!   in its high half; with 2 bits it holds, from the lowest bits up, codes 16·g + i, 16·g + 4 + i,
//!   16·g + 8 + i and 16·g + 12 + i. Codes past the dimension are zero, and so is the query there.
//!
//! A kernel broadcasts a query's word to all lanes of a register and multiplies it with the words
//! of 16 tokens at once: each lane sums up one token, and nothing is added across lanes. Kernels
//! read whole registers past the end of a narrow block; [`TokenLayout::SLACK_BYTES`] must follow
//! the last document.

use std::ops::Range;

use crate::kernels::codes::MAX_CODE_DIMENSION;

/// Tokens per block.
pub(super) const BLOCK_TOKENS: usize = 16;
/// Bytes per word.
pub(super) const WORD_BYTES: usize = 4;
/// Bytes of a token's constants.
pub(super) const CONSTANT_BYTES: usize = 8;

/// Bits per code of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenBits {
    /// Codes from 0 to 3.
    Two,
    /// Codes from 0 to 15.
    Four,
    /// Codes from 0 to 255.
    Eight,
}

impl TokenBits {
    /// The largest code.
    #[inline]
    pub fn max(self) -> u8 {
        largest_code(self.per_byte())
    }

    /// Codes per byte.
    #[inline]
    pub fn per_byte(self) -> usize {
        match self {
            Self::Two => 4,
            Self::Four => 2,
            Self::Eight => 1,
        }
    }
}

/// Bits per code, of codes of which a byte holds `per_byte`.
#[inline(always)]
pub(super) const fn bits_per_code(per_byte: usize) -> usize {
    8 / per_byte
}

/// The largest of codes of which a byte holds `per_byte`.
#[inline(always)]
pub(super) const fn largest_code(per_byte: usize) -> u8 {
    u8::MAX >> (8 - bits_per_code(per_byte))
}

/// Layout of coded tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLayout {
    bits: TokenBits,
    dimension: usize,
}

/// The constants of a token: x̂ᵢ = low + step · codeᵢ.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TokenConstants {
    /// Δ, the distance between adjacent values.
    pub step: f32,
    /// l, the value of code 0.
    pub low: f32,
}

impl TokenLayout {
    /// Bytes that must follow the last document.
    pub const SLACK_BYTES: usize = 64;

    /// A layout for tokens of `dimension` codes.
    ///
    /// # Panics
    /// If the dimension is above [`MAX_CODE_DIMENSION`], the limit for fields.
    pub fn new(bits: TokenBits, dimension: usize) -> Self {
        assert!(dimension <= MAX_CODE_DIMENSION, "sums of {dimension} products could overflow");
        Self { bits, dimension }
    }

    /// Bits per code.
    #[inline]
    pub fn bits(&self) -> TokenBits {
        self.bits
    }

    /// Codes per token.
    #[inline]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Words per token.
    #[inline]
    pub(super) fn words(&self) -> usize {
        self.dimension.div_ceil(WORD_BYTES * self.bits.per_byte())
    }

    /// Bytes per token, including its constants.
    #[inline]
    pub fn token_bytes(&self) -> usize {
        CONSTANT_BYTES + WORD_BYTES * self.words()
    }

    /// Bytes of a document of `tokens` tokens.
    #[inline]
    pub fn document_bytes(&self, tokens: usize) -> usize {
        tokens * self.token_bytes()
    }

    /// The dimensions in a word whose codes are number `field` in its bytes, from the lowest bits up.
    pub(super) fn places(&self, word: usize, field: usize) -> Range<usize> {
        let first = WORD_BYTES * (word * self.bits.per_byte() + field);
        first.min(self.dimension)..(first + WORD_BYTES).min(self.dimension)
    }

    /// Bits below code number `field` of a byte.
    #[inline]
    fn shift(&self, field: usize) -> usize {
        bits_per_code(self.bits.per_byte()) * field
    }

    /// Writes a document.
    ///
    /// `codes` has shape [n, dimension], row-major; `constants` has one entry per token.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn pack(&self, codes: &[u8], constants: &[TokenConstants], document: &mut [u8]) {
        assert_eq!(codes.len(), constants.len() * self.dimension, "codes of each token");
        assert_eq!(document.len(), self.document_bytes(constants.len()), "bytes of a document");
        document.fill(0);
        for (token, TokenConstants { step, low }) in constants.iter().enumerate() {
            let place = self.place(token, constants.len());
            document[place.step()].copy_from_slice(&step.to_le_bytes());
            document[place.low()].copy_from_slice(&low.to_le_bytes());
            let codes = &codes[token * self.dimension..][..self.dimension];
            for word in 0..self.words() {
                let bytes = &mut document[place.word(word)];
                for field in 0..self.bits.per_byte() {
                    for (byte, &code) in bytes.iter_mut().zip(&codes[self.places(word, field)]) {
                        *byte |= code << self.shift(field);
                    }
                }
            }
        }
    }

    /// Reads a document of `tokens` tokens: codes, shape [n, dimension], and constants.
    ///
    /// # Panics
    /// If `document` is too short.
    pub fn unpack(&self, document: &[u8], tokens: usize) -> (Vec<u8>, Vec<TokenConstants>) {
        let mask = self.bits.max();
        let mut codes = vec![0; tokens * self.dimension];
        let mut constants = Vec::with_capacity(tokens);
        for token in 0..tokens {
            let place = self.place(token, tokens);
            let float = |range: Range<usize>| {
                document[range].first_chunk().map_or(0.0, |bytes| f32::from_le_bytes(*bytes))
            };
            constants.push(TokenConstants { step: float(place.step()), low: float(place.low()) });
            let codes = &mut codes[token * self.dimension..][..self.dimension];
            for word in 0..self.words() {
                let bytes = &document[place.word(word)];
                for field in 0..self.bits.per_byte() {
                    let codes = &mut codes[self.places(word, field)];
                    for (code, &byte) in codes.iter_mut().zip(bytes) {
                        *code = byte >> self.shift(field) & mask;
                    }
                }
            }
        }
        (codes, constants)
    }

    /// Position of a token in a document of `tokens` tokens.
    #[inline]
    pub(super) fn place(&self, token: usize, tokens: usize) -> TokenPlace {
        let first = token / BLOCK_TOKENS * BLOCK_TOKENS;
        TokenPlace {
            block: first * self.token_bytes(),
            width: BLOCK_TOKENS.min(tokens - first),
            column: token - first,
        }
    }
}

/// Position of a token: its block and column.
pub(super) struct TokenPlace {
    block: usize,
    width: usize,
    column: usize,
}

impl TokenPlace {
    #[inline]
    pub fn step(&self) -> Range<usize> {
        self.cell(0)
    }

    #[inline]
    pub fn low(&self) -> Range<usize> {
        self.cell(1)
    }

    #[inline]
    pub fn word(&self, word: usize) -> Range<usize> {
        self.cell(2 + word)
    }

    /// A block consists of rows of 4-byte cells.
    #[inline]
    fn cell(&self, row: usize) -> Range<usize> {
        let start = self.block + (row * self.width + self.column) * WORD_BYTES;
        start..start + WORD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_block_lie_side_by_side() {
        let layout = TokenLayout::new(TokenBits::Eight, 6);
        assert_eq!((layout.token_bytes(), layout.document_bytes(18)), (16, 288));
        let codes: Vec<u8> = (0..18 * 6).collect();
        let constants: Vec<TokenConstants> =
            (0..18).map(|i| TokenConstants { step: i as f32, low: -(i as f32) }).collect();
        let mut document = vec![0xee; 288];
        layout.pack(&codes, &constants, &mut document);
        // Token 3 of the first block: after 16 steps and 16 lows.
        assert_eq!(document[3 * 4..][..4], 3_f32.to_le_bytes());
        assert_eq!(document[(16 + 3) * 4..][..4], (-3_f32).to_le_bytes());
        assert_eq!(document[(32 + 3) * 4..][..4], [18, 19, 20, 21]);
        assert_eq!(document[(48 + 3) * 4..][..4], [22, 23, 0, 0]);
        // Token 17 is the second of a block of two.
        assert_eq!(document[256 + 4..][..4], 17_f32.to_le_bytes());
        assert_eq!(document[256 + 16 + 4..][..4], [102, 103, 104, 105]);
        assert_eq!(layout.unpack(&document, 18), (codes, constants));
    }

    #[test]
    fn codes_of_a_byte_are_four_apart() {
        let layout = TokenLayout::new(TokenBits::Four, 11);
        assert_eq!(layout.token_bytes(), 8 + 8);
        let codes: Vec<u8> = (1..12).collect();
        let mut document = vec![0xee; 16];
        layout.pack(&codes, &[TokenConstants::default()], &mut document);
        assert_eq!(document[8..], [0x51, 0x62, 0x73, 0x84, 0x09, 0x0a, 0x0b, 0x00]);
        assert_eq!(layout.unpack(&document, 1).0, codes);

        let layout = TokenLayout::new(TokenBits::Two, 18);
        assert_eq!(layout.token_bytes(), 8 + 8);
        let codes = [[1, 2, 3, 0], [0, 1, 2, 3], [3, 3, 0, 0], [2, 0, 1, 3]].concat();
        let codes = [codes, vec![2, 1]].concat();
        document.fill(0xee);
        layout.pack(&codes, &[TokenConstants::default()], &mut document);
        let first = [0b10_11_00_01, 0b00_11_01_10, 0b01_00_10_11, 0b11_00_11_00];
        assert_eq!(document[8..12], first);
        assert_eq!(document[12..], [2, 1, 0, 0]);
        assert_eq!(layout.unpack(&document, 1).0, codes);
    }
}
