//! Packs requests into the bytes that go out, copying a value once.

/// Digits of the longest 64-bit number.
pub(super) const DIGITS: usize = 20;

/// `value` in decimal, at the end of `text`: a request holds a length for each of its arguments, so `fmt` would cost more
/// than the copying.
pub(super) fn decimal(mut value: u64, text: &mut [u8; DIGITS]) -> &[u8] {
    let mut start = DIGITS;
    loop {
        start -= 1;
        // A remainder of ten is a digit.
        text[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &text[start..];
        }
    }
}

/// Requests that go out in one write and come back in one round trip.
#[derive(Debug, Default)]
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    /// How many replies they will have.
    pub(super) count: usize,
}

impl Packed {
    /// Empty, and with the room it had.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// Begins a request of `len` arguments, its name included.
    pub(super) fn begin(&mut self, len: usize) {
        self.count += 1;
        self.number(b'*', len);
    }

    pub(super) fn arg(&mut self, arg: &[u8]) {
        self.number(b'$', arg.len());
        self.bytes.extend_from_slice(arg);
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub(super) fn number_arg(&mut self, value: usize) {
        let mut text = [0; DIGITS];
        self.arg(decimal(value as u64, &mut text));
    }

    pub(super) fn select(&mut self, database: u32) {
        self.request(&[b"SELECT", database.to_string().as_bytes()]);
    }

    /// A whole request.
    pub(super) fn request(&mut self, args: &[&[u8]]) {
        self.begin(args.len());
        for arg in args {
            self.arg(arg);
        }
    }

    fn number(&mut self, marker: u8, value: usize) {
        let mut text = [0; DIGITS];
        self.bytes.push(marker);
        self.bytes
            .extend_from_slice(decimal(value as u64, &mut text));
        self.bytes.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::Packed;

    #[test]
    fn requests_are_packed_as_redis_packs_them() {
        let mut packed = Packed::default();
        packed.request(&[b"SET", b"k", b"\r\n\x00"]);
        packed.begin(2);
        packed.arg(b"GET");
        packed.number_arg(1_234);
        let expected = [
            redis::cmd("SET")
                .arg("k")
                .arg(b"\r\n\x00")
                .get_packed_command(),
            redis::cmd("GET").arg(1_234).get_packed_command(),
        ];
        assert_eq!(packed.bytes, expected.concat());
        assert_eq!(packed.count, 2);
    }
}
