//! Memory of a decoded message, estimated from its bytes and its definition.
//!
//! The estimate only walks over tags and lengths, and is an upper bound: the size of a struct is
//! that of all its fields, vectors grow to twice their content, and the first entry of a map
//! allocates a node for eleven.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

use crate::proto::FILE_DESCRIPTOR_SET;

/// Largest size of the handle of a vector, a string, a map or a slice.
const HANDLE_BYTES: u64 = 32;
/// Size of a number with padding; doubled if it is optional.
const SCALAR_BYTES: u64 = 8;
/// Capacity factor of a growing vector.
const GROWTH: u64 = 3;
/// Capacity of a map node, and its smallest number of entries.
const NODE_ENTRIES: [u64; 2] = [11, 5];
/// Nesting depth that the decoder accepts.
const MAX_DEPTH: u32 = 100;

static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::read);

/// Bytes, besides `bytes` themselves, that decoding them as this message takes; for malformed
/// bytes, until decoding fails.
pub fn decoded_bytes(message: &str, bytes: &[u8]) -> u64 {
    let Some(shape) = SCHEMA.messages.get(message) else { return 0 };
    let mut cost = shape.size;
    walk(shape, bytes, MAX_DEPTH, &mut cost);
    cost
}

#[derive(Default)]
struct Schema {
    messages: HashMap<String, Shape>,
}

#[derive(Default)]
struct Shape {
    /// Size of the struct, without what it points to.
    size: u64,
    is_map_entry: bool,
    fields: HashMap<u32, Field>,
}

struct Field {
    kind: Kind,
    repeated: bool,
}

enum Kind {
    Message(String),
    Text,
    /// A slice of the message.
    Bytes,
    /// Size of a value, in bytes.
    Scalar(u64),
}

/// Adds the cost of a message's fields. `None` if its bytes are malformed.
fn walk(shape: &Shape, mut bytes: &[u8], depth: u32, cost: &mut u64) -> Option<()> {
    let mut entries = 0;
    while !bytes.is_empty() {
        let (tag, wire) = decode_key(&mut bytes).ok()?;
        let field = shape.fields.get(&tag);
        let length = match wire {
            WireType::Varint => {
                decode_varint(&mut bytes).ok()?;
                0
            }
            WireType::ThirtyTwoBit => 4,
            WireType::SixtyFourBit => 8,
            WireType::LengthDelimited => decode_varint(&mut bytes).ok()?,
            // Groups are not in the definition; the decoder skips them.
            WireType::StartGroup | WireType::EndGroup => continue,
        };
        let (value, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
        bytes = rest;
        let Some(field) = field else { continue };
        let growth = if field.repeated { GROWTH } else { 1 };
        let bytes = match &field.kind {
            Kind::Message(name) => {
                let nested = SCHEMA.messages.get(name)?;
                if depth > 0 {
                    walk(nested, value, depth - 1, cost)?;
                }
                if nested.is_map_entry {
                    entries += 1;
                    nested.entry_bytes(entries)
                } else {
                    growth * nested.size
                }
            }
            Kind::Text => (growth * HANDLE_BYTES).saturating_add(length),
            Kind::Bytes => growth * HANDLE_BYTES,
            Kind::Scalar(4 | 8) if wire == WireType::LengthDelimited => growth * value.len() as u64,
            // At least one byte each.
            Kind::Scalar(_) => growth * SCALAR_BYTES * length.max(1),
        };
        *cost = cost.saturating_add(bytes);
    }
    Some(())
}

impl Schema {
    fn read() -> Self {
        // The definition was compiled in: if it were malformed, reflection would not start.
        let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap_or_default().file;
        let mut descriptors = HashMap::new();
        for file in &files {
            for message in &file.message_type {
                collect(file.package(), message, &mut descriptors);
            }
        }
        let shape = |(name, message): (&String, &&DescriptorProto)| {
            (name.clone(), Shape::of(message, &descriptors))
        };
        Self { messages: descriptors.iter().map(shape).collect() }
    }
}

type Descriptors<'d> = HashMap<String, &'d DescriptorProto>;

fn collect<'d>(parent: &str, message: &'d DescriptorProto, all: &mut Descriptors<'d>) {
    let name = format!("{parent}.{}", message.name());
    for nested in &message.nested_type {
        collect(&name, nested, all);
    }
    all.insert(name, message);
}

impl Shape {
    /// Cost of the `number`-th entry of a map: a whole node for the first, a share of the emptiest
    /// possible node for later ones.
    fn entry_bytes(&self, number: u64) -> u64 {
        let [room, least] = NODE_ENTRIES;
        self.size * room / if number == 1 { 1 } else { least }
    }

    fn of(message: &DescriptorProto, all: &Descriptors<'_>) -> Self {
        let field = |field: &FieldDescriptorProto| {
            let kind = match field.r#type() {
                Type::Message | Type::Group => Kind::Message(message_of(field)),
                Type::String => Kind::Text,
                Type::Bytes => Kind::Bytes,
                Type::Float | Type::Fixed32 | Type::Sfixed32 => Kind::Scalar(4),
                Type::Double | Type::Fixed64 | Type::Sfixed64 => Kind::Scalar(8),
                _ => Kind::Scalar(1),
            };
            let repeated = field.label() == Label::Repeated;
            Some((u32::try_from(field.number()).ok()?, Field { kind, repeated }))
        };
        let is_map_entry = message.options.as_ref().is_some_and(|options| options.map_entry());
        Self {
            size: struct_bytes(message, all, MAX_DEPTH / 4),
            is_map_entry,
            fields: message.field.iter().filter_map(field).collect(),
        }
    }
}

/// Name of a field's message, without the leading dot of a full name.
fn message_of(field: &FieldDescriptorProto) -> String {
    field.type_name().trim_start_matches('.').to_owned()
}

/// Size of a message's struct. Recursive ones are boxed, so the depth at which this stops makes no
/// difference.
fn struct_bytes(message: &DescriptorProto, all: &Descriptors<'_>, depth: u32) -> u64 {
    let size = |field: &FieldDescriptorProto| match field.r#type() {
        _ if field.label() == Label::Repeated => HANDLE_BYTES,
        Type::String | Type::Bytes => HANDLE_BYTES,
        Type::Message if depth > 0 => {
            let nested =
                all.get(&message_of(field)).filter(|nested| !std::ptr::eq(**nested, message));
            SCALAR_BYTES + nested.map_or(0, |nested| struct_bytes(nested, all, depth - 1))
        }
        _ => SCALAR_BYTES * if field.proto3_optional() { 2 } else { 1 },
    };
    // A `oneof` holds one of its fields and a discriminant.
    let mut alternatives = HashMap::new();
    let mut sum = 0;
    for field in &message.field {
        match field.oneof_index.filter(|_| !field.proto3_optional()) {
            None => sum += size(field),
            Some(index) => {
                let largest: &mut u64 = alternatives.entry(index).or_default();
                *largest = size(field).max(*largest);
            }
        }
    }
    sum + alternatives.values().map(|largest| largest + SCALAR_BYTES).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use super::*;
    use crate::proto::{
        BatchQueryRequest, FuseRequest, GetPointsRequest, Point, PointId, SearchRequest,
        UpsertPointsRequest, Vector, point_id, vector,
    };

    fn cost<M: Message + prost::Name>(message: &M) -> u64 {
        decoded_bytes(&M::full_name(), &message.encode_to_vec())
    }

    #[test]
    fn structs_are_not_larger_than_what_is_counted_for_them() {
        let check = |name: &str, size: usize| {
            let counted = SCHEMA.messages[name].size;
            assert!(counted >= size as u64 && counted < 3 * size as u64, "{name} {counted} {size}");
        };
        check("lanner.v1.SearchRequest", size_of::<SearchRequest>());
        check("lanner.v1.Point", size_of::<Point>());
        check("lanner.v1.PointId", size_of::<PointId>());
        check("lanner.v1.Vector", size_of::<Vector>());
        check("lanner.v1.FuseRequest", size_of::<FuseRequest>());
    }

    #[test]
    fn what_is_small_on_the_wire_and_large_in_memory_is_counted_as_it_is() {
        let searches = vec![SearchRequest::default(); 1000];
        let batch = BatchQueryRequest { collection: "c".into(), searches };
        assert_eq!(batch.encoded_len(), 2003);
        assert!(cost(&batch) >= (2000 * size_of::<SearchRequest>()) as u64);
        let ids = vec![PointId::default(); 1000];
        let get = GetPointsRequest { ids, ..Default::default() };
        assert!(cost(&get) >= (2000 * size_of::<PointId>()) as u64);
        // A vector of a point: a map node.
        let vectors = [(String::new(), Vector::default())];
        let points = vec![Point { vectors: vectors.into(), ..Default::default() }; 1000];
        let upsert = UpsertPointsRequest { points, ..Default::default() };
        let node = 11 * (size_of::<Vector>() + size_of::<String>()) as u64;
        assert!((1000 * node..3000 * node).contains(&cost(&upsert)), "{}", cost(&upsert));
    }

    #[test]
    fn vectors_as_bytes_cost_nothing_beside_the_message() {
        let vector = |values| Vector { values: Some(values), ..Default::default() };
        let bytes = vector(vector::Values::F32(vec![0; 1 << 20].into()));
        assert!(cost(&bytes) < 1000, "{}", cost(&bytes));
        let floats = crate::proto::FloatValues { values: vec![0.0; 1 << 18] };
        let floats = vector(vector::Values::Floats(floats));
        assert!((1 << 20..4 << 20).contains(&cost(&floats)), "{}", cost(&floats));
        let id = PointId { id: Some(point_id::Id::Text("x".repeat(500))) };
        assert!((500..1000).contains(&cost(&id)));
    }

    #[test]
    fn malformed_bytes_cost_what_came_before() {
        let ids = vec![PointId::default(); 1000];
        let mut bytes = GetPointsRequest { ids, ..Default::default() }.encode_to_vec();
        let whole = decoded_bytes("lanner.v1.GetPointsRequest", &bytes);
        bytes.extend([0xff; 11]);
        assert_eq!(decoded_bytes("lanner.v1.GetPointsRequest", &bytes), whole);
        assert!(decoded_bytes("lanner.v1.GetPointsRequest", &[0x12, 0x80]) < 200);
    }
}
