//! The data sets of the grid, by what is hard about them.

mod drift;
mod duplicates;
mod filters;
mod foreign;
mod multi;
mod scales;
mod writes;

use super::data::Recipe;

pub fn all() -> Vec<Recipe> {
    [
        drift::recipes(),
        scales::recipes(),
        duplicates::recipes(),
        writes::recipes(),
        foreign::recipes(),
        filters::recipes(),
        multi::recipes(),
    ]
    .concat()
}
