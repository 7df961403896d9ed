//! Searches of a key index with warm memory do not allocate.

#[path = "common/heads.rs"]
mod heads;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use heads::{D, keys, queries, values};
use lanner::attention::{
    Attention, KeyIndex, KeyIndexSettings, Request, Rows, Searcher, Target, Tensors,
    sparse_attention,
};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// Counts the allocations of each thread.
struct Counting;

// SAFETY: every call is passed on to the system's allocator; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are those that the system's allocator needs.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from the system's allocator, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(run: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    run();
    ALLOCATIONS.get() - before
}

#[test]
fn searches_with_warm_memory_do_not_allocate() {
    let n = 8_192;
    let (keys, values, tests) = (keys(0, n), values(0, n), queries(1, 40));
    let rows = |values| Rows::f32(values, D).unwrap();
    let learn = queries(0, 2_000);
    let index = KeyIndex::build(rows(&keys), rows(&learn), KeyIndexSettings::default()).unwrap();
    assert!(index.lists() > 0 && allocations(|| drop(vec![1])) == 1, "allocations are counted");
    let static_ranges = [0..4, n - 64..n];
    let (mut searcher, mut output) = (Searcher::new(), Attention::new());
    let requests = [Target::Keys(100), Target::Keys(n), Target::Mass(0.3), Target::Mass(0.99)]
        .map(|target| Request::new(target).excluding(&static_ranges).sampling(50));
    let mut run = |requests: &[Request<'_>]| {
        for request in requests {
            index.search(rows(&tests), Some(rows(&keys)), request, &mut searcher).unwrap();
            index.search(rows(&tests), None, &request.pages_of(16), &mut searcher).unwrap();
            for query in tests.chunks_exact(4 * D) {
                let queries = rows(query);
                let tensors = Tensors { queries, keys: rows(&keys), values: rows(&values) };
                sparse_attention(&index, tensors, request, &mut searcher, &mut output).unwrap();
            }
        }
    };
    assert!(allocations(|| run(&requests)) > 0);
    assert_eq!(allocations(|| run(&requests)), 0);
}
