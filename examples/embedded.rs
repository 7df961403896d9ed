//! Lanner inside a program, without a server: `cargo run --release --example embedded`.

use lanner::{
    CollectionConfig, Database, Metric, MultiVector, Payload, Point, QueryRequest, VectorField,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let database = Database::open(folder.path())?;

    // One vector a point for coarse meaning, one a token for details.
    let config = CollectionConfig::new()
        .with_field("text", VectorField::single(3, Metric::Cosine))
        .with_field("tokens", VectorField::multi(2, Metric::Dot).half_precision());
    let books = database.create_collection("books", config)?;

    // A write is durable, and seen by the next query, when it returns.
    let receipt = books.upsert([
        Point::new("moby-dick")
            .with_vector("text", vec![0.9, 0.1, 0.0])
            .with_vector("tokens", MultiVector::from_rows(&[[1.0, 0.0], [0.6, 0.8]])?)
            .with_payload(Payload::parse(r#"{"title": "Moby-Dick", "year": 1851}"#)?),
        Point::new("emma")
            .with_vector("text", vec![0.1, 0.9, 0.2])
            .with_vector("tokens", MultiVector::from_rows(&[[0.0, 1.0]])?)
            .with_payload(Payload::parse(r#"{"title": "Emma", "year": 1815}"#)?),
    ])?;
    println!("wrote {} points as write {}", receipt.affected, receipt.sequence);

    let request = QueryRequest::new("text", vec![0.0, 1.0, 0.0]).limit(2).with_payload();
    for hit in books.query(&request)?.hits {
        let title = hit.point.payload.map(|payload| payload.to_map()["title"].clone());
        println!("{:.3}  {}  {}", hit.score, hit.point.id, title.unwrap_or_default());
    }

    // MaxSim: each query vector looks for its best match among the point's vectors.
    let query = MultiVector::from_rows(&[[1.0, 0.0], [0.0, 1.0]])?;
    for hit in books.query(&QueryRequest::new("tokens", query))?.hits {
        println!("{:.3}  {}", hit.score, hit.point.id);
    }

    // Bad input says what is wrong, and changes nothing.
    let refused = books.upsert([Point::new("dracula").with_vector("text", vec![1.0, 2.0])]);
    println!("refused: {}", refused.map(drop).unwrap_err());

    // Everything is still there after a restart.
    drop((books, database));
    let database = Database::open(folder.path())?;
    println!("{} points after reopening", database.collection("books")?.count());
    Ok(())
}
