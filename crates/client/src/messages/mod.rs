//! Conversions between messages and the engine's types: `to_model` and `from_model` in each file.

pub mod compression;
pub mod encoding;
pub mod filter;
pub mod from_model;
pub mod fusion;
pub mod group;
pub mod index;
pub mod jobs;
pub mod memory;
pub mod ordered;
pub mod search;
pub mod text;
pub mod to_model;
pub mod update;

#[cfg(test)]
mod tests {
    use half::f16;

    use super::{from_model, to_model};
    use crate::proto::{self, vector::Values};
    use lanner::{MultiVector, Payload, Point, Vector};

    fn refused(values: Option<Values>, rows: Option<u32>) -> String {
        let message = proto::Vector { values, rows, reconstructed: false };
        to_model::vector(message, "vectors.v").unwrap_err().to_string()
    }

    #[test]
    fn all_forms_of_a_vector_are_the_same_vector() {
        let values = [1.0_f32, -2.5, 0.25];
        let bytes = bytemuck::cast_slice::<f32, u8>(&values).to_vec();
        let halves = values.map(f16::from_f32);
        let half_bytes = bytemuck::cast_slice::<f16, u8>(&halves).to_vec();
        let floats = proto::FloatValues { values: values.to_vec() };
        for form in
            [Values::Floats(floats), Values::F32(bytes.into()), Values::F16(half_bytes.into())]
        {
            let message = proto::Vector { values: Some(form), rows: None, reconstructed: false };
            assert_eq!(to_model::vector(message, "v").unwrap(), Vector::from(values.to_vec()));
        }
    }

    #[test]
    fn points_come_back_as_they_were() {
        let point = Point::new("x")
            .with_vector("v", vec![1.0, 2.0])
            .with_vector("m", MultiVector::from_flat(2, vec![1.0, 2.0, 3.0, 4.0]).unwrap())
            .with_payload(Payload::parse("{\"a\": 1}").unwrap());
        assert_eq!(to_model::point(from_model::point(&point)).unwrap(), point);
    }

    #[test]
    fn malformed_vectors_are_refused_by_name() {
        let floats = |n: usize| Some(Values::Floats(proto::FloatValues { values: vec![1.0; n] }));
        let cases = [
            (refused(None, None), "expected `floats`, `f32`, `f16` or `sparse`, got nothing"),
            (
                refused(Some(Values::F32(vec![0; 7].into())), None),
                "expected a multiple of 4 bytes in `f32`, got 7",
            ),
            (
                refused(Some(Values::F16(vec![0; 7].into())), None),
                "expected a multiple of 2 bytes in `f16`, got 7",
            ),
            (refused(floats(4), Some(0)), "expected at least one vector, got none"),
            (refused(floats(0), Some(2)), "expected at least one vector, got none"),
            (
                refused(floats(5), Some(2)),
                "expected values that fill `rows` equal rows, got 5 values in 2 rows",
            ),
        ];
        for (got, expected) in cases {
            assert_eq!(got, format!("vectors.v: {expected}"));
        }
    }
}
