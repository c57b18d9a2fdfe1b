//! Packs requests into the bytes that go out, copying a value once.

use std::io::Write as _;

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
        let mut text = [0_u8; 20];
        let mut rest = &mut text[..];
        // 20 bytes hold any usize, so this cannot fail.
        let _ = write!(rest, "{value}");
        let len = 20 - rest.len();
        self.arg(&text[..len]);
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
        self.bytes.push(marker);
        // Writing into a Vec cannot fail.
        let _ = write!(self.bytes, "{value}");
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
