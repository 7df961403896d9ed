//! Points of many vectors.

use crate::promise::data::{Data, Keep, QUERIES, Recipe};
use crate::promise::shapes::{Groups, Plane, one_hot, scaled};
use lanner::Metric;

pub fn recipes() -> Vec<Recipe> {
    vec![
        Recipe::multi("multi-plain", plain),
        Recipe::multi("multi-l2", plain).metrics(&[Metric::L2]),
        Recipe::multi("multi-drift", drift).rows([2_400, 3_600]),
        Recipe::multi("multi-duplicates", duplicates),
        Recipe::multi("multi-norms", norms),
        Recipe::multi("multi-outlier-1e10", outlier).large(),
        Recipe::multi("multi-foreign", foreign),
        Recipe::multi("multi-filters", filters),
        Recipe::multi("multi-deletes-own-cluster", deletes_own),
    ]
}

/// Vectors of a point; queries have fewer.
const TOKENS: usize = 6;
const QUERY_TOKENS: usize = 4;

/// Texts: of each, a topic that its tokens have in common.
struct Topics {
    topics: Groups,
    tokens: Plane,
}

impl Topics {
    fn new(data: &mut Data, topics: usize) -> Self {
        let dimension = data.dimension();
        Self {
            topics: Groups::new(&mut data.random, topics, dimension, 0.4),
            tokens: Plane::new(&mut data.random, dimension, 8, 0.2),
        }
    }

    fn text(&self, data: &mut Data, topic: usize, tokens: usize) -> Vec<f32> {
        let mut text = Vec::new();
        for _ in 0..tokens {
            let own = self.tokens.draw(&mut data.random);
            let topic = self.topics.near(&mut data.random, topic);
            text.extend(topic.iter().zip(own).map(|(t, o)| t + 0.3 * o));
        }
        text
    }

    fn put(&self, data: &mut Data, count: usize) {
        for _ in 0..count {
            let topic = data.random.below(self.topics.centers.len());
            let tokens = 1 + data.random.below(2 * TOKENS - 1);
            let text = self.text(data, topic, tokens);
            data.put_in(topic, &text);
        }
    }

    fn queries(&self, data: &mut Data, topics: std::ops::Range<usize>) -> Vec<Vec<f32>> {
        let topic = |query: usize| topics.start + query % topics.len();
        (0..QUERIES).map(|query| self.text(data, topic(query), QUERY_TOKENS)).collect()
    }
}

fn plain(data: &mut Data) {
    let topics = Topics::new(data, 50);
    topics.put(data, data.wanted);
    let queries = topics.queries(data, 0..50);
    data.ask("own", &queries);
}

fn drift(data: &mut Data) {
    let (old, new) = (Topics::new(data, 50), Topics::new(data, 50));
    old.put(data, data.wanted / 2);
    data.seal();
    new.put(data, data.wanted / 2);
    let queries = old.queries(data, 0..50);
    data.ask("old", &queries);
    let queries = new.queries(data, 0..50);
    data.ask("new", &queries);
}

/// Fifty texts, by turns.
fn duplicates(data: &mut Data) {
    let topics = Topics::new(data, 50);
    let texts: Vec<Vec<f32>> = (0..50).map(|topic| topics.text(data, topic, TOKENS)).collect();
    for number in 0..data.wanted {
        data.put_in(number % 50, &texts[number % 50]);
    }
    let queries = topics.queries(data, 0..50);
    data.ask("own", &queries);
}

fn norms(data: &mut Data) {
    let topics = Topics::new(data, 50);
    for _ in 0..data.wanted {
        let topic = data.random.below(50);
        let text = topics.text(data, topic, TOKENS);
        let factor = 10_f32.powf(2.0 * data.random.float());
        data.put_in(topic, &scaled(&text, factor));
    }
    let queries = topics.queries(data, 0..50);
    data.ask("own", &queries);
}

fn outlier(data: &mut Data) {
    let topics = Topics::new(data, 50);
    topics.put(data, data.wanted / 2);
    let mut bad = vec![0.0; data.dimension()];
    bad[0] = 1e10;
    data.put(&bad);
    topics.put(data, data.wanted / 2);
    let queries = topics.queries(data, 0..50);
    data.ask("own", &queries);
}

fn foreign(data: &mut Data) {
    let dimension = data.dimension();
    let topics = Topics::new(data, 50);
    topics.put(data, data.wanted);
    let own = topics.queries(data, 0..50);
    let opposed: Vec<Vec<f32>> = own.iter().map(|query| scaled(query, -1.0)).collect();
    data.ask("opposed", &opposed);
    let one: Vec<Vec<f32>> = own.iter().map(|query| query[..dimension].to_vec()).collect();
    data.ask("one-token", &one);
    let words: Vec<Vec<f32>> = (0..QUERIES).map(|query| words(dimension, query)).collect();
    data.ask("one-hot", &words);
}

/// One token of a single element, or two: all queries differ.
fn words(dimension: usize, query: usize) -> Vec<f32> {
    let (first, step) = (query % dimension, query / dimension);
    let mut tokens = one_hot(dimension, first);
    if step > 0 {
        // Pairs that are half around or farther would come twice but for the sign.
        let sign = if 2 * step < dimension { 1.0 } else { -1.0 };
        tokens.extend(scaled(&one_hot(dimension, first + step), sign));
    }
    tokens
}

fn filters(data: &mut Data) {
    let topics = Topics::new(data, 40);
    topics.put(data, data.wanted);
    let queries = topics.queries(data, 0..40);
    let not_own: Vec<(Vec<f32>, Keep)> = queries
        .iter()
        .enumerate()
        .map(|(number, query)| (query.clone(), Keep::NotCluster(number as i64 % 40)))
        .collect();
    data.ask_where("not-my-cluster", &not_own);
    let far: Vec<(Vec<f32>, Keep)> = queries
        .iter()
        .enumerate()
        .map(|(number, query)| {
            (query.clone(), Keep::Cluster(topics.topics.farthest(number % 40) as i64))
        })
        .collect();
    data.ask_where("a-far-cluster", &far);
}

fn deletes_own(data: &mut Data) {
    let topics = Topics::new(data, 40);
    topics.put(data, data.wanted);
    data.settle();
    let gone: Vec<u32> =
        (0..data.wanted as u32).filter(|&row| data.facts[row as usize].cluster < 3).collect();
    gone.into_iter().for_each(|id| data.delete(id));
    let queries = topics.queries(data, 0..3);
    data.ask("deleted-cluster", &queries);
}
