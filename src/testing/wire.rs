//! Finds the ends of requests in a byte stream, without storing it.

/// Counts the RESP requests (arrays of bulk strings) of one connection.
#[derive(Debug, Default)]
pub(super) struct Requests {
    state: State,
    /// The number of bulk strings that the current request still lacks.
    missing: u64,
    /// Something arrived that is no such request (TLS): request ends are unknown from then on.
    opaque: bool,
    done: u64,
}

#[derive(Debug, Default)]
enum State {
    /// Before `*` or `$`.
    #[default]
    Start,
    /// In the number after it.
    Number { marker: u8, value: u64 },
    /// In a bulk string, including its line end.
    Bulk { left: u64 },
}

impl Requests {
    /// Consumes the next bytes.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while let (false, Some(&byte)) = (self.opaque, bytes.first()) {
            let mut taken = 1;
            match &mut self.state {
                State::Start => match byte {
                    b'*' | b'$' => {
                        self.state = State::Number {
                            marker: byte,
                            value: 0,
                        };
                    }
                    _ => self.opaque = true,
                },
                State::Number { marker, value } => match byte {
                    b'0'..=b'9' => *value = value.saturating_mul(10) + u64::from(byte - b'0'),
                    b'\r' => {}
                    b'\n' if *marker == b'*' => {
                        self.missing = *value;
                        self.state = State::Start;
                    }
                    b'\n' => self.state = State::Bulk { left: *value + 2 },
                    _ => self.opaque = true,
                },
                State::Bulk { left } => {
                    taken = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(bytes.len());
                    *left -= taken as u64;
                    if *left == 0 {
                        self.state = State::Start;
                        self.missing = self.missing.saturating_sub(1);
                        self.done += u64::from(self.missing == 0);
                    }
                }
            }
            bytes = &bytes[taken..];
        }
    }

    /// Whether the bytes so far end at a request's end, as far as known.
    pub(super) fn at_end(&self) -> bool {
        self.opaque || (matches!(self.state, State::Start) && self.missing == 0)
    }

    /// The number of requests that ended since the last call.
    pub(super) fn take(&mut self) -> u64 {
        std::mem::take(&mut self.done)
    }
}

#[cfg(test)]
mod tests {
    use super::Requests;

    #[test]
    fn requests_are_counted_however_they_are_cut() {
        let stream = b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$2\r\n\r\n\r\n";
        for cut in 0..stream.len() {
            let mut requests = Requests::default();
            requests.feed(&stream[..cut]);
            assert_eq!(requests.at_end(), cut == 0 || cut == 14, "{cut}");
            requests.feed(&stream[cut..]);
            assert!(requests.at_end());
            assert_eq!(requests.take(), 2, "{cut}");
        }
        let mut tls = Requests::default();
        tls.feed(b"\x16\x03\x01");
        assert!(tls.at_end() && tls.take() == 0);
    }
}
