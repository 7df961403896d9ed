//! Text fields find and score what the definition of BM25 says, over sealed segments and memory, with
//! deletions and filters, and beside vectors.

mod common;
#[path = "text/oracle.rs"]
mod oracle;

use std::collections::BTreeSet;

use common::{Random, ids};
use lanner::{
    Collection, CollectionConfig, Database, DatabaseOptions, Deadline, Durability, ErrorKind,
    Filter, Fragment, FusionRequest, GroupRequest, Highlight, Metric, Payload, PayloadType,
    PayloadUpdate, Point, PointId, QueryRequest, QueryResponse, Selection, TextField, TextQuery,
    VectorField,
};
use oracle::{Texts, ranking};

/// Few words of few letters, so that prefixes and changes of a letter find others; frequent ones first.
fn vocabulary() -> Vec<String> {
    let syllables = ["ba", "be", "co", "ko", "mi", "mu", "ra", "so"];
    let two = |a: &str| syllables.map(|b| format!("{a}{b}"));
    syllables.iter().flat_map(|a| two(a)).collect()
}

fn words(random: &mut Random, vocabulary: &[String], most: usize) -> Vec<String> {
    let number = random.below(most + 1);
    // The product of two uniform numbers is small more often than not.
    let mut pick =
        || random.below(vocabulary.len()) * random.below(vocabulary.len()) / vocabulary.len();
    (0..number).map(|_| vocabulary[pick()].clone()).collect()
}

fn field() -> TextField {
    TextField::weighted([("body", 1.0), ("title", 2.5)]).bm25(1.1, 0.6)
}

struct Fixture {
    folder: tempfile::TempDir,
    database: Option<Database>,
    random: Random,
    vocabulary: Vec<String>,
    texts: Texts,
}

impl Fixture {
    fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = DatabaseOptions::new().threads(2).open(folder.path()).unwrap();
        let config = CollectionConfig::new().with_text("words", field());
        database.create_collection("c", config).unwrap();
        let (random, vocabulary) = (Random::new(seed), vocabulary());
        Self { folder, database: Some(database), random, vocabulary, texts: Texts::new() }
    }

    fn collection(&self) -> Collection {
        self.database.as_ref().unwrap().collection("c").unwrap()
    }

    fn write(&mut self, ids: impl IntoIterator<Item = u64>) {
        let mut points = Vec::new();
        for id in ids {
            let body = words(&mut self.random, &self.vocabulary, 30);
            let title = words(&mut self.random, &self.vocabulary, 4);
            let payload =
                serde_json::json!({"body": body.join(" "), "title": title.join(", "), "id": id});
            points.push(Point::new(id).with_payload(Payload::parse(&payload.to_string()).unwrap()));
            self.texts.insert(id.into(), vec![body, title]);
        }
        self.collection().upsert(points).unwrap();
    }

    fn delete(&mut self, ids: impl IntoIterator<Item = u64>) {
        let ids: Vec<PointId> = ids.into_iter().map(PointId::from).collect();
        ids.iter().for_each(|id| drop(self.texts.remove(id)));
        self.collection().delete(ids, Durability::Synced).unwrap();
    }

    fn queries(&mut self) -> Vec<TextQuery> {
        let mut queries = Vec::new();
        for _ in 0..12 {
            let mut pick = || self.vocabulary[self.random.below(self.vocabulary.len())].clone();
            let [a, b, c] = [pick(), pick(), pick()];
            queries.push(TextQuery::words(format!("{a} {b} {c}")));
            queries.push(TextQuery::words(format!("{} {a}", self.vocabulary[0])));
            let beginning = &a[..2];
            for text in [
                format!("+{a} {b}"),
                format!("{a} {b} -{c}"),
                format!("\"{} {a}\"~3 {b}", self.vocabulary[1]),
                format!("\"{} {}\"", self.vocabulary[0], self.vocabulary[2]),
                format!("{beginning}* {c}"),
                format!("{a}~1"),
                format!("+{}~2 +{c}", self.vocabulary[3]),
            ] {
                queries.push(TextQuery::parse(&text).unwrap());
            }
        }
        queries
    }

    /// Compares all queries with the definition, and returns their answers.
    fn check(&self, queries: &[TextQuery]) -> Vec<QueryResponse> {
        let collection = self.collection();
        let answer = |query: &TextQuery| {
            let request = QueryRequest::new("words", query.clone()).limit(25).explain();
            let answer = collection.query(&request).unwrap();
            let expected = ranking(&field(), &self.texts, query);
            assert_eq!(answer.hits.len(), expected.len().min(25), "{query:?}");
            for (hit, (id, score)) in answer.hits.iter().zip(&expected) {
                let close = (f64::from(hit.score) - score).abs() <= 1e-5 * score.max(1.0);
                assert!(close, "{query:?}: {} for {score}", hit.score);
                let is_tie = expected.iter().any(|(other, tie)| {
                    *other == hit.point.id && (tie - score).abs() <= 2e-5 * score.max(1.0)
                });
                assert!(*id == hit.point.id || is_tie, "{query:?}: {} for {id}", hit.point.id);
            }
            assert_eq!(answer.estimated_recall, Some(1.0));
            answer
        };
        queries.iter().map(answer).collect()
    }
}

fn hits(answers: &[QueryResponse]) -> Vec<Vec<(PointId, f32)>> {
    let one = |answer: &QueryResponse| {
        answer.hits.iter().map(|hit| (hit.point.id.clone(), hit.score)).collect()
    };
    answers.iter().map(one).collect()
}

#[test]
fn scores_are_those_of_bm25_over_the_live_rows_wherever_they_are() {
    let mut fixture = Fixture::new(21);
    let queries = fixture.queries();
    fixture.check(&queries);
    for start in (0..600).step_by(40) {
        fixture.write(start..start + 40);
    }
    let in_memory = fixture.check(&queries);
    fixture.collection().flush().unwrap();
    let sealed = fixture.check(&queries);
    assert_eq!(hits(&in_memory), hits(&sealed), "a flush changes no score");

    fixture.write(600..900);
    fixture.collection().flush().unwrap();
    fixture.write(850..1000);
    fixture.delete((0..1000).step_by(7));
    fixture.write((0..300).step_by(9));
    let spread = fixture.check(&queries);
    fixture.collection().flush().unwrap();
    fixture.collection().optimize().unwrap();
    let merged = fixture.check(&queries);
    assert_eq!(hits(&spread), hits(&merged), "a merge changes no score");
    assert!(fixture.collection().info().segments.iter().all(|segment| segment.deleted == 0));

    drop(fixture.database.take());
    fixture.database = Some(Database::open(fixture.folder.path()).unwrap());
    assert_eq!(hits(&fixture.check(&queries)), hits(&merged), "nor does a restart");
    fixture.delete((0..1000).step_by(2));
    fixture.check(&queries);
}

#[test]
fn words_of_little_weight_find_no_rows_of_their_own() {
    let mut fixture = Fixture::new(22);
    fixture.write(0..3_000);
    fixture.collection().optimize().unwrap();
    // The most frequent word, and a rare one that scores far above it.
    let query = TextQuery::words(format!("{} {}", fixture.vocabulary[0], fixture.vocabulary[45]));
    let request = QueryRequest::new("words", query).limit(3).explain();
    let answer = fixture.collection().query(&request).unwrap();
    let stages = answer.explanation.unwrap().stages;
    assert_eq!(
        (stages.len(), &*stages[0].name, &*stages[0].source),
        (1, "search", "text standard, 2 words")
    );
    let frequent = |texts: &&Vec<Vec<String>>| {
        texts.iter().flatten().any(|word| *word == fixture.vocabulary[0])
    };
    let with = fixture.texts.values().filter(frequent).count() as u64;
    assert!(stages[0].rows < with / 2, "{} rows of {with} were scored", stages[0].rows);
    assert!(stages[0].bytes > 0);
}

#[test]
fn filters_match_words_at_a_path_or_any() {
    let mut fixture = Fixture::new(23);
    fixture.write(0..500);
    fixture.collection().flush().unwrap();
    fixture.write(400..700);
    fixture.delete((0..700).step_by(5));
    let (a, b, c) = (&fixture.vocabulary[0], &fixture.vocabulary[3], &fixture.vocabulary[9]);
    let has = |words: &[String], wanted: &str| words.iter().any(|word| word == wanted);
    let counted =
        |filter: &str| fixture.collection().count_where(&Filter::parse(filter).unwrap()).unwrap();
    let expected = |holds: &dyn Fn(&[Vec<String>]) -> bool| {
        fixture.texts.values().filter(|paths| holds(paths)).count() as u64
    };
    assert_eq!(
        counted(&format!(r#"{{"title": {{"match": "{a}"}}}}"#)),
        expected(&|paths| has(&paths[1], a))
    );
    assert_eq!(
        counted(&format!(r#"{{"field": "body", "match": "{b} {c}"}}"#)),
        expected(&|paths| has(&paths[0], b) && has(&paths[0], c))
    );
    assert_eq!(
        counted(&format!(r#"{{"words": {{"match": "{b} -{a}"}}}}"#)),
        expected(&|paths| {
            let any = |word| paths.iter().any(|words| has(words, word));
            any(b) && !any(a)
        })
    );
    assert_eq!(
        counted(&format!(r#"{{"not": {{"words": {{"match": "{}*"}}}}}}"#, &a[..2])),
        expected(&|paths| !paths.iter().flatten().any(|word| word.starts_with(&a[..2])))
    );
    assert_eq!(counted(r#"{"words": {"match": "?!"}}"#), 0);

    // Scores are not those of the rows that a filter leaves.
    let query = TextQuery::words(format!("{a} {c}"));
    let filter = Filter::matches("title", b.as_str());
    let request = QueryRequest::new("words", query.clone()).limit(20).filter(filter).explain();
    let answer = fixture.collection().query(&request).unwrap();
    let mut expected = ranking(&field(), &fixture.texts, &query);
    expected.retain(|(id, _)| has(&fixture.texts[id][1], b));
    assert_eq!(answer.hits.len(), expected.len().min(20));
    for (hit, (_, score)) in answer.hits.iter().zip(&expected) {
        assert!((f64::from(hit.score) - score).abs() < 1e-4);
    }
    assert_eq!(answer.explanation.unwrap().stages[0].name, "filter");
}

/// Points with words and a vector that says how long they are, in a segment and in memory.
fn both(random: &mut Random) -> (tempfile::TempDir, Database, Collection) {
    let folder = tempfile::tempdir().unwrap();
    let database = DatabaseOptions::new().threads(2).open(folder.path()).unwrap();
    let config = CollectionConfig::new()
        .with_field("v", VectorField::single(2, Metric::Dot))
        .with_text("words", TextField::new(["text"]));
    let collection = database.create_collection("c", config).unwrap();
    let vocabulary = vocabulary();
    for id in 0..200_u64 {
        let text = words(random, &vocabulary, 12).join(" ");
        let payload = serde_json::json!({ "text": text }).to_string();
        let point = Point::new(id).with_payload(Payload::parse(&payload).unwrap());
        let point = if id % 3 == 0 { point } else { point.with_vector("v", vec![id as f32, 1.0]) };
        collection.upsert(vec![point]).unwrap();
        if id == 120 {
            collection.flush().unwrap();
        }
    }
    (folder, database, collection)
}

#[test]
fn words_and_vectors_are_stages_of_each_other_and_fuse() {
    let mut random = Random::new(24);
    let (_folder, _database, collection) = both(&mut random);
    let query = || TextQuery::words("baba bebe");
    let by_words = QueryRequest::new("words", query()).limit(50);
    let by_vector = QueryRequest::new("v", vec![1.0, 0.0]).limit(50);
    let [words, vector] = &collection
        .query_batch(&[by_words.clone(), by_vector.clone()], Deadline::NEVER)
        .unwrap()[..]
    else {
        panic!("two answers")
    };
    assert_eq!(words, &collection.query(&by_words).unwrap());
    assert_eq!(vector, &collection.query(&by_vector).unwrap());

    // Words first: of the best 20 by words, those with the longest vectors.
    let found: BTreeSet<PointId> = ids(words).into_iter().take(20).collect();
    let mut expected = ids(vector);
    expected.retain(|id| found.contains(id));
    let all = QueryRequest::new("v", vec![1.0, 0.0]).limit(200);
    let mut longest = ids(&collection.query(&all).unwrap());
    longest.retain(|id| found.contains(id));
    let staged = by_words.clone().limit(5).rescore("v", vec![1.0, 0.0], 20).explain();
    let answer = collection.query(&staged).unwrap();
    assert_eq!(ids(&answer), longest[..5.min(longest.len())]);
    let names: Vec<String> =
        answer.explanation.unwrap().stages.into_iter().map(|s| s.name).collect();
    assert_eq!(names, ["search", "rescore"]);

    // A vector first: of the 40 longest, the best by words, with the scores of all points.
    let staged = by_vector.clone().limit(5).rescore("words", query(), 40).explain();
    let answer = collection.query(&staged).unwrap();
    let longest: BTreeSet<PointId> = ids(vector).into_iter().take(40).collect();
    let every = collection.query(&by_words.clone().limit(200)).unwrap();
    let expected: Vec<(PointId, f32)> = every
        .hits
        .iter()
        .map(|hit| (hit.point.id.clone(), hit.score))
        .filter(|(id, _)| longest.contains(id))
        .take(5)
        .collect();
    assert_eq!(hits(std::slice::from_ref(&answer))[0], expected);
    assert!(!expected.is_empty(), "some have the words");

    // Reciprocal ranks of both.
    let fused = collection.fuse(&FusionRequest::new([by_words, by_vector]).limit(200)).unwrap();
    let rank =
        |answer: &QueryResponse, id: &PointId| ids(answer).iter().position(|other| other == id);
    for hit in &fused.hits {
        let share = |rank: Option<usize>| rank.map_or(0.0, |rank| 1.0 / (61.0 + rank as f64));
        let expected = share(rank(words, &hit.point.id)) + share(rank(vector, &hit.point.id));
        assert!((f64::from(hit.score) - expected).abs() < 1e-6);
    }
    assert!(fused.hits.iter().any(|hit| rank(words, &hit.point.id).is_some()));
}

#[test]
fn what_is_no_query_and_no_text_is_refused_by_name() {
    let mut random = Random::new(25);
    let (_folder, _database, collection) = both(&mut random);
    let error = |request: QueryRequest| {
        let error = collection.query(&request).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        error.to_string()
    };
    let words = |text: &str| QueryRequest::new("words", TextQuery::words(text));
    assert_eq!(error(words("")), "text: bytes: expected 1 to 65536, got 0");
    let many: Vec<String> = (0..10_000).map(|number| format!("w{number}")).collect();
    assert_eq!(
        error(words(&many.join(" "))),
        "text: expected at most 1024 different words, got more"
    );
    assert_eq!(
        error(QueryRequest::new("v", TextQuery::words("a"))),
        "query: expected a vector or points, for a vector field, got words"
    );
    assert_eq!(
        error(QueryRequest::new("words", vec![1.0, 2.0])),
        "query: expected words, for a text field, got a vector or points"
    );
    assert_eq!(
        error(QueryRequest::new("v", vec![1.0, 2.0]).rescore("words", vec![1.0], 20)),
        "rescore.query: expected words, for a text field, got a vector or points"
    );
    assert_eq!(
        error(QueryRequest::new("v", vec![1.0, 2.0]).filter(Filter::matches("id", "a"))),
        "filter.id: expected a text field, or a path of one, got another path; the collection has: words, text"
    );
    assert_eq!(
        error(words("a").filter(Filter::matches("text", "\"a"))),
        "filter.text: expected a closing quote, got the end after \"a"
    );
    let fuzzy: String = (0..1_000).map(|number| format!("w{number}~ ")).collect();
    let fuzzy = TextQuery::parse(&fuzzy).unwrap();
    let expected = "text: words with * or ~: expected 0 to 16, got 1000";
    assert_eq!(error(QueryRequest::new("words", fuzzy)), expected);

    // Nothing is found by what has no words.
    for text in ["?!", "\u{0}", "\u{301}"] {
        assert_eq!(collection.query(&words(text)).unwrap().hits, []);
    }
    let wrong = Payload::parse(r#"{"text": 5}"#).unwrap();
    let refused = collection.upsert(vec![Point::new(1).with_payload(wrong)]).unwrap_err();
    assert!(refused.to_string().ends_with("payload.text: expected text or a list of texts, got 5"));
    // An update is refused before it is applied to any point, and whether or not it finds one.
    let wrong = PayloadUpdate::Merge(Payload::parse(r#"{"text": 5}"#).unwrap());
    let nobody = Selection::Ids(vec![9_999.into()]);
    let refused = collection.update_payloads(&nobody, &wrong, Durability::Synced).unwrap_err();
    assert_eq!(refused.to_string(), "payload.text: expected text or a list of texts, got 5");
}

#[test]
fn odd_texts_are_stored_and_found() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let config = CollectionConfig::new().with_text("words", TextField::new(["text"]));
    let collection = database.create_collection("c", config).unwrap();
    let long = "x".repeat(1_000_000);
    let many = "word ".repeat(150_000);
    let hebrew = "\u{5e9}\u{5dc}\u{5d5}\u{5dd}";
    let texts = [
        String::new(),
        long,
        many,
        format!("{hebrew} rtl"),
        "cafe\u{301} combining".into(),
        "nul \u{0} bytes".into(),
    ];
    for (id, text) in (0_u64..).zip(&texts) {
        let payload = serde_json::json!({ "text": text }).to_string();
        collection
            .upsert(vec![Point::new(id).with_payload(Payload::parse(&payload).unwrap())])
            .unwrap();
    }
    collection.upsert(vec![Point::new(100)]).unwrap();
    for _ in ["in memory", "sealed"] {
        for (text, id) in [("word", 2), (hebrew, 3), ("caf\u{e9}", 4), ("bytes", 5)] {
            let answer =
                collection.query(&QueryRequest::new("words", TextQuery::words(text))).unwrap();
            assert_eq!(ids(&answer), [PointId::from(id)], "{text}");
        }
        assert_eq!(collection.count(), 7);
        collection.flush().unwrap();
    }
    let letters: Vec<String> = (0..1_100).map(|number| format!("p{number}")).collect();
    let payload = serde_json::json!({ "text": letters.join(" ") }).to_string();
    collection
        .upsert(vec![Point::new(200).with_payload(Payload::parse(&payload).unwrap())])
        .unwrap();
    let query = TextQuery::parse("p*").unwrap();
    let error = collection.query(&QueryRequest::new("words", query)).unwrap_err().to_string();
    assert!(error.ends_with("at most 1024 words, got more for `p*`"), "{error}");
}

#[test]
fn a_damaged_index_is_named() {
    let mut fixture = Fixture::new(26);
    fixture.write(0..400);
    fixture.collection().flush().unwrap();
    drop(fixture.database.take());
    let file = common::images::files(fixture.folder.path())
        .into_iter()
        .find(|path| path.ends_with("text-0.sec"))
        .unwrap();
    let sound = std::fs::read(&file).unwrap();
    let query = TextQuery::words(fixture.vocabulary.join(" "));
    let mut refused = BTreeSet::new();
    for at in (0..sound.len()).step_by(sound.len() / 60) {
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        std::fs::write(&file, &damaged).unwrap();
        let database = Database::open(fixture.folder.path()).unwrap();
        let error = match database.collection("c") {
            Err(error) => error,
            Ok(collection) => {
                match collection.query(&QueryRequest::new("words", query.clone())) {
                    Err(error) => error,
                    // Of what this query does not read.
                    Ok(_) => {
                        let found = collection.verify(|_| ());
                        assert!(!found.is_empty() || sound[at] == 0, "byte {at} is nobody's");
                        continue;
                    }
                }
            }
        };
        let text = error.to_string();
        assert!(text.contains("text-0.sec") && text.contains("section"), "{text}");
        let section = text.split("section `").nth(1).and_then(|rest| rest.split('`').next());
        refused.extend(section.map(str::to_owned));
    }
    for section in ["idx", "lengths", "meta", "pos", "term"] {
        assert!(refused.contains(section), "{section} is verified before it is read: {refused:?}");
    }
    std::fs::write(&file, &sound).unwrap();
    fixture.database = Some(Database::open(fixture.folder.path()).unwrap());
    fixture.check(std::slice::from_ref(&query));
}

/// Fragments with asterisks around what matched.
fn marked(fragments: &[Fragment]) -> Vec<String> {
    let show = |fragment: &Fragment| {
        let mut text = fragment.text.clone();
        for range in fragment.matches.iter().rev() {
            text.insert(range.end, '*');
            text.insert(range.start, '*');
        }
        format!("{}: {text}", fragment.path)
    };
    fragments.iter().map(show).collect()
}

#[test]
fn fragments_are_cut_from_the_texts_of_hits() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let words = TextField::new(["title", "body"]).analyzed("english".parse().unwrap());
    let config = CollectionConfig::new()
        .with_text("words", words)
        .with_field("v", VectorField::single(1, Metric::Dot))
        .with_payload("n", PayloadType::Integer);
    let collection = database.create_collection("c", config).unwrap();
    let filler = "and so on ".repeat(60);
    let point = |id: u64, payload: serde_json::Value| {
        let payload = Payload::parse(&payload.to_string()).unwrap();
        Point::new(id).with_vector("v", vec![id as f32]).with_payload(payload)
    };
    let points = [
        point(
            1,
            serde_json::json!({"title": "Blue skies", "body": format!("{filler}the sky is blue {filler}"), "n": 1}),
        ),
        point(
            2,
            serde_json::json!({"title": "Green", "body": ["no words", "a sky of grey", "sky blue sky"], "n": 2}),
        ),
        point(3, serde_json::json!({"n": 3})),
    ];
    collection.upsert(points).unwrap();
    let ask = || QueryRequest::new("words", TextQuery::words("blue sky"));
    let request = ask().highlight(Highlight { fragments: 1, length: 30 });
    for _ in 0..2 {
        let hits = collection.query(&request).unwrap().hits;
        let found: Vec<(PointId, Vec<String>)> =
            hits.iter().map(|hit| (hit.point.id.clone(), marked(&hit.fragments))).collect();
        // The analyzer has "skies" and "sky" as one word.
        let first = vec![
            "body: on the *sky* is *blue* and so on".to_owned(),
            "title: *Blue* *skies*".into(),
        ];
        let second = vec!["body: *sky* *blue* *sky*".to_owned()];
        assert_eq!(found.len(), 2);
        assert!(found.contains(&(1.into(), first)), "{found:?}");
        assert!(found.contains(&(2.into(), second)), "{found:?}");
        collection.flush().unwrap();
    }
    assert!(collection.query(&ask()).unwrap().hits.iter().all(|hit| hit.fragments.is_empty()));
    // In batches, groups and fusion, and of a second stage.
    let wide = Highlight { fragments: 3, length: 20 };
    let of_two = |hits: &[lanner::Hit]| {
        let hit = hits.iter().find(|hit| hit.point.id == 2.into()).unwrap();
        marked(&hit.fragments)
    };
    let expected = ["body: *sky* *blue* *sky*", "body: a *sky* of grey"];
    let dense = || QueryRequest::new("v", vec![1.0]);
    let answers =
        collection.query_batch(&[dense(), ask().highlight(wide)], Deadline::NEVER).unwrap();
    assert!(answers[0].hits.iter().all(|hit| hit.fragments.is_empty()));
    assert_eq!(of_two(&answers[1].hits), expected);
    let fusion = FusionRequest::new([dense(), ask().highlight(wide)]);
    assert_eq!(of_two(&collection.fuse(&fusion).unwrap().hits), expected);
    let groups = collection.query_groups(&GroupRequest::new(ask().highlight(wide), "n")).unwrap();
    assert!(groups.groups.iter().any(|group| marked(&group.hits[0].fragments) == expected));
    let second = dense().rescore("words", TextQuery::words("blue sky"), 10).highlight(wide);
    assert_eq!(of_two(&collection.query(&second).unwrap().hits), expected);

    let refused = |request: QueryRequest| collection.query(&request).unwrap_err().to_string();
    assert_eq!(
        refused(dense().highlight(wide)),
        "highlight: expected a query with words, whose fragments are cut, got one without"
    );
    let none = Highlight { fragments: 0, length: 100 };
    assert_eq!(refused(ask().highlight(none)), "highlight.fragments: expected 1 to 16, got 0");
    let short = Highlight { fragments: 1, length: 19 };
    assert_eq!(refused(ask().highlight(short)), "highlight.length: expected 20 to 10000, got 19");
}
