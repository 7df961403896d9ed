//! Compression and codec reports ↔ messages.

use crate::proto;
use lanner::{
    CentroidReport, CodeSettings, CodecReport, Compression, InvalidInput, LvqCode, Primary,
    ReductionMethod, Rung, Secondary,
};

type Result<T> = std::result::Result<T, InvalidInput>;

/// The compression of a field from its message; automatic if not set.
///
/// # Errors
/// If an enum value is unknown, or the mode is codes and no code is set.
pub fn to_model(message: Option<proto::Compression>) -> Result<Compression> {
    use proto::CompressionMode as Mode;
    let Some(message) = message else { return Ok(Compression::default()) };
    let primary = match Mode::try_from(message.mode) {
        Ok(Mode::Unspecified | Mode::Auto) => Primary::Auto,
        Ok(Mode::None) => Primary::None,
        Ok(Mode::Codes) => Primary::Codes(CodeSettings {
            code: code(message.code)?,
            dimension: message.dimension.map(|dimension| dimension as usize),
            reduction: reduction(message.reduction)?,
        }),
        Err(_) => {
            return Err(InvalidInput::mismatch(
                "compression.mode",
                "auto, none or codes",
                message.mode,
            ));
        }
    };
    let secondary = match proto::SecondaryCode::try_from(message.secondary) {
        Ok(proto::SecondaryCode::Unspecified) => Secondary::Auto,
        Ok(proto::SecondaryCode::Raw) => Secondary::Raw,
        Ok(proto::SecondaryCode::Lvq8) => Secondary::Lvq8,
        Ok(proto::SecondaryCode::Lvq4) => Secondary::Lvq4,
        Ok(proto::SecondaryCode::F16) => Secondary::F16,
        Ok(proto::SecondaryCode::Residual8) => Secondary::Residual8,
        Ok(proto::SecondaryCode::Residual4) => Secondary::Residual4,
        Ok(proto::SecondaryCode::Residual2) => Secondary::Residual2,
        Err(_) => {
            let expected = "a known secondary code";
            return Err(InvalidInput::mismatch(
                "compression.secondary",
                expected,
                message.secondary,
            ));
        }
    };
    Ok(Compression { primary, secondary, keep_raw: !message.drop_raw })
}

fn code(number: i32) -> Result<LvqCode> {
    match proto::LvqCode::try_from(number) {
        Ok(proto::LvqCode::Lvq8) => Ok(LvqCode::Lvq8),
        Ok(proto::LvqCode::Lvq4) => Ok(LvqCode::Lvq4),
        Ok(proto::LvqCode::Lvq4x4) => Ok(LvqCode::Lvq4x4),
        Ok(proto::LvqCode::Lvq4x8) => Ok(LvqCode::Lvq4x8),
        Ok(proto::LvqCode::Unspecified) | Err(_) => {
            Err(InvalidInput::mismatch("compression.code", "lvq8, lvq4, lvq4x4 or lvq4x8", number))
        }
    }
}

fn reduction(number: i32) -> Result<Option<ReductionMethod>> {
    match proto::ReductionMethod::try_from(number) {
        Ok(proto::ReductionMethod::Unspecified) => Ok(None),
        Ok(proto::ReductionMethod::Pca) => Ok(Some(ReductionMethod::Pca)),
        Ok(proto::ReductionMethod::EigenSearch) => Ok(Some(ReductionMethod::EigenSearch)),
        Ok(proto::ReductionMethod::FrankWolfe) => Ok(Some(ReductionMethod::FrankWolfe)),
        Ok(proto::ReductionMethod::Sphering) => Ok(Some(ReductionMethod::Sphering)),
        Err(_) => Err(InvalidInput::mismatch("compression.reduction", "a known reduction", number)),
    }
}

/// The message of a field's compression.
pub fn from_model(compression: &Compression) -> proto::Compression {
    use proto::CompressionMode as Mode;
    let (mode, settings) = match compression.primary {
        Primary::Auto => (Mode::Auto, None),
        Primary::None => (Mode::None, None),
        Primary::Codes(settings) => (Mode::Codes, Some(settings)),
    };
    let secondary = match compression.secondary {
        Secondary::Auto => proto::SecondaryCode::Unspecified,
        Secondary::Raw => proto::SecondaryCode::Raw,
        Secondary::Lvq8 => proto::SecondaryCode::Lvq8,
        Secondary::Lvq4 => proto::SecondaryCode::Lvq4,
        Secondary::F16 => proto::SecondaryCode::F16,
        Secondary::Residual8 => proto::SecondaryCode::Residual8,
        Secondary::Residual4 => proto::SecondaryCode::Residual4,
        Secondary::Residual2 => proto::SecondaryCode::Residual2,
    };
    proto::Compression {
        mode: mode.into(),
        code: settings.map_or(0, |settings| code_number(settings.code)),
        dimension: settings.and_then(|settings| Some(settings.dimension? as u32)),
        reduction: reduction_number(settings.and_then(|settings| settings.reduction)),
        secondary: secondary.into(),
        drop_raw: !compression.keep_raw,
    }
}

fn code_number(code: LvqCode) -> i32 {
    match code {
        LvqCode::Lvq8 => proto::LvqCode::Lvq8,
        LvqCode::Lvq4 => proto::LvqCode::Lvq4,
        LvqCode::Lvq4x4 => proto::LvqCode::Lvq4x4,
        LvqCode::Lvq4x8 => proto::LvqCode::Lvq4x8,
    }
    .into()
}

fn reduction_number(method: Option<ReductionMethod>) -> i32 {
    match method {
        None => proto::ReductionMethod::Unspecified,
        Some(ReductionMethod::Pca) => proto::ReductionMethod::Pca,
        Some(ReductionMethod::EigenSearch) => proto::ReductionMethod::EigenSearch,
        Some(ReductionMethod::FrankWolfe) => proto::ReductionMethod::FrankWolfe,
        Some(ReductionMethod::Sphering) => proto::ReductionMethod::Sphering,
    }
    .into()
}

/// The message of a report on centroids.
pub fn from_centroids(report: &CentroidReport) -> proto::FieldCentroids {
    proto::FieldCentroids {
        count: report.count as u64,
        trained_vectors: report.trained_vectors as u64,
        loss: report.loss,
        common: report.common,
    }
}

/// A report on centroids from its message.
pub fn to_centroids(message: proto::FieldCentroids) -> CentroidReport {
    CentroidReport {
        count: message.count as usize,
        trained_vectors: message.trained_vectors as usize,
        loss: message.loss,
        common: message.common,
    }
}

/// The message of a codec report.
pub fn from_report(report: &CodecReport) -> proto::FieldCodec {
    let recall = |recall: Option<[f32; 2]>| {
        recall.map(|[first_20, first_50]| proto::CandidateRecall { first_20, first_50 })
    };
    let rung = |rung: &Rung| proto::Rung {
        code: rung.code.clone(),
        bytes: rung.bytes as u32,
        recall: recall(rung.recall),
        query_recall: recall(rung.query_recall),
    };
    proto::FieldCodec {
        code: code_number(report.code),
        dimension: report.dimension as u32,
        reduction: reduction_number(report.reduction),
        trained_rows: report.trained_rows as u64,
        trained_queries: report.trained_queries as u64,
        seed: report.seed,
        loss: report.loss,
        ladder: report.ladder.iter().map(rung).collect(),
    }
}

/// A codec report from its message.
///
/// # Errors
/// If an enum value is unknown.
pub fn to_report(message: proto::FieldCodec) -> Result<CodecReport> {
    let recall = |recall: Option<proto::CandidateRecall>| {
        recall.map(|recall| [recall.first_20, recall.first_50])
    };
    let rung = |rung: proto::Rung| Rung {
        code: rung.code,
        bytes: rung.bytes as usize,
        recall: recall(rung.recall),
        query_recall: recall(rung.query_recall),
    };
    Ok(CodecReport {
        code: code(message.code)?,
        dimension: message.dimension as usize,
        reduction: reduction(message.reduction)?,
        trained_rows: message.trained_rows as usize,
        trained_queries: message.trained_queries as usize,
        seed: message.seed,
        loss: message.loss,
        ladder: message.ladder.into_iter().map(rung).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressions_survive_the_way_there_and_back() {
        for text in [
            "auto",
            "none",
            "lvq8",
            "lvq4x4/drop-raw",
            "lvq4:192:sphering/f16",
            "auto/lvq8",
            "auto/lvq4/drop-raw",
            "lvq4x8",
        ] {
            let compression: Compression = text.parse().unwrap();
            assert_eq!(to_model(Some(from_model(&compression))).unwrap(), compression);
        }
        assert_eq!(to_model(None).unwrap(), Compression::default());
        for reduction in ["pca", "eigen_search", "frank_wolfe"] {
            let compression: Compression = format!("lvq8:8:{reduction}").parse().unwrap();
            assert_eq!(to_model(Some(from_model(&compression))).unwrap(), compression);
        }
    }

    #[test]
    fn unknown_numbers_and_missing_codes_are_refused() {
        let refused = |message: proto::Compression| to_model(Some(message)).unwrap_err().path;
        let message = proto::Compression::default;
        assert_eq!(refused(proto::Compression { mode: 9, ..message() }), "compression.mode");
        assert_eq!(refused(proto::Compression { mode: 3, ..message() }), "compression.code");
        assert_eq!(
            refused(proto::Compression { secondary: 9, ..message() }),
            "compression.secondary"
        );
        let message = proto::Compression { mode: 3, code: 1, reduction: 9, ..message() };
        assert_eq!(refused(message), "compression.reduction");
    }

    #[test]
    fn reports_survive_the_way_there_and_back() {
        let rung = Rung {
            code: "lvq4:16:pca".into(),
            bytes: 16,
            recall: Some([0.5, 1.0]),
            query_recall: None,
        };
        let report = CodecReport {
            code: LvqCode::Lvq4,
            dimension: 16,
            reduction: Some(ReductionMethod::Pca),
            trained_rows: 7,
            trained_queries: 8,
            seed: 42,
            loss: 0.25,
            ladder: vec![rung],
        };
        assert_eq!(to_report(from_report(&report)).unwrap(), report);
    }
}
