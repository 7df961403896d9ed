//! Encodings of multi fields ↔ messages.

use crate::proto;
use lanner::InvalidInput;
use lanner::{Encoding, FdeSettings, Generator};

/// The encoding of a field from its message; automatic if not set.
///
/// # Errors
/// If the generator is unknown.
pub fn to_model(message: Option<proto::FdeSettings>) -> Result<Encoding, InvalidInput> {
    let Some(message) = message else { return Ok(Encoding::Auto) };
    let default = FdeSettings::default();
    let number = |got: Option<u32>, default| got.map_or(default, |number| number as usize);
    let generator = match proto::FdeGenerator::try_from(message.generator) {
        Ok(proto::FdeGenerator::Unspecified | proto::FdeGenerator::Paper) => Generator::Paper,
        Ok(proto::FdeGenerator::Google) => Generator::Google,
        Err(_) => {
            let (path, expected) = ("encoding.generator", "paper or google");
            return Err(InvalidInput::mismatch(path, expected, message.generator));
        }
    };
    Ok(Encoding::Fde(FdeSettings {
        repetitions: number(message.repetitions, default.repetitions),
        simhash_projections: number(message.simhash_projections, default.simhash_projections),
        inner_projection: match message.inner_projection {
            None => default.inner_projection,
            Some(0) => None,
            Some(dimension) => Some(dimension as usize),
        },
        final_projection: message.final_projection.map(|dimension| dimension as usize),
        fill_empty_cells: !message.leave_cells_empty,
        seed: message.seed.unwrap_or(default.seed),
        generator,
        ball_carving: message.ball_carving,
    }))
}

/// The message of a field's encoding; `None` if it is automatic.
pub fn from_model(encoding: &Encoding) -> Option<proto::FdeSettings> {
    let Encoding::Fde(settings) = encoding else { return None };
    let number = |number: usize| Some(number as u32);
    let generator = match settings.generator {
        Generator::Paper => proto::FdeGenerator::Paper,
        Generator::Google => proto::FdeGenerator::Google,
    };
    Some(proto::FdeSettings {
        repetitions: number(settings.repetitions),
        simhash_projections: number(settings.simhash_projections),
        inner_projection: number(settings.inner_projection.unwrap_or(0)),
        final_projection: settings.final_projection.and_then(number),
        leave_cells_empty: !settings.fill_empty_cells,
        seed: Some(settings.seed),
        generator: generator.into(),
        ball_carving: settings.ball_carving,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_survive_the_way_there_and_back() {
        let other = FdeSettings {
            repetitions: 3,
            simhash_projections: 4,
            inner_projection: None,
            final_projection: Some(64),
            fill_empty_cells: false,
            seed: 7,
            generator: Generator::Google,
            ball_carving: Some(0.7),
        };
        for encoding in
            [Encoding::Auto, Encoding::Fde(FdeSettings::default()), Encoding::Fde(other)]
        {
            assert_eq!(to_model(from_model(&encoding)), Ok(encoding));
        }
    }

    #[test]
    fn what_is_not_set_is_the_default() {
        let empty = to_model(Some(proto::FdeSettings::default()));
        assert_eq!(empty, Ok(Encoding::Fde(FdeSettings::default())));
        let unknown = proto::FdeSettings { generator: 9, ..Default::default() };
        let error = to_model(Some(unknown)).unwrap_err().to_string();
        assert_eq!(error, "encoding.generator: expected paper or google, got 9");
    }
}
