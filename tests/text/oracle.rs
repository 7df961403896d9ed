//! BM25F straight from its definition, over the texts of the live points.

use std::collections::BTreeMap;

use lanner::{Occur, PointId, TextField, TextPattern, TextQuery};

/// The words of a point, by path in the order of names.
pub type Texts = BTreeMap<PointId, Vec<Vec<String>>>;

/// What one word of a query stands for: words with what an occurrence counts.
type Group = Vec<(String, f64)>;

/// A part of a query.
enum Part {
    Group(Group),
    Phrase(Vec<String>, u32),
}

/// All points that match, best first, by score and then by smaller id.
pub fn ranking(field: &TextField, texts: &Texts, query: &TextQuery) -> Vec<(PointId, f64)> {
    let weights: Vec<f64> = field.paths.values().map(|&weight| weight.into()).collect();
    let length = |paths: &[Vec<String>]| -> f64 {
        paths.iter().zip(&weights).map(|(words, weight)| words.len() as f64 * weight).sum()
    };
    let lengths = texts.values().map(|paths| length(paths)).filter(|&length| length > 0.0);
    let (rows, total) = lengths.fold((0.0, 0.0), |(rows, sum), length| (rows + 1.0, sum + length));
    let average = total / f64::max(rows, 1.0);
    let idf = |word: &str| {
        let with = |path: usize| {
            texts.values().filter(|paths| paths[path].iter().any(|own| own == word)).count()
        };
        let n = (0..weights.len()).map(with).max().unwrap_or(0) as f64;
        ((rows - n + 0.5) / (n + 0.5)).ln_1p()
    };
    let parts: Vec<(Occur, Part, f64)> = parts(texts, query)
        .into_iter()
        .map(|(occur, part)| {
            let idf = match &part {
                Part::Group(group) => {
                    group.iter().map(|(word, _)| idf(word)).fold(f64::MAX, f64::min)
                }
                Part::Phrase(words, _) => words.iter().map(|word| idf(word)).sum(),
            };
            (occur, part, idf)
        })
        .collect();
    let (k1, b) = (f64::from(field.k1), f64::from(field.b));
    let mut found = Vec::new();
    'points: for (id, paths) in texts {
        let norm = k1 * (1.0 - b + b * length(paths) / average);
        let (mut score, mut matches) = (0.0, false);
        for (occur, part, idf) in &parts {
            let here =
                paths.iter().zip(&weights).map(|(words, weight)| occurrences(words, part) * weight);
            let here: f64 = here.sum();
            match occur {
                Occur::Excluded if here > 0.0 => continue 'points,
                Occur::Required if here == 0.0 => continue 'points,
                Occur::Excluded => continue,
                _ => {}
            }
            matches |= here > 0.0;
            if here > 0.0 {
                score += idf * here / (here + norm);
            }
        }
        if matches {
            found.push((id.clone(), score));
        }
    }
    found.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    found
}

fn parts(texts: &Texts, query: &TextQuery) -> Vec<(Occur, Part)> {
    let split = |text: &str| text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>();
    let mut vocabulary: Vec<&String> = texts.values().flatten().flatten().collect();
    vocabulary.sort();
    vocabulary.dedup();
    let like = |weigh: &dyn Fn(&str) -> Option<f64>| {
        let words = vocabulary.iter().filter_map(|word| Some(((*word).clone(), weigh(word)?)));
        Part::Group(words.collect())
    };
    let mut parts = Vec::new();
    for clause in &query.clauses {
        let own: Vec<Part> = match &clause.pattern {
            TextPattern::Words(text) => {
                split(text).into_iter().map(|word| Part::Group(vec![(word, 1.0)])).collect()
            }
            TextPattern::Phrase { words, slop } => vec![Part::Phrase(split(words), *slop)],
            TextPattern::Prefix(prefix) => {
                vec![like(&|word| word.starts_with(prefix.as_str()).then_some(1.0))]
            }
            TextPattern::Fuzzy { word, changes } => vec![like(&|other| {
                let distance = distance(word, other);
                (distance <= usize::from(*changes)).then(|| 1.0 / (1.0 + distance as f64))
            })],
        };
        parts.extend(own.into_iter().map(|part| (clause.occur, part)));
    }
    parts
}

fn occurrences(words: &[String], part: &Part) -> f64 {
    match part {
        Part::Group(group) => {
            let one = |word: &String| {
                group.iter().filter(|(own, _)| own == word).map(|(_, counts)| counts).sum::<f64>()
            };
            words.iter().map(one).sum()
        }
        Part::Phrase(phrase, slop) => {
            let starts = (0..words.len()).filter(|&at| words[at] == phrase[0]);
            starts
                .filter_map(|at| gap(words, phrase, at))
                .filter(|gap| gap <= slop)
                .map(weight)
                .sum()
        }
    }
}

fn weight(gap: u32) -> f64 {
    1.0 / (1.0 + f64::from(gap))
}

/// Words between those of a phrase that starts here, if the others follow in order.
fn gap(words: &[String], phrase: &[String], start: usize) -> Option<u32> {
    let mut at = start;
    for wanted in &phrase[1..] {
        at = (at + 1..words.len()).find(|&next| words[next] == *wanted)?;
    }
    Some((at - start + 1 - phrase.len()) as u32)
}

/// Insertions, removals, replacements and exchanges of neighbours (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            if i == 0 || j == 0 {
                table[i][j] = i + j;
                continue;
            }
            let replaced = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            table[i][j] = replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                table[i][j] = table[i][j].min(table[i - 2][j - 2] + 1);
            }
        }
    }
    table[a.len()][b.len()]
}
