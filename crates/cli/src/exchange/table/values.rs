//! Values of columns as JSON: the payload.
//!
//! Nulls are absent, and so is NaN, which is how pandas writes what is missing. Moments are RFC 3339
//! text in UTC, as a `datetime` path reads it.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type,
    Decimal256Type, DecimalType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, downcast_dictionary_array};
use arrow_schema::{DataType, TimeUnit};
use jiff::civil::{Date, Time};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Number, Value};

use super::vectors::Lists;
use crate::error::Result;

/// The part of a type that has no form in JSON, if there is one.
pub fn unsupported(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::Null
        | DataType::Boolean
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Date32
        | DataType::Date64
        | DataType::Timestamp(..)
        | DataType::Time32(_)
        | DataType::Time64(_) => None,
        number if number.is_numeric() => None,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _) => unsupported(field.data_type()),
        DataType::Struct(fields) => fields.iter().find_map(|field| unsupported(field.data_type())),
        DataType::Map(entries, _) => unsupported(entries.data_type()),
        DataType::Dictionary(_, values) => unsupported(values),
        other => Some(other),
    }
}

/// The value of a row; `None` for null.
///
/// # Errors
/// If it has no form in JSON.
pub fn value(array: &dyn Array, row: usize) -> Result<Option<Value>, String> {
    if array.is_null(row) {
        return Ok(None);
    }
    Ok(Some(match array.data_type() {
        DataType::Null => return Ok(None),
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).into(),
        DataType::Utf8View => array.as_string_view().value(row).into(),
        DataType::Struct(_) => structure(array, row)?,
        DataType::Map(..) => map(array, row)?,
        DataType::Dictionary(..) => return of_dictionary(array, row),
        data_type if data_type.is_integer() => integer(array, row),
        data_type if data_type.is_floating() => return float(array, row),
        data_type if data_type.is_decimal() => return decimal(array, row),
        data_type if data_type.is_temporal() => time(array, row)?.into(),
        other => match Lists::of(array) {
            Some(lists) => elements(&lists, row)?,
            None => return Err(format!("{other} has no form in JSON")),
        },
    }))
}

fn elements(lists: &Lists<'_>, row: usize) -> Result<Value, String> {
    let range = lists.range(row).unwrap_or(0..0);
    let values = range.map(|place| Ok(value(lists.child, place)?.unwrap_or(Value::Null)));
    values.collect::<Result<Vec<_>, String>>().map(Value::Array)
}

fn structure(array: &dyn Array, row: usize) -> Result<Value, String> {
    let members = array.as_struct();
    let mut object = Map::new();
    for (field, column) in members.fields().iter().zip(members.columns()) {
        if let Some(value) = value(column, row)? {
            object.insert(field.name().clone(), value);
        }
    }
    Ok(object.into())
}

fn map(array: &dyn Array, row: usize) -> Result<Value, String> {
    let entries = array.as_map().value(row);
    let mut object = Map::new();
    for entry in 0..entries.len() {
        let key = match value(entries.column(0), entry)? {
            Some(Value::String(key)) => key,
            Some(key) => key.to_string(),
            None => return Err("expected keys of a map, got null".into()),
        };
        object.insert(key, value(entries.column(1), entry)?.unwrap_or(Value::Null));
    }
    Ok(object.into())
}

fn of_dictionary(array: &dyn Array, row: usize) -> Result<Option<Value>, String> {
    downcast_dictionary_array!(
        array => match array.key(row) {
            Some(key) => value(array.values(), key),
            None => Ok(None),
        },
        other => Err(format!("expected a dictionary, got {other}"))
    )
}

fn native<T: ArrowPrimitiveType>(array: &dyn Array, row: usize) -> T::Native {
    array.as_primitive::<T>().value(row)
}

fn integer(array: &dyn Array, row: usize) -> Value {
    match array.data_type() {
        DataType::Int8 => native::<Int8Type>(array, row).into(),
        DataType::Int16 => native::<Int16Type>(array, row).into(),
        DataType::Int32 => native::<Int32Type>(array, row).into(),
        DataType::Int64 => native::<Int64Type>(array, row).into(),
        DataType::UInt8 => native::<UInt8Type>(array, row).into(),
        DataType::UInt16 => native::<UInt16Type>(array, row).into(),
        DataType::UInt32 => native::<UInt32Type>(array, row).into(),
        _ => native::<UInt64Type>(array, row).into(),
    }
}

fn float(array: &dyn Array, row: usize) -> Result<Option<Value>, String> {
    let value = match array.data_type() {
        DataType::Float16 => shortest(native::<Float16Type>(array, row).to_f32()),
        DataType::Float32 => shortest(native::<Float32Type>(array, row)),
        _ => native::<Float64Type>(array, row),
    };
    match Number::from_f64(value) {
        Some(number) => Ok(Some(number.into())),
        None if value.is_nan() => Ok(None),
        None => Err(format!("expected a finite number, got {value}")),
    }
}

/// The double that reads like the float: 0.1, not 0.10000000149011612.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

fn decimal(array: &dyn Array, row: usize) -> Result<Option<Value>, String> {
    let text = match array.data_type() {
        DataType::Decimal32(..) => digits::<Decimal32Type>(array, row),
        DataType::Decimal64(..) => digits::<Decimal64Type>(array, row),
        DataType::Decimal128(..) => digits::<Decimal128Type>(array, row),
        _ => digits::<Decimal256Type>(array, row),
    };
    if let Ok(integer) = text.parse::<i64>() {
        return Ok(Some(integer.into()));
    }
    let number = text.parse().ok().and_then(Number::from_f64);
    number.map(|number| Some(number.into())).ok_or_else(|| format!("expected a number, got {text}"))
}

fn digits<T: DecimalType>(array: &dyn Array, row: usize) -> String {
    array.as_primitive::<T>().value_as_string(row)
}

fn time(array: &dyn Array, row: usize) -> Result<String, String> {
    let beyond = |count: i64| format!("expected a moment of the years 0 to 9999, got {count}");
    let (count, text) = match array.data_type() {
        DataType::Timestamp(unit, _) => {
            let (count, moment) = timestamp(array, row, *unit);
            (count, moment.map(|moment| moment.to_string()))
        }
        DataType::Date32 => {
            let days = i64::from(native::<Date32Type>(array, row));
            (days, date(days).map(|date| date.to_string()))
        }
        DataType::Date64 => {
            let milliseconds = native::<Date64Type>(array, row);
            (milliseconds, date(milliseconds.div_euclid(86_400_000)).map(|date| date.to_string()))
        }
        DataType::Time32(_) | DataType::Time64(_) => {
            let since_midnight = since_midnight(array, row);
            let time = Time::midnight().checked_add(since_midnight).ok();
            (since_midnight.as_secs(), time.map(|time| time.to_string()))
        }
        other => return Err(format!("{other} has no form in JSON")),
    };
    text.filter(|text| !text.starts_with('-')).ok_or_else(|| beyond(count))
}

fn timestamp(array: &dyn Array, row: usize, unit: TimeUnit) -> (i64, Option<Timestamp>) {
    let count = match unit {
        TimeUnit::Second => native::<TimestampSecondType>(array, row),
        TimeUnit::Millisecond => native::<TimestampMillisecondType>(array, row),
        TimeUnit::Microsecond => native::<TimestampMicrosecondType>(array, row),
        TimeUnit::Nanosecond => native::<TimestampNanosecondType>(array, row),
    };
    let moment = match unit {
        TimeUnit::Second => Timestamp::from_second(count),
        TimeUnit::Millisecond => Timestamp::from_millisecond(count),
        TimeUnit::Microsecond => Timestamp::from_microsecond(count),
        TimeUnit::Nanosecond => Timestamp::from_nanosecond(count.into()),
    };
    (count, moment.ok())
}

fn date(days: i64) -> Option<Date> {
    let since = SignedDuration::try_from_hours(days.checked_mul(24)?)?;
    Date::constant(1970, 1, 1).checked_add(since).ok()
}

fn since_midnight(array: &dyn Array, row: usize) -> SignedDuration {
    match array.data_type() {
        DataType::Time32(TimeUnit::Second) => {
            SignedDuration::from_secs(native::<Time32SecondType>(array, row).into())
        }
        DataType::Time32(_) => {
            SignedDuration::from_millis(native::<Time32MillisecondType>(array, row).into())
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            SignedDuration::from_micros(native::<Time64MicrosecondType>(array, row))
        }
        _ => SignedDuration::from_nanos(native::<Time64NanosecondType>(array, row)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Int8Type as Key;
    use arrow_array::{
        ArrayRef, Date64Array, Decimal128Array, DictionaryArray, Float16Array, Float32Array,
        Float64Array, Int8Array, StringArray, Time32SecondArray, Time64NanosecondArray,
        TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
    };
    use half::f16;
    use serde_json::json;

    use super::*;

    fn all(column: &dyn Array) -> Vec<Result<Option<Value>, String>> {
        (0..column.len()).map(|row| value(column, row)).collect()
    }

    #[test]
    fn numbers_read_as_they_were_written() {
        let thirds = [1.0_f32 / 3.0, 0.1, 1e-45];
        assert_eq!(
            all(&Float32Array::from(thirds.to_vec())),
            [json!(0.333_333_34), json!(0.1), json!(1e-45)].map(|value| Ok(Some(value)))
        );
        let half = Float16Array::from(vec![f16::from_f32(0.1)]);
        assert_eq!(all(&half), [Ok(Some(json!(0.099_975_586)))]);
        assert_eq!(all(&UInt64Array::from(vec![u64::MAX])), [Ok(Some(json!(u64::MAX)))]);
        let odd = Float64Array::from(vec![f64::NAN, f64::INFINITY]);
        let infinite = Err("expected a finite number, got inf".to_owned());
        assert_eq!(all(&odd), [Ok(None), infinite]);
        let decimals = Decimal128Array::from(vec![i128::from(i64::MAX), i128::MAX]);
        let whole = decimals.clone().with_precision_and_scale(38, 0).unwrap();
        assert_eq!(all(&whole)[0], Ok(Some(json!(i64::MAX))));
        let parts = decimals.with_precision_and_scale(38, 2).unwrap();
        assert_eq!(all(&parts)[0], Ok(Some(json!(92_233_720_368_547_758.07))));
    }

    #[test]
    fn moments_are_rfc_3339_in_utc() {
        let texts = |column: &dyn Array| -> Vec<String> {
            all(column)
                .into_iter()
                .map(|value| match value {
                    Ok(Some(Value::String(text))) => text,
                    other => format!("{other:?}"),
                })
                .collect()
        };
        let seconds = TimestampSecondArray::from(vec![0, 253_402_207_200]);
        assert_eq!(texts(&seconds), ["1970-01-01T00:00:00Z", "9999-12-30T22:00:00Z"]);
        let zoned = TimestampMillisecondArray::from(vec![-1]).with_timezone("+02:00");
        assert_eq!(texts(&zoned), ["1969-12-31T23:59:59.999Z"]);
        let nanos = TimestampNanosecondArray::from(vec![1]);
        assert_eq!(texts(&nanos), ["1970-01-01T00:00:00.000000001Z"]);
        assert_eq!(texts(&Date64Array::from(vec![-1])), ["1969-12-31"]);
        assert_eq!(texts(&Time32SecondArray::from(vec![61])), ["00:01:01"]);
        assert_eq!(texts(&Time64NanosecondArray::from(vec![1])), ["00:00:00.000000001"]);
        for beyond in [i64::MIN, i64::MAX, -100_000_000_000] {
            let beyond = TimestampSecondArray::from(vec![beyond]);
            assert!(all(&beyond)[0].as_ref().unwrap_err().contains("the years 0 to 9999"));
        }
        assert!(all(&Date64Array::from(vec![i64::MIN]))[0].is_err());
        assert!(all(&Time32SecondArray::from(vec![-1]))[0].is_err());
    }

    #[test]
    fn a_dictionary_is_its_values_and_either_may_be_null() {
        let values = Arc::new(StringArray::from(vec![Some("a"), None])) as ArrayRef;
        let keys = Int8Array::from(vec![Some(0), Some(1), None]);
        let column = DictionaryArray::<Key>::new(keys, values);
        assert_eq!(all(&column), [Ok(Some(json!("a"))), Ok(None), Ok(None)]);
    }

    #[test]
    fn what_has_no_form_in_json_is_found_wherever_it_is() {
        let list = DataType::new_list(DataType::Binary, true);
        assert_eq!(unsupported(&list), Some(&DataType::Binary));
        assert!(unsupported(&DataType::Duration(TimeUnit::Second)).is_some());
        assert_eq!(unsupported(&DataType::new_list(DataType::Utf8View, true)), None);
    }
}
