//! What a server's refusal says about where to go instead. Each such refusal comes before the first
//! write.

use super::{address::Address, refusal::unwrapped};
use redis::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    /// Another node has the slot now.
    Moved(Address),
    /// Another node is taking the slot over, and has these keys already.
    Ask(Address),
    /// The slot and some of the keys are on their way to another node.
    TryAgain,
    /// Not a primary any more.
    ReadOnly,
    /// No server can run it now.
    Unsettled,
}

/// Why a server gave no reply, as far as that decides whether to ask another one.
#[derive(Clone, Debug)]
pub(super) enum Cause {
    /// Could not connect.
    Unreached,
    /// The server redirected us.
    Elsewhere(Redirect),
    /// It refused for its own reason, or broke off: asking another server does not help.
    Refused,
    /// It did not answer.
    Lost,
}

impl Redirect {
    pub(super) fn of(reply: &Value) -> Option<Self> {
        let Value::ServerError(error) = reply else {
            return None;
        };
        let (code, details) = unwrapped(error.code(), error.details().unwrap_or_default());
        match code {
            "MOVED" => Some(Self::Moved(address(details)?)),
            "ASK" => Some(Self::Ask(address(details)?)),
            "TRYAGAIN" => Some(Self::TryAgain),
            "READONLY" => Some(Self::ReadOnly),
            "CLUSTERDOWN" | "MASTERDOWN" | "LOADING" => Some(Self::Unsettled),
            _ => None,
        }
    }
}

/// `<slot> <host>:<port>`.
fn address(details: &str) -> Option<Address> {
    Address::parse(details.split_once(' ')?.1.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect(line: &str) -> Option<Redirect> {
        Redirect::of(&redis::parse_redis_value(line.as_bytes()).unwrap())
    }

    #[test]
    fn refusals_say_where_to_go() {
        let moved = redirect("-MOVED 3999 127.0.0.1:6381\r\n");
        assert_eq!(
            moved,
            Some(Redirect::Moved(Address::new("127.0.0.1", 6_381)))
        );
        let ask = redirect("-ASK 3999 ::1:6381\r\n");
        assert_eq!(ask, Some(Redirect::Ask(Address::new("::1", 6_381))));
        let asked = Address::new("h", 1);
        for no_host in ["-MOVED 3999 :6381\r\n", "-ASK 3999 ?:6381\r\n"] {
            let Some(Redirect::Moved(bare) | Redirect::Ask(bare)) = redirect(no_host) else {
                panic!("{no_host} says where to go");
            };
            assert_eq!(bare.told_by(Some(&asked)), Address::new("h", 6_381));
        }

        assert_eq!(
            redirect("-TRYAGAIN Multiple keys\r\n"),
            Some(Redirect::TryAgain)
        );
        for (refused, why) in [
            ("-CLUSTERDOWN Hash slot not served\r\n", Redirect::Unsettled),
            (
                "-LOADING Redis is loading the dataset in memory\r\n",
                Redirect::Unsettled,
            ),
            (
                "-READONLY You can't write against a read only replica.\r\n",
                Redirect::ReadOnly,
            ),
            (
                "-ERR Error running script (call to f_1): @user_script:1: -READONLY You can't write\r\n",
                Redirect::ReadOnly,
            ),
        ] {
            assert_eq!(redirect(refused), Some(why), "{refused}");
        }
        for final_one in [
            "-ERR READONLY\r\n",
            "-MOVED nonsense\r\n",
            "+MOVED 1 h:1\r\n",
            "-OOM full\r\n",
        ] {
            assert_eq!(redirect(final_one), None, "{final_one}");
        }
    }
}
