//! The MaxSim algorithm, written once for all instruction sets.
//!
//! A document is streamed past some query tokens, whose maxima stay in registers. [`Instructions`]
//! abstracts the instruction set: a row of a block, which holds one word of each of 16 tokens,
//! takes `PARTS` registers, and the scores of a block take `GROUPS`. Everything is inlined into one
//! function per instruction set, which enables its features; functions that are not inlined would
//! be compiled without them, so there are no closures here.

use super::layout::{CONSTANT_BYTES, WORD_BYTES};
use super::query::TILE_TOKENS;
use super::residual::TileProducts;
use super::{BLOCK_TOKENS, Document, Tile};
use crate::kernels::prefetch;

const FLOAT_BYTES: usize = size_of::<f32>();

/// Prefetch distance for codes. For consecutive documents that do not fit the L2 cache, prefetching
/// saves 13 to 17% of the time; addresses past the end of memory do not fault.
const AHEAD_BYTES: usize = 4096;

/// The operations of an instruction set. A value proves that the CPU supports it.
///
/// All implementations are `#[inline(always)]`.
pub(super) trait Instructions<const PARTS: usize, const GROUPS: usize>: Copy {
    /// Bytes of the words of 16 / `PARTS` tokens.
    type Bytes: Copy;
    /// The codes in these bytes, ready for multiplication.
    type Codes: Copy;
    /// Four integers of a query token, repeated for each token of a part.
    type Factors: Copy;
    /// Sums of products for the tokens of a part.
    type Sums: Copy;
    /// A float for each of 16 / `GROUPS` tokens.
    type Floats: Copy;

    /// True if the CPU is so fast that memory must be prefetched.
    const FETCHES_AHEAD: bool;

    /// Query tokens whose products with centroids are loaded at once: two, or all of a tile.
    const PRODUCTS: usize;

    /// Loads 64 / `PARTS` bytes, at any address.
    ///
    /// # Safety
    /// The bytes must be readable.
    unsafe fn load_bytes(self, bytes: *const u8) -> Self::Bytes;

    /// Loads 16 / `GROUPS` floats, at any address.
    ///
    /// # Safety
    /// The floats must be readable.
    unsafe fn load_floats(self, bytes: *const u8) -> Self::Floats;

    /// Code number `field`, from the lowest bits up, of bytes that hold `PER_BYTE` codes each: one, two
    /// or four.
    fn codes<const PER_BYTE: usize>(self, bytes: Self::Bytes, field: usize) -> Self::Codes;

    fn factors(self, word: i32) -> Self::Factors;

    fn no_sums(self) -> Self::Sums;

    fn add_products(
        self,
        sums: Self::Sums,
        codes: Self::Codes,
        factors: Self::Factors,
    ) -> Self::Sums;

    /// The first values of 16 rows, one row per token of a block, as floats: transposed, so that the
    /// values of a query token lie side by side. There are at most `PRODUCTS` query tokens.
    ///
    /// # Safety
    /// `PRODUCTS` values must be readable in each row, at any address.
    unsafe fn transpose<const QUERIES: usize>(
        self,
        rows: &[*const i16; BLOCK_TOKENS],
    ) -> [[Self::Floats; GROUPS]; QUERIES];

    /// The sums of 16 tokens as floats; `total` is Σ qᵢ of the query token.
    fn join<const PER_BYTE: usize>(
        self,
        sums: [Self::Sums; PARTS],
        total: i32,
    ) -> [Self::Floats; GROUPS];

    fn splat(self, value: f32) -> Self::Floats;

    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;

    fn multiply(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;

    /// Keeps the first `count` floats and sets the rest to −∞; a negative count keeps none.
    fn first(self, floats: Self::Floats, count: i32) -> Self::Floats;

    /// The lane-wise maximum; a NaN score leaves the maximum unchanged.
    fn raise(self, maxima: Self::Floats, scores: Self::Floats) -> Self::Floats;

    /// The largest of the floats.
    fn greatest(self, floats: Self::Floats) -> f32;

    /// Stores 16 / `GROUPS` floats, at any address.
    ///
    /// # Safety
    /// There must be room for them.
    unsafe fn store_floats(self, floats: Self::Floats, place: *mut f32);
}

/// Writes the unscaled products of each token of the tile with each token of the document, `QUERIES`
/// of the tile at a time and then one by one.
///
/// # Safety
/// The conditions asserted by `MaxSimKernel::products`.
#[inline(always)]
pub(super) unsafe fn products<
    I,
    const PARTS: usize,
    const GROUPS: usize,
    const PER_BYTE: usize,
    const QUERIES: usize,
    const BLOCKS: usize,
>(
    isa: I,
    document: &Document<'_>,
    tile: &Tile<'_>,
    out: &mut [f32],
) where
    I: Instructions<PARTS, GROUPS>,
{
    let tokens = tile.totals.len();
    let mut first = 0;
    while first + QUERIES <= tokens {
        if let Some(stream) = Stream::<_, _, _, PER_BYTE, QUERIES>::new(isa, document, tile, first)
        {
            // SAFETY: guaranteed by the caller.
            unsafe { stream.products::<BLOCKS>(&mut out[first * document.tokens..]) };
        }
        first += QUERIES;
    }
    while first < tokens {
        if let Some(stream) = Stream::<_, _, _, PER_BYTE, 1>::new(isa, document, tile, first) {
            // SAFETY: guaranteed by the caller.
            unsafe { stream.products::<BLOCKS>(&mut out[first * document.tokens..]) };
        }
        first += 1;
    }
}

/// Writes the largest unscaled score of token t of the tile to `best[t]`, two tokens at a time.
///
/// # Safety
/// The conditions asserted by `MaxSimKernel::score`.
#[inline(always)]
pub(super) unsafe fn by_pairs<I, const PARTS: usize, const GROUPS: usize, const PER_BYTE: usize>(
    isa: I,
    document: &Document<'_>,
    tile: &Tile<'_>,
    best: &mut [f32],
) where
    I: Instructions<PARTS, GROUPS>,
{
    let (pairs, rest) = best.as_chunks_mut::<2>();
    let mut first = 0;
    for pair in pairs {
        if let Some(stream) = Stream::<_, _, _, PER_BYTE, _>::new(isa, document, tile, first) {
            // SAFETY: guaranteed by the caller.
            *pair = unsafe { stream.best::<1>() };
        }
        first += 2;
    }
    if let [last] = rest
        && let Some(stream) = Stream::<_, _, _, PER_BYTE, _>::new(isa, document, tile, first)
    {
        // SAFETY: guaranteed by the caller.
        [*last] = unsafe { stream.best::<1>() };
    }
}

/// As [`by_pairs`], but for all `QUERIES` tokens of a tile at once, with `BLOCKS` blocks that share
/// the words of the query.
///
/// # Safety
/// As [`by_pairs`].
#[inline(always)]
pub(super) unsafe fn at_once<
    I,
    const PARTS: usize,
    const GROUPS: usize,
    const PER_BYTE: usize,
    const QUERIES: usize,
    const BLOCKS: usize,
>(
    isa: I,
    document: &Document<'_>,
    tile: &Tile<'_>,
    best: &mut [f32],
) where
    I: Instructions<PARTS, GROUPS>,
{
    let stream = Stream::<_, _, _, PER_BYTE, QUERIES>::new(isa, document, tile, 0);
    let (Some(stream), Some(best)) = (stream, best.first_chunk_mut()) else { return };
    // SAFETY: guaranteed by the caller.
    *best = unsafe { stream.best::<BLOCKS>() };
}

/// The words of some tokens of a tile.
#[derive(Clone, Copy)]
struct Words<'a> {
    of_tile: &'a [i32],
    /// Number of tokens in the tile.
    width: usize,
    /// First of these tokens.
    first: usize,
}

/// A document streamed past `QUERIES` tokens of a tile.
struct Stream<
    'a,
    I: Instructions<PARTS, GROUPS>,
    const PARTS: usize,
    const GROUPS: usize,
    const PER_BYTE: usize,
    const QUERIES: usize,
> {
    isa: I,
    document: &'a Document<'a>,
    words: Words<'a>,
    /// Σ qᵢ of each token.
    totals: [i32; QUERIES],
    /// The totals, in all lanes.
    total_floats: [I::Floats; QUERIES],
    /// With residual codes only.
    residual: Option<Residual<'a, I::Floats, QUERIES>>,
}

/// What the scores of residual codes need.
struct Residual<'a, F, const QUERIES: usize> {
    products: TileProducts<'a>,
    /// For each token, what its products are multiplied with, in all lanes.
    factors: [F; QUERIES],
    /// For each token, what is added to its sums, in all lanes: −middle · Σ qᵢ.
    shifts: [F; QUERIES],
}

impl<'a, I, const PARTS: usize, const GROUPS: usize, const PER_BYTE: usize, const QUERIES: usize>
    Stream<'a, I, PARTS, GROUPS, PER_BYTE, QUERIES>
where
    I: Instructions<PARTS, GROUPS>,
{
    #[inline(always)]
    fn new(isa: I, document: &'a Document<'a>, tile: &Tile<'a>, first: usize) -> Option<Self> {
        let totals = *tile.totals.get(first..)?.first_chunk()?;
        let words = Words { of_tile: tile.words, width: tile.totals.len(), first };
        let mut total_floats = [isa.splat(0.0); QUERIES];
        for (float, total) in total_floats.iter_mut().zip(totals) {
            *float = isa.splat(total as f32);
        }
        let mut residual = None;
        if let Some(products) = tile.products {
            let (mut factors, mut shifts) = (total_floats, total_floats);
            let middle = document.layout.bits().middle();
            for query in 0..QUERIES {
                factors[query] = isa.splat(products.factors[first + query]);
                shifts[query] = isa.splat(-(middle * totals[query] as f32));
            }
            residual = Some(Residual { products, factors, shifts });
        }
        Some(Self { isa, document, words, totals, total_floats, residual })
    }

    /// The largest unscaled scores.
    ///
    /// # Safety
    /// As [`by_pairs`].
    #[inline(always)]
    unsafe fn best<const BLOCKS: usize>(&self) -> [f32; QUERIES] {
        let mut maxima = [self.isa.splat(f32::NEG_INFINITY); QUERIES];
        let full = self.document.tokens / BLOCK_TOKENS;
        let mut block = 0;
        while block + BLOCKS <= full {
            // SAFETY: these blocks are full and within the document.
            unsafe { self.raise::<BLOCKS>(&mut maxima, self.block(block), BLOCK_TOKENS) };
            block += BLOCKS;
        }
        while BLOCKS > 1 && block < full {
            // SAFETY: this block is full and within the document.
            unsafe { self.raise::<1>(&mut maxima, self.block(block), BLOCK_TOKENS) };
            block += 1;
        }
        let rest = self.document.tokens % BLOCK_TOKENS;
        if rest > 0 {
            // SAFETY: the last block starts here and has `rest` tokens.
            unsafe { self.raise::<1>(&mut maxima, self.block(block), rest) };
        }
        let mut best = [0.0; QUERIES];
        for (best, maxima) in best.iter_mut().zip(maxima) {
            *best = self.isa.greatest(maxima);
        }
        best
    }

    /// Writes the unscaled products with all tokens, shape [`QUERIES`, tokens].
    ///
    /// # Safety
    /// As [`products`]; there must be room for them.
    #[inline(always)]
    unsafe fn products<const BLOCKS: usize>(&self, out: &mut [f32]) {
        let tokens = self.document.tokens;
        let out = &mut out[..QUERIES * tokens];
        let full = tokens / BLOCK_TOKENS;
        let mut block = 0;
        while block < full {
            // SAFETY: these blocks are full and within the document, and so are their products.
            unsafe {
                if block + BLOCKS <= full {
                    self.products_of::<BLOCKS>(block, out);
                    block += BLOCKS;
                } else {
                    self.products_of::<1>(block, out);
                    block += 1;
                }
            }
        }
        let (first, rest) = (full * BLOCK_TOKENS, tokens % BLOCK_TOKENS);
        if rest > 0 {
            let mut last = [0.0; BLOCK_TOKENS];
            // SAFETY: the last block starts here and has `rest` tokens.
            let [scores] = unsafe { self.scores::<1>(self.block(full), rest) };
            for (query, scores) in scores.iter().enumerate() {
                for (group, &scores) in scores.iter().enumerate() {
                    let place = last[group * BLOCK_TOKENS / GROUPS..].as_mut_ptr();
                    // SAFETY: there is room for a group.
                    unsafe { self.isa.store_floats(scores, place) };
                }
                out[query * tokens + first..][..rest].copy_from_slice(&last[..rest]);
            }
        }
    }

    /// The products of `BLOCKS` full blocks from `block` on.
    ///
    /// # Safety
    /// The blocks must be full and within the document, and `out` of shape [`QUERIES`, tokens].
    #[inline(always)]
    unsafe fn products_of<const BLOCKS: usize>(&self, block: usize, out: &mut [f32]) {
        // SAFETY: guaranteed by the caller.
        let scores = unsafe { self.scores::<BLOCKS>(self.block(block), BLOCK_TOKENS) };
        for (next, scores) in scores.iter().enumerate() {
            for (query, scores) in scores.iter().enumerate() {
                for (group, &scores) in scores.iter().enumerate() {
                    let token = (block + next) * BLOCK_TOKENS + group * BLOCK_TOKENS / GROUPS;
                    // SAFETY: the group is within the row of the query token.
                    unsafe {
                        let place = out.as_mut_ptr().add(query * self.document.tokens + token);
                        self.isa.store_floats(scores, place);
                    }
                }
            }
        }
    }

    /// Bytes of a full block.
    #[inline(always)]
    fn block_bytes(&self) -> usize {
        BLOCK_TOKENS * self.document.layout.token_bytes()
    }

    /// Start of a block.
    ///
    /// # Safety
    /// The block must be within the document.
    #[inline(always)]
    unsafe fn block(&self, block: usize) -> *const u8 {
        // SAFETY: guaranteed by the caller.
        unsafe { self.document.bytes.as_ptr().add(block * self.block_bytes()) }
    }

    /// Updates the maxima with the scores of `BLOCKS` blocks of `width` tokens, from `start` on.
    ///
    /// # Safety
    /// The blocks must be within the document; if there are several, they must be full.
    #[inline(always)]
    unsafe fn raise<const BLOCKS: usize>(
        &self,
        maxima: &mut [I::Floats; QUERIES],
        start: *const u8,
        width: usize,
    ) {
        let isa = self.isa;
        let lanes = BLOCK_TOKENS / GROUPS;
        // SAFETY: guaranteed by the caller.
        let scores = unsafe { self.scores::<BLOCKS>(start, width) };
        for scores in &scores {
            for query in 0..QUERIES {
                for group in 0..GROUPS {
                    let mut scores = scores[query][group];
                    if width < BLOCK_TOKENS {
                        scores = isa.first(scores, width as i32 - (group * lanes) as i32);
                    }
                    maxima[query] = isa.raise(maxima[query], scores);
                }
            }
        }
    }

    /// The unscaled scores of `BLOCKS` blocks of `width` tokens, from `start` on; lanes past the width
    /// are arbitrary.
    ///
    /// # Safety
    /// As [`Self::raise`].
    #[inline(always)]
    unsafe fn scores<const BLOCKS: usize>(
        &self,
        start: *const u8,
        width: usize,
    ) -> [[[I::Floats; GROUPS]; QUERIES]; BLOCKS] {
        let isa = self.isa;
        // SAFETY: guaranteed by the caller.
        let sums = unsafe { self.sums::<BLOCKS>(start, width) };
        let mut all = [[[isa.splat(0.0); GROUPS]; QUERIES]; BLOCKS];
        for (block, sums) in sums.iter().enumerate() {
            // SAFETY: a block begins with its steps, and its lows or the numbers of its centroids;
            // reads past them stay in the document or its slack.
            let (steps, added) = unsafe {
                let start = start.add(block * self.block_bytes());
                (self.floats(start), self.added(start.add(width * FLOAT_BYTES)))
            };
            for query in 0..QUERIES {
                let joined = isa.join::<PER_BYTE>(sums[query], self.totals[query]);
                for group in 0..GROUPS {
                    let mut sums = joined[group];
                    if let Some(residual) = &self.residual {
                        sums = isa.add(sums, residual.shifts[query]);
                    }
                    // Each operation is rounded.
                    all[block][query][group] =
                        isa.add(isa.multiply(steps[group], sums), added[query][group]);
                }
            }
        }
        all
    }

    /// What is added to step · sum: low · Σ qᵢ or, of residual codes, the product with the centroid.
    /// The lows of a block, or the numbers of its centroids, are at `lows`.
    ///
    /// # Safety
    /// 64 bytes must be readable.
    #[inline(always)]
    unsafe fn added(&self, lows: *const u8) -> [[I::Floats; GROUPS]; QUERIES] {
        let (mut added, factors) = match &self.residual {
            Some(Residual { products, factors, .. }) => {
                let first = self.words.first;
                debug_assert!(QUERIES <= I::PRODUCTS && first + I::PRODUCTS <= TILE_TOKENS);
                // SAFETY: guaranteed by the caller; bytes need no alignment.
                let rows = products.rows(first, unsafe { &*lows.cast() });
                // SAFETY: `TILE_TOKENS` less `first` values are readable; `first` is even, or 0 if
                // all query tokens of a tile are scored at once.
                (unsafe { self.isa.transpose::<QUERIES>(&rows) }, factors)
            }
            // SAFETY: guaranteed by the caller.
            None => ([unsafe { self.floats(lows) }; QUERIES], &self.total_floats),
        };
        for (added, &factor) in added.iter_mut().zip(factors) {
            for added in added {
                *added = self.isa.multiply(*added, factor);
            }
        }
        added
    }

    /// The floats of 16 tokens, at any address.
    ///
    /// # Safety
    /// 16 floats must be readable.
    #[inline(always)]
    unsafe fn floats(&self, bytes: *const u8) -> [I::Floats; GROUPS] {
        let group_bytes = BLOCK_TOKENS / GROUPS * FLOAT_BYTES;
        let mut floats = [self.isa.splat(0.0); GROUPS];
        for (group, floats) in floats.iter_mut().enumerate() {
            // SAFETY: guaranteed by the caller.
            *floats = unsafe { self.isa.load_floats(bytes.add(group * group_bytes)) };
        }
        floats
    }

    /// The sums of products of each query token with the tokens of each block; lanes past the width
    /// of a block are arbitrary.
    ///
    /// # Safety
    /// As [`Self::raise`].
    #[inline(always)]
    unsafe fn sums<const BLOCKS: usize>(
        &self,
        start: *const u8,
        width: usize,
    ) -> [[[I::Sums; PARTS]; QUERIES]; BLOCKS] {
        let mut sums = [[[self.isa.no_sums(); PARTS]; QUERIES]; BLOCKS];
        let Words { of_tile, width: tokens, first } = self.words;
        let words = of_tile.chunks_exact(PER_BYTE * tokens);
        for (row, words) in words.enumerate() {
            let offset = width * (CONSTANT_BYTES + row * WORD_BYTES);
            // SAFETY: the query has as many words as the layout, so the row begins within the
            // block, and its 64 bytes end within the slack at the latest.
            let bytes = unsafe { self.row::<BLOCKS>(start.add(offset)) };
            for field in 0..PER_BYTE {
                let words = &words[field * tokens + first..][..QUERIES];
                for part in 0..PARTS {
                    let mut codes = [self.isa.codes::<PER_BYTE>(bytes[0][part], field); BLOCKS];
                    for block in 1..BLOCKS {
                        codes[block] = self.isa.codes::<PER_BYTE>(bytes[block][part], field);
                    }
                    for query in 0..QUERIES {
                        let factors = self.isa.factors(words[query]);
                        for block in 0..BLOCKS {
                            let sums = &mut sums[block][query][part];
                            *sums = self.isa.add_products(*sums, codes[block], factors);
                        }
                    }
                }
            }
        }
        sums
    }

    /// The row at `start`, and the corresponding rows of the following blocks.
    ///
    /// # Safety
    /// 64 bytes must be readable at each.
    #[inline(always)]
    unsafe fn row<const BLOCKS: usize>(&self, start: *const u8) -> [[I::Bytes; PARTS]; BLOCKS] {
        let part_bytes = BLOCK_TOKENS * WORD_BYTES / PARTS;
        // SAFETY: guaranteed by the caller.
        let mut bytes = [[unsafe { self.isa.load_bytes(start) }; PARTS]; BLOCKS];
        for (block, parts) in bytes.iter_mut().enumerate() {
            let offset = block * self.block_bytes();
            if I::FETCHES_AHEAD {
                prefetch::line(start.wrapping_add(offset + AHEAD_BYTES));
            }
            for (part, bytes) in parts.iter_mut().enumerate() {
                // SAFETY: guaranteed by the caller.
                *bytes = unsafe { self.isa.load_bytes(start.add(offset + part * part_bytes)) };
            }
        }
        bytes
    }
}
