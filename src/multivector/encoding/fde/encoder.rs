//! The encoder: tokens to blocks.

use std::ops::Range;

use super::fill::{nearest_tokens, token};
use super::final_projection::FinalProjection;
use super::sparse::SparseFde;
use super::{carve_balls, google, paper};
use crate::kernels::products::{Panels, ProductKernel};
use crate::model::{FdeSettings, Generator};
use crate::model::{InvalidInput, Problem};

/// Columns per matrix product: the products of a document of 100 tokens stay in the cache.
const GROUP_COLUMNS: usize = 512;

/// Encoder of queries and documents; created once, shared by all threads.
#[derive(Debug, Clone)]
pub struct FdeEncoder {
    settings: FdeSettings,
    token_dimension: usize,
    kernel: ProductKernel,
    groups: Vec<Group>,
    last: Option<FinalProjection>,
    /// Subtracted from tokens; see [`FdeEncoder::centred`].
    center: Vec<f32>,
}

/// Repetitions whose planes and projections are columns of one matrix.
#[derive(Debug, Clone)]
struct Group {
    repetitions: Range<usize>,
    /// For each repetition, its planes and then its projection; `None` if there are neither.
    matrix: Option<Panels>,
    /// Products of the center with the matrix.
    center: Vec<f32>,
}

/// The tokens as projected by one repetition.
struct Projected<'a> {
    tokens: &'a [f32],
    token_dimension: usize,
    /// Products of the tokens with the matrix of the group, `width` each; those of the repetition
    /// start at `first`.
    products: &'a [f32],
    /// Products of the center with the matrix.
    center: &'a [f32],
    width: usize,
    first: usize,
    planes: usize,
    /// Dimension of a projected token; 0 without projection.
    projected: usize,
}

impl Projected<'_> {
    fn len(&self) -> usize {
        self.tokens.len() / self.token_dimension
    }

    /// The SimHash code of a token, first plane in the highest bit: its side of each plane, as seen
    /// from the center.
    fn code(&self, token: usize) -> u32 {
        let products = &self.products[token * self.width + self.first..][..self.planes];
        let sides = products.iter().zip(&self.center[self.first..]);
        sides.fold(0, |code, (product, center)| code << 1 | u32::from(product > center))
    }

    /// The projected token.
    fn value(&self, token: usize) -> &[f32] {
        if self.projected == 0 {
            return &self.tokens[token * self.token_dimension..][..self.token_dimension];
        }
        let start = token * self.width + self.first + self.planes;
        &self.products[start..][..self.projected]
    }

    /// The projected center.
    fn center_value<'c>(&'c self, center: &'c [f32]) -> &'c [f32] {
        match self.projected {
            0 => center,
            projected => &self.center[self.first + self.planes..][..projected],
        }
    }
}

impl FdeEncoder {
    /// Draws planes and projections for tokens of `token_dimension`.
    ///
    /// # Errors
    /// If the settings are invalid for the dimension ([`FdeSettings::validate`]); nothing is
    /// allocated then.
    pub fn new(settings: FdeSettings, token_dimension: usize) -> Result<Self, InvalidInput> {
        settings.validate(token_dimension)?;
        let columns = settings.simhash_projections + settings.inner_projection.unwrap_or(0);
        let in_group = (GROUP_COLUMNS / columns.max(1)).max(1);
        let groups = (0..settings.repetitions)
            .step_by(in_group)
            .map(|first| {
                let repetitions = first..settings.repetitions.min(first + in_group);
                let matrix = matrix(&settings, repetitions.clone(), token_dimension);
                let center = vec![0.0; matrix.as_ref().map_or(0, Panels::columns)];
                Group { repetitions, matrix, center }
            })
            .collect();
        let last = FinalProjection::new(&settings, settings.full_dimension(token_dimension));
        let (kernel, center) = (ProductKernel::detect(), vec![0.0; token_dimension]);
        Ok(Self { settings, token_dimension, kernel, groups, last, center })
    }

    /// The same encoder, for tokens that lie around `center`: planes pass through it, and it is
    /// subtracted from the tokens of documents, which changes all scores of a query alike. Where tokens
    /// have much in common, they are all on the same side of most planes through the origin.
    ///
    /// # Panics
    /// If it is not of the tokens' dimension.
    #[must_use]
    pub fn centred(mut self, center: &[f32]) -> Self {
        assert_eq!(center.len(), self.token_dimension, "a token's dimension");
        self.center = center.to_vec();
        for group in &mut self.groups {
            if let Some(matrix) = &group.matrix {
                self.kernel.multiply(center, matrix, &mut group.center);
            }
        }
        self
    }

    /// The parameters.
    pub fn settings(&self) -> &FdeSettings {
        &self.settings
    }

    /// Dimension of the tokens.
    pub fn token_dimension(&self) -> usize {
        self.token_dimension
    }

    /// Dimension of an encoding.
    pub fn dimension(&self) -> usize {
        self.settings.final_projection.unwrap_or(self.full_dimension())
    }

    /// Dimension before the final projection, as of [`Self::sparse_query`].
    pub fn full_dimension(&self) -> usize {
        self.settings.full_dimension(self.token_dimension)
    }

    /// Encodes a query's tokens, shape [m, token dimension], into `out`: each cell is the sum of
    /// its tokens. Its dot product with a document's encoding approximates MaxSim.
    ///
    /// # Errors
    /// If there is no token, or the last one is incomplete.
    ///
    /// # Panics
    /// If the length of `out` is not the encoder's dimension.
    pub fn encode_query(&self, tokens: &[f32], out: &mut [f32]) -> Result<(), InvalidInput> {
        assert_eq!(out.len(), self.dimension(), "an encoding's dimension");
        let sparse = self.sparse_query(tokens)?;
        match &self.last {
            None => sparse.write_dense(out),
            Some(last) => last.apply(self.kernel, sparse.blocks(), out),
        }
        Ok(())
    }

    /// A query's encoding as its non-zero blocks, before the final projection.
    ///
    /// # Errors
    /// As [`Self::encode_query`].
    pub fn sparse_query(&self, tokens: &[f32]) -> Result<SparseFde, InvalidInput> {
        self.check(tokens)?;
        let carved = self
            .settings
            .ball_carving
            .map(|threshold| carve_balls(tokens, self.token_dimension, threshold));
        let mut sparse = SparseFde::new(self.block_dimension());
        let mut cells = Vec::new();
        self.each_repetition(carved.as_deref().unwrap_or(tokens), |repetition, projected| {
            cells.clear();
            cells.extend((0..projected.len()).map(|t| (self.cell(projected.code(t)), t)));
            // Tokens of a cell stay in order, so that sums do not depend on the sort.
            cells.sort_unstable();
            for &(cell, token) in &cells {
                let place = repetition * self.settings.cells() + cell;
                sparse.add(place as u32, projected.value(token));
            }
        });
        Ok(sparse)
    }

    /// Encodes a document's tokens, shape [n, token dimension], into `out`: each cell is the
    /// centroid of its tokens; empty cells are filled with the nearest token, if the settings say
    /// so.
    ///
    /// # Errors
    /// If there is no token, or the last one is incomplete.
    ///
    /// # Panics
    /// If the length of `out` is not the encoder's dimension.
    pub fn encode_document(&self, tokens: &[f32], out: &mut [f32]) -> Result<(), InvalidInput> {
        assert_eq!(out.len(), self.dimension(), "an encoding's dimension");
        self.check(tokens)?;
        match &self.last {
            None => self.document_blocks(tokens, out),
            Some(last) => {
                let mut full = vec![0.0; self.full_dimension()];
                self.document_blocks(tokens, &mut full);
                last.apply(self.kernel, std::iter::once((0, full.as_slice())), out);
            }
        }
        Ok(())
    }

    fn document_blocks(&self, tokens: &[f32], out: &mut [f32]) {
        out.fill(0.0);
        let (block, cells) = (self.block_dimension(), self.settings.cells());
        let (mut codes, mut keys) = (Vec::new(), Vec::new());
        let mut counts = vec![0_u32; cells];
        self.each_repetition(tokens, |repetition, projected| {
            let out = &mut out[repetition * cells * block..][..cells * block];
            counts.fill(0);
            codes.clear();
            codes.extend((0..projected.len()).map(|token| projected.code(token)));
            for (token, &code) in codes.iter().enumerate() {
                let cell = self.cell(code);
                counts[cell] += 1;
                for (sum, value) in
                    out[cell * block..][..block].iter_mut().zip(projected.value(token))
                {
                    *sum += value;
                }
            }
            for (sums, &count) in out.chunks_exact_mut(block).zip(&counts) {
                if count > 1 {
                    sums.iter_mut().for_each(|sum| *sum /= count as f32);
                }
            }
            let fills = self.settings.fill_empty_cells;
            if fills && counts.contains(&0) {
                nearest_tokens(&codes, self.settings.simhash_projections, &mut keys);
                for (code, &key) in keys.iter().enumerate() {
                    let cell = self.cell(code as u32);
                    if counts[cell] == 0 {
                        out[cell * block..][..block].copy_from_slice(projected.value(token(key)));
                    }
                }
            }
            let center = projected.center_value(&self.center);
            for (sums, &count) in out.chunks_exact_mut(block).zip(&counts) {
                if fills || count > 0 {
                    sums.iter_mut().zip(center).for_each(|(sum, center)| *sum -= center);
                }
            }
        });
    }

    fn each_repetition(&self, tokens: &[f32], mut visit: impl FnMut(usize, &Projected<'_>)) {
        let mut products = Vec::new();
        let planes = self.settings.simhash_projections;
        let projected = self.settings.inner_projection.unwrap_or(0);
        for group in &self.groups {
            let width = group.matrix.as_ref().map_or(0, Panels::columns);
            products.resize(tokens.len() / self.token_dimension * width, 0.0);
            if let Some(matrix) = &group.matrix {
                self.kernel.multiply(tokens, matrix, &mut products);
            }
            for (index, repetition) in group.repetitions.clone().enumerate() {
                let first = index * (planes + projected);
                let (token_dimension, products) = (self.token_dimension, products.as_slice());
                let projected = Projected {
                    tokens,
                    token_dimension,
                    products,
                    center: &group.center,
                    width,
                    first,
                    planes,
                    projected,
                };
                visit(repetition, &projected);
            }
        }
    }

    /// Position of a cell within its repetition.
    fn cell(&self, code: u32) -> usize {
        let place = match self.settings.generator {
            Generator::Paper => code,
            // Inverse Gray code: each bit is flipped by the one before.
            Generator::Google => {
                [1, 2, 4, 8, 16].into_iter().fold(code, |code, shift| code ^ code >> shift)
            }
        };
        place as usize
    }

    fn block_dimension(&self) -> usize {
        self.settings.inner_projection.unwrap_or(self.token_dimension)
    }

    fn check(&self, tokens: &[f32]) -> Result<(), InvalidInput> {
        let (dimension, got) = (self.token_dimension, tokens.len());
        if tokens.is_empty() {
            return Err(InvalidInput::new("tokens", Problem::EmptyMultiVector));
        }
        if !got.is_multiple_of(dimension) {
            return Err(InvalidInput::new("tokens", Problem::NotAMultiple { dimension, got }));
        }
        Ok(())
    }
}

/// The planes and projections of some repetitions, as columns.
fn matrix(settings: &FdeSettings, repetitions: Range<usize>, dimension: usize) -> Option<Panels> {
    type Draw = fn(u64, usize, usize, usize) -> Vec<f32>;
    let (planes, inner): (Draw, Draw) = match settings.generator {
        Generator::Paper => (paper::planes, paper::inner),
        Generator::Google => (google::planes, google::inner),
    };
    let mut rows = Vec::new();
    for repetition in repetitions {
        rows.extend(planes(settings.seed, repetition, settings.simhash_projections, dimension));
        if let Some(projected) = settings.inner_projection {
            rows.extend(inner(settings.seed, repetition, projected, dimension));
        }
    }
    (!rows.is_empty()).then(|| Panels::from_rows(&rows, dimension))
}
