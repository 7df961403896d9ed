//! Filters that go with the query.

use lanner::Metric;

use crate::promise::data::{Data, Keep, QUERIES, Recipe};
use crate::promise::shapes::Groups;

pub fn recipes() -> Vec<Recipe> {
    vec![
        Recipe::single("filters", filters).dimension(32).rows([3_000, 12_000]).central(),
        Recipe::single("filters-40000", filters)
            .dimension(64)
            .rows([0, 40_000])
            .metrics(&[Metric::L2]),
    ]
}

fn filters(data: &mut Data) {
    const GROUPS: usize = 40;
    let dimension = data.dimension();
    let groups = Groups::new(&mut data.random, GROUPS, dimension, 0.5);
    for _ in 0..data.wanted {
        let (group, row) = groups.draw(&mut data.random);
        data.put_in(group, &row);
    }
    data.rank_by(0);
    let own: Vec<(usize, Vec<f32>)> = (0..QUERIES).map(|_| groups.draw(&mut data.random)).collect();
    let mut ask = |name, keep: &dyn Fn(usize) -> Keep| {
        let queries: Vec<(Vec<f32>, Keep)> =
            own.iter().map(|(group, query)| (query.clone(), keep(*group))).collect();
        data.ask_where(name, &queries);
    };
    ask("all", &|_| Keep::All);
    ask("not-my-cluster", &|group| Keep::NotCluster(group as i64));
    ask("a-far-cluster", &|group| Keep::Cluster(groups.farthest(group) as i64));
    ask_farthest(data);
}

/// Queries at one end of a coordinate; filters keep the farthest rows.
fn ask_farthest(data: &mut Data) {
    let first: Vec<Vec<f32>> = (0..data.rows.len())
        .filter(|&row| data.facts[row].rank < data.wanted as i64 / 15)
        .take(QUERIES)
        .map(|row| data.rows.get(row).to_vec())
        .collect();
    for (name, share) in [
        ("farthest-10%", 0.1),
        ("farthest-50%", 0.5),
        ("farthest-80%", 0.8),
        ("farthest-95%", 0.95),
    ] {
        let from = Keep::RankFrom((data.wanted as f64 * (1.0 - share)) as i64);
        let queries: Vec<(Vec<f32>, Keep)> = first
            .iter()
            .map(|row| (row.iter().map(|x| x + 0.2 * data.random.normal()).collect(), from))
            .collect();
        data.ask_where(name, &queries);
    }
}
