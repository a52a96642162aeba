//! Reading a type from a JSON value, with errors that know where they are.
//!
//! The text is parsed into a value first, and types are read from that: a module holds one small reader per type,
//! where reading from text takes several times the code.

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

use super::ConfigError;

impl serde::de::Error for ConfigError {
    fn custom<T: std::fmt::Display>(reason: T) -> Self {
        Self::new("", reason.to_string())
    }

    // The default ones can say any kind of number, for which a module would hold all of the formatting of floats.

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        invalid("type", found, expected)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        invalid("value", found, expected)
    }
}

#[cold]
#[inline(never)]
fn invalid(what: &str, found: Unexpected<'_>, expected: &dyn Expected) -> ConfigError {
    let found = match found {
        Unexpected::Bool(value) => format!("boolean `{value}`"),
        Unexpected::Unsigned(value) => format!("integer `{value}`"),
        Unexpected::Signed(value) => format!("integer `{value}`"),
        Unexpected::Float(_) => "floating point number".to_owned(),
        Unexpected::Str(text) => format!("string {text:?}"),
        Unexpected::Unit => "null".to_owned(),
        Unexpected::Seq => "sequence".to_owned(),
        Unexpected::Map => "map".to_owned(),
        Unexpected::Other(other) => other.to_owned(),
        _ => "something else".to_owned(),
    };
    ConfigError::custom(format_args!("invalid {what}: {found}, expected {expected}"))
}

/// A value to read from.
pub(super) struct Reader<'de>(pub(super) &'de Value);

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = ConfigError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Number(_) => self.deserialize_f64(visitor),
            Value::Array(items) => visitor.visit_seq(Items { items, next: 0 }),
            Value::Object(fields) => visitor.visit_map(Fields::of(fields)),
        }
    }

    // One kind of value per type, and one function that is no part of any of them for all others: a reader that
    // offers everything to every type is several times as large.

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        match self.0 {
            Value::Bool(value) => visitor.visit_bool(*value),
            other => Err(mismatch(other, &visitor)),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        match self.0.as_u64() {
            Some(number) => visitor.visit_u64(number),
            None => Err(mismatch(self.0, &visitor)),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        match self.0.as_i64() {
            Some(number) => visitor.visit_i64(number),
            None => Err(mismatch(self.0, &visitor)),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        match self.0 {
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), ..) => visitor.visit_u64(number),
                (None, Some(number), _) => visitor.visit_i64(number),
                (None, None, Some(number)) => visitor.visit_f64(number),
                (None, None, None) => Err(mismatch(self.0, &visitor)),
            },
            other => Err(mismatch(other, &visitor)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        match self.0 {
            Value::String(text) => visitor.visit_borrowed_str(text),
            other => Err(mismatch(other, &visitor)),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        match self.0 {
            Value::Array(items) => visitor.visit_seq(Items { items, next: 0 }),
            other => Err(mismatch(other, &visitor)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        match self.0 {
            Value::Object(fields) => visitor.visit_map(Fields::of(fields)),
            other => Err(mismatch(other, &visitor)),
        }
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        let variant = match self.0 {
            Value::String(name) => Variant { name, content: None },
            Value::Object(fields) if fields.len() == 1 => {
                let (name, content) = fields
                    .iter()
                    .next()
                    .ok_or_else(|| ConfigError::custom("is empty"))?;
                Variant {
                    name,
                    content: Some(content),
                }
            }
            other => {
                return Err(ConfigError::invalid_type(
                    unexpected(other),
                    &"a name, or an object with one field",
                ));
            }
        };
        visitor.visit_enum(variant)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

#[cold]
#[inline(never)]
fn mismatch(found: &Value, expected: &dyn Expected) -> ConfigError {
    ConfigError::invalid_type(unexpected(found), expected)
}

fn unexpected(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(value) => Unexpected::Bool(*value),
        Value::Number(_) => Unexpected::Other("number"),
        Value::String(text) => Unexpected::Str(text),
        Value::Array(_) => Unexpected::Seq,
        Value::Object(_) => Unexpected::Map,
    }
}

struct Items<'de> {
    items: &'de [Value],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = ConfigError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ConfigError> {
        let Some(item) = self.items.get(self.next) else {
            return Ok(None);
        };
        let index = self.next;
        self.next += 1;
        seed.deserialize(Reader(item))
            .map(Some)
            .map_err(|error| error.within(format!("[{index}]")))
    }
}

struct Fields<'de> {
    rest: serde_json::map::Iter<'de>,
    current: Option<(&'de str, &'de Value)>,
}

impl<'de> Fields<'de> {
    fn of(fields: &'de Map<String, Value>) -> Self {
        Self {
            rest: fields.iter(),
            current: None,
        }
    }
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = ConfigError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, ConfigError> {
        let Some((name, value)) = self.rest.next() else {
            return Ok(None);
        };
        self.current = Some((name, value));
        let reader: StrDeserializer<'_, ConfigError> = name.as_str().into_deserializer();
        seed.deserialize(reader)
            .map(Some)
            .map_err(|error| error.within(name))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ConfigError> {
        let (name, value) = self
            .current
            .take()
            .ok_or_else(|| ConfigError::custom("a value without a name"))?;
        seed.deserialize(Reader(value))
            .map_err(|error| error.within(name))
    }
}

struct Variant<'de> {
    name: &'de str,
    content: Option<&'de Value>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = ConfigError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), ConfigError> {
        let reader: StrDeserializer<'_, ConfigError> = self.name.into_deserializer();
        let variant = seed.deserialize(reader)?;
        Ok((variant, self))
    }
}

impl<'de> Variant<'de> {
    fn content(&self) -> Result<Reader<'de>, ConfigError> {
        let missing = || {
            ConfigError::custom(format!(
                "{:?} needs a value: {{\"{}\": ...}}",
                self.name, self.name
            ))
        };
        self.content.map(Reader).ok_or_else(missing)
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = ConfigError;

    fn unit_variant(self) -> Result<(), ConfigError> {
        match self.content {
            None | Some(Value::Null) => Ok(()),
            Some(_) => Err(ConfigError::custom("takes no value").within(self.name)),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, ConfigError> {
        seed.deserialize(self.content()?)
            .map_err(|error| error.within(self.name))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ConfigError> {
        self.content()?
            .deserialize_any(visitor)
            .map_err(|error| error.within(self.name))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        self.content()?
            .deserialize_any(visitor)
            .map_err(|error| error.within(self.name))
    }
}
