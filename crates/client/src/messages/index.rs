//! Messages ↔ the engine's types, for indexes and what is reported about them.

use crate::proto;
use lanner::IndexReport;
use lanner::Problem;
use lanner::{Calibration, CalibrationPoint, Depth, Margin, Outside, Zone};
use lanner::{IndexKind, IndexSettings, IndexStatus, InvalidInput, SettingValue};

type Result<T> = std::result::Result<T, InvalidInput>;

/// Where a message has the value of a setting.
enum Slot<'m> {
    Count(&'m mut Option<u32>),
    Number(&'m mut Option<f32>),
}

/// The places of all settings in a message, by the names that they are declared with.
fn slots(message: &mut proto::IndexSettings) -> Vec<(&'static str, Slot<'_>)> {
    vec![
        ("graph_max_degree", Slot::Count(&mut message.graph_max_degree)),
        ("window_size", Slot::Count(&mut message.window_size)),
        ("alpha", Slot::Number(&mut message.alpha)),
        ("prune_to", Slot::Count(&mut message.prune_to)),
        ("learned_degree", Slot::Count(&mut message.learned_degree)),
        ("lists", Slot::Count(&mut message.lists)),
    ]
}

/// How a field is indexed; automatic if it is not set.
///
/// # Errors
/// If the kind is an unknown number, or an index of this kind has no such setting.
pub fn to_model(message: Option<proto::IndexSettings>) -> Result<IndexSettings> {
    let Some(mut message) = message else { return Ok(IndexSettings::default()) };
    let mut settings = IndexSettings::new(kind(message.kind)?);
    for (name, slot) in slots(&mut message) {
        let value = match slot {
            Slot::Count(count) => count.map(|count| SettingValue::Count(count as usize)),
            Slot::Number(number) => number.map(SettingValue::Number),
        };
        if let Some(value) = value {
            settings = settings.with(name, value)?;
        }
    }
    Ok(settings)
}

fn kind(number: i32) -> Result<IndexKind> {
    match proto::IndexKind::try_from(number) {
        Ok(proto::IndexKind::Unspecified | proto::IndexKind::Auto) => Ok(IndexKind::Auto),
        Ok(proto::IndexKind::Graph) => Ok(IndexKind::Graph),
        Ok(proto::IndexKind::Ivf) => Ok(IndexKind::Ivf),
        Ok(proto::IndexKind::Flat) => Ok(IndexKind::Flat),
        Err(_) => {
            let problem =
                Problem::Mismatch { expected: "auto, graph, ivf or flat", got: number.to_string() };
            Err(InvalidInput::new("index.kind", problem))
        }
    }
}

fn kind_number(kind: IndexKind) -> i32 {
    match kind {
        IndexKind::Auto => proto::IndexKind::Auto,
        IndexKind::Graph => proto::IndexKind::Graph,
        IndexKind::Ivf => proto::IndexKind::Ivf,
        IndexKind::Flat => proto::IndexKind::Flat,
    }
    .into()
}

/// How a field is indexed.
pub fn from_model(settings: &IndexSettings) -> proto::IndexSettings {
    let kind = kind_number(settings.kind());
    let mut message = proto::IndexSettings { kind, ..Default::default() };
    for (name, slot) in slots(&mut message) {
        match (slot, settings.get(name)) {
            (Slot::Count(slot), Some(SettingValue::Count(count))) => *slot = Some(count as u32),
            (Slot::Number(slot), Some(SettingValue::Number(number))) => *slot = Some(number),
            _ => {}
        }
    }
    message
}

/// How far the index of a field is.
pub fn from_status(status: &IndexStatus) -> proto::FieldIndex {
    use proto::field_index::Status;
    let remaining_seconds = status.remaining_seconds();
    let status = match status {
        IndexStatus::Waiting => Status::Waiting(proto::IndexWaiting {}),
        &IndexStatus::Building { done, total, seconds } => {
            Status::Building(proto::IndexBuilding { done, total, seconds, remaining_seconds })
        }
        IndexStatus::Failed { reason } => {
            Status::Failed(proto::IndexFailed { reason: reason.clone() })
        }
        IndexStatus::Ready { report, size_bytes } => Status::Ready(ready(report, *size_bytes)),
    };
    proto::FieldIndex { status: Some(status) }
}

fn ready(report: &IndexReport, size_bytes: u64) -> proto::IndexReady {
    let point = |point: &CalibrationPoint| proto::CalibrationPoint {
        k: point.k as u32,
        search_window: point.depth.window as u32,
        rerank: point.depth.rerank as u32,
        margin: point.depth.margin.map(|margin| margin.gap),
        recall: point.recall,
        error: point.error,
        worst: point.worst,
        rows: point.rows,
        expected: point.expected,
        cost: point.cost,
    };
    let points = |points: &[CalibrationPoint]| points.iter().map(point).collect();
    let zone = |zone: &Zone| proto::CalibrationZone {
        at_least: zone.at_least,
        usual: zone.usual,
        points: points(&zone.points),
        margins: points(&zone.margins),
        scans: points(&zone.scans),
    };
    let outside = |outside: &Outside| proto::OutsideCalibration {
        k: outside.k as u32,
        below: outside.below,
        zones: outside.zones.iter().map(zone).collect(),
    };
    let cost =
        |&(kind, cost): &(IndexKind, f32)| proto::IndexCost { kind: kind_number(kind), cost };
    proto::IndexReady {
        kind: kind_number(report.kind),
        size_bytes,
        degree: report.degree as u32,
        entry: report.entry,
        lists: report.lists as u32,
        taught_by: report.taught_by as u64,
        calibration_queries: report.calibration.queries as u64,
        calibrated_by_user: report.calibration.from_user,
        calibration: points(&report.calibration.points),
        margins: points(&report.calibration.margins),
        scans: points(&report.calibration.scans),
        far_scans: points(&report.calibration.far_scans),
        outside: report.calibration.outside.iter().map(outside).collect(),
        costs: report.costs.iter().map(cost).collect(),
    }
}

/// How far the index of a field is.
///
/// # Errors
/// If it is not set, or a kind is an unknown number.
pub fn to_status(message: proto::FieldIndex) -> Result<IndexStatus> {
    use proto::field_index::Status;
    match message.status {
        Some(Status::Waiting(_)) => Ok(IndexStatus::Waiting),
        Some(Status::Building(proto::IndexBuilding { done, total, seconds, .. })) => {
            Ok(IndexStatus::Building { done, total, seconds })
        }
        Some(Status::Failed(failed)) => Ok(IndexStatus::Failed { reason: failed.reason }),
        Some(Status::Ready(ready)) => {
            let size_bytes = ready.size_bytes;
            Ok(IndexStatus::Ready { report: to_report(ready)?, size_bytes })
        }
        None => Err(InvalidInput::new("indexes", Problem::Missing { expected: "a status" })),
    }
}

fn to_report(ready: proto::IndexReady) -> Result<IndexReport> {
    let point = |point: proto::CalibrationPoint| CalibrationPoint {
        k: point.k as usize,
        depth: Depth {
            margin: point.margin.map(|gap| Margin { rank: point.k as usize, gap }),
            ..Depth::new(point.search_window as usize, point.rerank as usize)
        },
        recall: point.recall,
        error: point.error,
        worst: point.worst,
        rows: point.rows,
        expected: point.expected,
        cost: point.cost,
    };
    let points = |points: Vec<proto::CalibrationPoint>| points.into_iter().map(point).collect();
    let zone = |zone: proto::CalibrationZone| Zone {
        at_least: zone.at_least,
        usual: zone.usual,
        points: points(zone.points),
        margins: points(zone.margins),
        scans: points(zone.scans),
    };
    let outside = |outside: proto::OutsideCalibration| Outside {
        k: outside.k as usize,
        below: outside.below,
        zones: outside.zones.into_iter().map(zone).collect(),
    };
    let calibration = Calibration {
        queries: ready.calibration_queries as usize,
        from_user: ready.calibrated_by_user,
        points: points(ready.calibration),
        margins: points(ready.margins),
        scans: points(ready.scans),
        far_scans: points(ready.far_scans),
        outside: ready.outside.into_iter().map(outside).collect(),
    };
    let cost = |cost: proto::IndexCost| Ok((kind(cost.kind)?, cost.cost));
    Ok(IndexReport {
        kind: kind(ready.kind)?,
        degree: ready.degree as usize,
        entry: ready.entry,
        lists: ready.lists as usize,
        taught_by: ready.taught_by as usize,
        calibration,
        costs: ready.costs.into_iter().map(cost).collect::<Result<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_the_way_there_and_back() {
        for text in [
            "auto",
            "auto:degree=9:lists=3",
            "flat",
            "ivf:lists=7",
            "graph:degree=64:window=99:prune=60:learned=20:alpha=1.5",
        ] {
            let settings: IndexSettings = text.parse().unwrap();
            assert_eq!(to_model(Some(from_model(&settings))).unwrap(), settings);
        }
        assert_eq!(to_model(None).unwrap(), IndexSettings::default());
        let message = proto::IndexSettings { kind: 9, ..Default::default() };
        assert_eq!(to_model(Some(message)).unwrap_err().path, "index.kind");
    }

    #[test]
    fn each_declared_setting_has_a_place_in_the_message() {
        let mut message = proto::IndexSettings::default();
        let places: Vec<_> = slots(&mut message).into_iter().map(|(name, _)| name).collect();
        let declared: Vec<_> = IndexSettings::declared().iter().map(|one| one.name).collect();
        assert_eq!(places, declared);
        for setting in IndexSettings::declared() {
            let index = IndexSettings::new(setting.kinds[0]);
            let index = index.with(setting.name, SettingValue::Count(2)).unwrap();
            let message = from_model(&index);
            assert_eq!(to_model(Some(message)).unwrap(), index, "{}", setting.name);
        }
    }

    #[test]
    fn settings_of_another_kind_are_refused() {
        let kind = kind_number(IndexKind::Graph);
        let message = proto::IndexSettings { kind, lists: Some(7), ..Default::default() };
        let error = to_model(Some(message)).unwrap_err();
        assert_eq!(error.to_string(), "index.lists: a setting of auto or ivf, not of graph");
    }

    #[test]
    fn statuses_survive_the_way_there_and_back() {
        let depth = Depth::new(16, 30);
        let point = CalibrationPoint {
            k: 10,
            depth,
            recall: 0.98,
            error: 0.003,
            worst: 0.97,
            rows: 0.99,
            expected: 0.975,
            cost: 7.0,
        };
        let report = IndexReport {
            kind: IndexKind::Graph,
            degree: 32,
            entry: 5,
            lists: 0,
            taught_by: 333,
            calibration: Calibration {
                queries: 9,
                from_user: true,
                points: vec![point],
                margins: vec![CalibrationPoint {
                    depth: Depth { margin: Some(Margin { rank: 10, gap: 0.25 }), ..depth },
                    ..point
                }],
                scans: vec![CalibrationPoint { k: 1, ..point }],
                far_scans: vec![CalibrationPoint { k: 100, ..point }],
                outside: vec![Outside {
                    k: 10,
                    below: 0.5,
                    zones: vec![Zone::new((0.25, true), vec![point], vec![])],
                }],
            },
            costs: vec![(IndexKind::Ivf, 9.0), (IndexKind::Graph, 7.0)],
        };
        for status in [
            IndexStatus::Waiting,
            IndexStatus::Building { done: 3, total: 12, seconds: 1.5 },
            IndexStatus::Failed { reason: "no space".into() },
            IndexStatus::Ready { report, size_bytes: 77 },
        ] {
            assert_eq!(to_status(from_status(&status)).unwrap(), status);
        }
        let building = IndexStatus::Building { done: 3, total: 12, seconds: 1.5 };
        assert_eq!(building.remaining_seconds(), Some(4.5));
        assert!(to_status(proto::FieldIndex { status: None }).is_err());
    }
}
