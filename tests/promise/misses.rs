//! Cells of the grid in which the promise is not kept yet. They are printed by every run, and no other
//! cell may join them without being named here; docs/promise.md counts them.

/// Their names.
pub const KNOWN: &[&str] = &[
    "duplicates-near/other l2 auto flat sealed k=100 default",
    "low-rank/one-hot cosine auto auto reopened k=10 target=0.9",
    "low-rank/one-hot cosine auto auto reopened k=10 rerank=2k",
    "decaying/other-plane l2 auto auto merged k=100 default",
    "decaying/other-plane l2 auto auto merged k=10 target=0.9",
    "decaying/other-plane l2 auto auto merged k=10 target=0.99",
    "decaying/other-plane l2 auto auto merged k=10 rerank=2k",
    "filters/not-my-cluster cosine auto ivf indexed k=1 default",
    "filters/not-my-cluster cosine auto ivf indexed k=10 default",
    "filters/not-my-cluster cosine auto ivf indexed k=10 target=0.9",
    "filters/not-my-cluster cosine auto ivf indexed k=10 target=0.99",
    "filters/farthest-50% cosine auto ivf indexed k=10 default",
    "filters/farthest-50% cosine auto ivf indexed k=10 target=0.9",
    "filters/farthest-50% cosine auto ivf indexed k=10 target=0.99",
    "multi-foreign/one-token cosine auto auto reopened k=10 default",
    "multi-foreign/one-hot cosine auto auto reopened k=1 default",
];
