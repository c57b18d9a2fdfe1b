//! Packs requests into the bytes to send, copying a value once.

/// Digits of the longest 64-bit number.
pub(super) const DIGITS: usize = 20;

/// `value` in decimal, at the end of `text`. A request has a length for each of its arguments, so
/// `fmt` would cost more than the copying.
pub(super) fn decimal(mut value: u64, text: &mut [u8; DIGITS]) -> &[u8] {
    let mut start = DIGITS;
    loop {
        start -= 1;
        // A remainder modulo ten is one digit.
        text[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &text[start..];
        }
    }
}

/// Requests that are sent in one write and answered in one round trip.
#[derive(Debug, Default)]
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    /// How many replies they will get.
    pub(super) count: usize,
    /// Sends ASKING before each request: a Cluster's node then serves keys of a slot that it is
    /// taking over.
    pub(super) asking: bool,
    /// Which of the replies are ASKING's.
    asked: Vec<usize>,
    /// Set from MULTI to EXEC, where ASKING would be queued; the one before MULTI applies to all.
    in_multi: bool,
    /// The next argument is a command's name.
    at_name: bool,
}

impl Packed {
    /// Empties it and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
        self.asked.clear();
        self.in_multi = false;
    }

    /// Begins a request of `len` arguments, its name included.
    pub(super) fn begin(&mut self, len: usize) {
        if self.asking && !self.in_multi {
            self.asked.push(self.count);
            self.count += 1;
            self.bytes.extend_from_slice(b"*1\r\n$6\r\nASKING\r\n");
        }
        self.count += 1;
        self.at_name = true;
        self.number(b'*', len);
    }

    /// The replies without ASKING's.
    pub(super) fn answers<T>(&self, mut replies: Vec<T>) -> Vec<T> {
        for place in self.asked.iter().rev() {
            replies.remove(*place);
        }
        replies
    }

    pub(super) fn arg(&mut self, arg: &[u8]) {
        if self.asking && std::mem::take(&mut self.at_name) {
            self.in_multi =
                arg == b"MULTI" || (self.in_multi && arg != b"EXEC" && arg != b"DISCARD");
        }
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

    #[test]
    fn asking_goes_before_each_request_and_once_before_a_transaction() {
        let mut packed = Packed {
            asking: true,
            ..Packed::default()
        };
        packed.request(&[b"GET", b"MULTI"]);
        for name in ["MULTI", "INCR", "EXEC", "PING"] {
            packed.request(&[name.as_bytes()]);
        }
        let text = String::from_utf8(packed.bytes.clone()).unwrap();
        let words: Vec<&str> = text
            .lines()
            .filter(|l| !l.starts_with(['*', '$']))
            .collect();
        let expected = "ASKING GET MULTI ASKING MULTI INCR EXEC ASKING PING";
        assert_eq!(words.join(" "), expected);
        let replies = vec!["ok", "get", "ok", "multi", "incr", "exec", "ok", "ping"];
        assert_eq!(packed.count, replies.len());
        assert_eq!(
            packed.answers(replies),
            ["get", "multi", "incr", "exec", "ping"]
        );
    }
}
