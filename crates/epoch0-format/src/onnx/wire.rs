//! The wire format of protocol buffers: fields of a message, borrowed from the file.
//!
//! A library would decode into messages of its own: here every payload keeps its place in the file, so that weights
//! stay mapped and a file with other weights is written by copying all that lies between them.

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireFault {
    /// A number that does not end.
    #[error("a number is cut short or has more than 10 bytes")]
    Varint,
    /// A payload that is longer than what is left.
    #[error("a field claims {found} bytes, {left} are left: the file may be cut short")]
    Length {
        /// Length of the payload.
        found: u64,
        /// Bytes that are left.
        left: u64,
    },
    /// A kind of field that there is none of.
    #[error("a field has wire type {0}, allowed 0, 1, 2 and 5")]
    Kind(u8),
    /// A field of another kind than its number says.
    #[error("field {0} is of another kind than ONNX has there")]
    Type(u32),
    /// Text that is none.
    #[error("field {0} is not UTF-8")]
    Utf8(u32),
    /// More than a reader should take.
    #[error("there are more than {0} fields")]
    Fields(usize),
    /// Messages in messages.
    #[error("messages are nested more than {0} deep")]
    Depth(usize),
}

/// A field's payload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Payload<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

/// A field with its number and all its bytes, tag included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub number: u32,
    pub payload: Payload<'a>,
    pub whole: &'a [u8],
}

impl<'a> Field<'a> {
    pub(super) fn bytes(&self) -> Result<&'a [u8], WireFault> {
        match self.payload {
            Payload::Bytes(bytes) => Ok(bytes),
            _ => Err(WireFault::Type(self.number)),
        }
    }

    pub(super) fn text(&self) -> Result<&'a str, WireFault> {
        std::str::from_utf8(self.bytes()?).map_err(|_| WireFault::Utf8(self.number))
    }

    pub(super) fn int(&self) -> Result<i64, WireFault> {
        match self.payload {
            Payload::Varint(value) => Ok(value as i64),
            _ => Err(WireFault::Type(self.number)),
        }
    }

    /// Appends integers, packed or one.
    pub(super) fn ints(&self, all: &mut Vec<i64>) -> Result<(), WireFault> {
        match self.payload {
            Payload::Varint(value) => all.push(value as i64),
            Payload::Bytes(mut bytes) => {
                while !bytes.is_empty() {
                    all.push(varint(&mut bytes)? as i64);
                }
            }
            _ => return Err(WireFault::Type(self.number)),
        }
        Ok(())
    }

    pub(super) fn float(&self) -> Result<f32, WireFault> {
        match self.payload {
            Payload::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
            _ => Err(WireFault::Type(self.number)),
        }
    }

    /// Appends floats, packed or one.
    pub(super) fn floats(&self, all: &mut Vec<f32>) -> Result<(), WireFault> {
        match self.payload {
            Payload::Fixed32(bytes) => all.push(f32::from_le_bytes(bytes)),
            Payload::Bytes(bytes) => {
                let (floats, rest) = bytes.as_chunks::<4>();
                if !rest.is_empty() {
                    return Err(WireFault::Type(self.number));
                }
                all.extend(floats.iter().map(|&bytes| f32::from_le_bytes(bytes)));
            }
            _ => return Err(WireFault::Type(self.number)),
        }
        Ok(())
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, WireFault> {
    let mut value = 0u64;
    for at in 0..10 {
        let Some((&byte, rest)) = bytes.split_first() else { return Err(WireFault::Varint) };
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(7 * at).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(WireFault::Varint)
}

/// The next field of a message, or nothing at its end.
pub(super) fn next<'a>(rest: &mut &'a [u8]) -> Result<Option<Field<'a>>, WireFault> {
    if rest.is_empty() {
        return Ok(None);
    }
    let start = *rest;
    let tag = varint(rest)?;
    let number = u32::try_from(tag >> 3).map_err(|_| WireFault::Varint)?;
    let mut take = |n: u64| {
        let left = rest.len() as u64;
        if n > left {
            return Err(WireFault::Length { found: n, left });
        }
        let (head, tail) = rest.split_at(n as usize);
        *rest = tail;
        Ok(head)
    };
    let payload = match tag & 7 {
        0 => Payload::Varint(varint(rest)?),
        1 => Payload::Fixed64(take(8)?.try_into().unwrap_or([0; 8])),
        2 => {
            let length = varint(rest)?;
            let left = rest.len() as u64;
            if length > left {
                return Err(WireFault::Length { found: length, left });
            }
            let (head, tail) = rest.split_at(length as usize);
            *rest = tail;
            Payload::Bytes(head)
        }
        5 => Payload::Fixed32(take(4)?.try_into().unwrap_or([0; 4])),
        kind => return Err(WireFault::Kind(kind as u8)),
    };
    Ok(Some(Field { number, payload, whole: &start[..start.len() - rest.len()] }))
}

/// Appends a number.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the tag and the length of a payload of bytes.
pub(super) fn put_length(out: &mut Vec<u8>, number: u32, length: u64) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, length);
}

/// Appends a field of bytes.
pub(super) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_length(out, number, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a field that is a number.
pub(super) fn put_int(out: &mut Vec<u8>, number: u32, value: i64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value as u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back() {
        let mut message = Vec::new();
        put_int(&mut message, 1, -3);
        put_bytes(&mut message, 2, b"name");
        put_int(&mut message, 300, 1 << 40);
        let mut rest = &message[..];
        let first = next(&mut rest).unwrap().unwrap();
        assert_eq!((first.number, first.int()), (1, Ok(-3)));
        let second = next(&mut rest).unwrap().unwrap();
        assert_eq!((second.number, second.text()), (2, Ok("name")));
        let third = next(&mut rest).unwrap().unwrap();
        assert_eq!((third.number, third.int()), (300, Ok(1 << 40)));
        assert!(next(&mut rest).unwrap().is_none());
    }

    #[test]
    fn what_does_not_end_is_refused() {
        assert_eq!(next(&mut &[0xff; 11][..]).unwrap_err(), WireFault::Varint);
        assert_eq!(next(&mut &[0x08][..]).unwrap_err(), WireFault::Varint);
        assert_eq!(next(&mut &[0x12, 5, 1][..]).unwrap_err(), WireFault::Length { found: 5, left: 1 });
        assert_eq!(next(&mut &[0x0b][..]).unwrap_err(), WireFault::Kind(3));
    }
}
