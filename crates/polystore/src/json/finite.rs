//! Whether a value is all of finite numbers.

use std::fmt;

use serde::{Serialize, ser};

/// A serializer that writes nothing and fails at the first number JSON does not have.
#[derive(Clone, Copy)]
pub(super) struct FiniteOnly;

#[derive(Debug)]
pub(super) enum NotFinite {
    Number,
    /// The type's own `Serialize` failed, which it did not do the first time.
    Other,
}

impl fmt::Display for NotFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a finite number")
    }
}

impl std::error::Error for NotFinite {}

impl ser::Error for NotFinite {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Other
    }
}

type Finite = Result<(), NotFinite>;

impl ser::Serializer for FiniteOnly {
    type Ok = ();
    type Error = NotFinite;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fn serialize_f32(self, number: f32) -> Finite {
        self.serialize_f64(number.into())
    }
    fn serialize_f64(self, number: f64) -> Finite {
        if number.is_finite() {
            Ok(())
        } else {
            Err(NotFinite::Number)
        }
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Finite {
        value.serialize(self)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Finite {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Finite {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, NotFinite> {
        Ok(self)
    }
    fn serialize_tuple(self, _: usize) -> Result<Self, NotFinite> {
        Ok(self)
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, NotFinite> {
        Ok(self)
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, NotFinite> {
        Ok(self)
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Self, NotFinite> {
        Ok(self)
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, NotFinite> {
        Ok(self)
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, NotFinite> {
        Ok(self)
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, _: &T) -> Finite {
        Ok(())
    }
    fn serialize_bool(self, _: bool) -> Finite {
        Ok(())
    }
    fn serialize_i8(self, _: i8) -> Finite {
        Ok(())
    }
    fn serialize_i16(self, _: i16) -> Finite {
        Ok(())
    }
    fn serialize_i32(self, _: i32) -> Finite {
        Ok(())
    }
    fn serialize_i64(self, _: i64) -> Finite {
        Ok(())
    }
    fn serialize_i128(self, _: i128) -> Finite {
        Ok(())
    }
    fn serialize_u8(self, _: u8) -> Finite {
        Ok(())
    }
    fn serialize_u16(self, _: u16) -> Finite {
        Ok(())
    }
    fn serialize_u32(self, _: u32) -> Finite {
        Ok(())
    }
    fn serialize_u64(self, _: u64) -> Finite {
        Ok(())
    }
    fn serialize_u128(self, _: u128) -> Finite {
        Ok(())
    }
    fn serialize_char(self, _: char) -> Finite {
        Ok(())
    }
    fn serialize_str(self, _: &str) -> Finite {
        Ok(())
    }
    fn serialize_bytes(self, _: &[u8]) -> Finite {
        Ok(())
    }
    fn serialize_none(self) -> Finite {
        Ok(())
    }
    fn serialize_unit(self) -> Finite {
        Ok(())
    }
    fn serialize_unit_struct(self, _: &'static str) -> Finite {
        Ok(())
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Finite {
        Ok(())
    }
}

impl ser::SerializeSeq for FiniteOnly {
    type Ok = ();
    type Error = NotFinite;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Finite {
        value.serialize(*self)
    }
    fn end(self) -> Finite {
        Ok(())
    }
}

impl ser::SerializeTuple for FiniteOnly {
    type Ok = ();
    type Error = NotFinite;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Finite {
        value.serialize(*self)
    }
    fn end(self) -> Finite {
        Ok(())
    }
}

impl ser::SerializeTupleStruct for FiniteOnly {
    type Ok = ();
    type Error = NotFinite;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Finite {
        value.serialize(*self)
    }
    fn end(self) -> Finite {
        Ok(())
    }
}

impl ser::SerializeTupleVariant for FiniteOnly {
    type Ok = ();
    type Error = NotFinite;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Finite {
        value.serialize(*self)
    }
    fn end(self) -> Finite {
        Ok(())
    }
}

impl ser::SerializeMap for FiniteOnly {
    type Ok = ();
    type Error = NotFinite;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, _: &T) -> Finite {
        // serde_json has refused a key that is not finite already.
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Finite {
        value.serialize(*self)
    }
    fn end(self) -> Finite {
        Ok(())
    }
}

impl ser::SerializeStruct for FiniteOnly {
    type Ok = ();
    type Error = NotFinite;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Finite {
        value.serialize(*self)
    }
    fn end(self) -> Finite {
        Ok(())
    }
}

impl ser::SerializeStructVariant for FiniteOnly {
    type Ok = ();
    type Error = NotFinite;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Finite {
        value.serialize(*self)
    }
    fn end(self) -> Finite {
        Ok(())
    }
}
