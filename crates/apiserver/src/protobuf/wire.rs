//! Protobuf's wire format: numbered fields of numbers and bytes. Pure.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

/// First bytes of every body, before the message.
pub(super) const MAGIC: &[u8] = b"k8s\0";

/// A field's content before its type is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Raw<'a> {
    Number(u64),
    /// Four or eight bytes.
    Fixed(&'a [u8]),
    Bytes(&'a [u8]),
}

/// The fields of a message in order; an error is the last item.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next number that stands by itself.
    pub(super) fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or("it ends within a number")?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number is too long".into())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], String> {
        let length = usize::try_from(length).ok().filter(|length| *length <= self.rest.len());
        let (taken, rest) = self.rest.split_at(length.ok_or("it ends within a field")?);
        self.rest = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u64, Raw<'a>), String> {
        let tag = self.varint()?;
        let raw = match tag & 7 {
            0 => Raw::Number(self.varint()?),
            1 => Raw::Fixed(self.take(8)?),
            2 => {
                let length = self.varint()?;
                Raw::Bytes(self.take(length)?)
            }
            5 => Raw::Fixed(self.take(4)?),
            other => return Err(format!("wire type {other} is not used")),
        };
        Ok((tag >> 3, raw))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Raw<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Text must be UTF-8.
pub(super) fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a text is not UTF-8".into())
}

/// Signed numbers are written in two's complement.
pub(super) fn signed(number: u64) -> i64 {
    i64::from_ne_bytes(number.to_ne_bytes())
}

/// As [`signed`], in the low four bytes.
pub(super) fn signed_32(number: u64) -> i32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

/// A message that is being written, field after field.
#[derive(Debug, Default)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// A message whose only field is another.
    pub(crate) fn of(number: u32, inner: &Self) -> Self {
        let mut out = Self::default();
        out.message(number, inner);
        out
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    pub(crate) fn number(&mut self, number: u32, value: u64) {
        self.varint(u64::from(number) << 3);
        self.varint(value);
    }

    pub(crate) fn signed(&mut self, number: u32, value: i64) {
        self.number(number, u64::from_ne_bytes(value.to_ne_bytes()));
    }

    pub(crate) fn double(&mut self, number: u32, value: f64) {
        self.varint(u64::from(number) << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.varint(u64::from(number) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// More fields, which are written already.
    #[cfg(test)]
    pub(crate) fn append(&mut self, fields: &[u8]) {
        self.0.extend_from_slice(fields);
    }

    pub(crate) fn message(&mut self, number: u32, inner: &Self) {
        self.bytes(number, &inner.0);
    }

    /// A message that is written where it stands.
    pub(crate) fn nested<E>(&mut self, number: u32, write: impl FnOnce(&mut Self) -> Result<(), E>) -> Result<(), E> {
        self.varint(u64::from(number) << 3 | 2);
        let from = self.0.len();
        write(self)?;
        let end = self.0.len();
        self.varint((end - from) as u64);
        // The length comes first.
        let length = self.0.len() - end;
        self.0[from..].rotate_right(length);
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}
