//! Each script cut short by an error in place of each of its commands, one at a time: what remains
//! is never stale.

mod rules;
mod scenes;

use super::{
    histories::{CLOCKS, Model, Served, Side as _, same_reply},
    *,
};
use crate::{
    engine::source::{Dialect, ScriptName},
    model::limits,
};
use rules::Cut;
use std::time::Instant;

/// More commands than any scene has.
const MAX_CUTS: u32 = 100;
/// The key that tells a script which of its commands must fail.
const CUT_KEY: &str = "cut";

/// Put before a script: its `redis.call` number `cut` becomes a server's own error.
const CUTTER: &str = "
local server, calls = redis, 0
local cut = tonumber(redis.call('GET', 'cut') or 0)
local redis = setmetatable({
    call = function(...)
        calls = calls + 1
        if calls == cut then
            return server.call('CACHETX.CUT')
        end
        return server.call(...)
    end,
}, { __index = server })
";

/// Scripts that can be cut, after `edit`.
pub(super) fn cutting(dialect: Dialect, edit: impl Fn(ScriptName, &str) -> String) -> Scripts {
    Scripts::assemble(dialect, |name, text| CUTTER.to_owned() + &edit(name, text))
}

/// Cuts every scene at every command; returns the number of cuts. `served` runs [`cutting`]
/// scripts.
pub(super) fn cut_everywhere(served: &mut Served) -> Result<u32, String> {
    let mut cuts = 0;
    for scene in scenes::all() {
        let mut model = Model::new();
        scene.prepare(&mut model);
        let expected = model.perform(&scene.op).map_err(|e| format!("{e:?}"))?;
        let end = model.dump();
        let mut uncut = false;
        for number in 1..=MAX_CUTS {
            served.empty();
            let start = Instant::now();
            scene.prepare(served);
            let before = served.dump();
            served.set(CUT_KEY, &number.to_string(), None);
            let reply = served.perform(&scene.op);
            served.delete(CUT_KEY);
            // The values of a commit outlive a script that fails by at most this time.
            let unsettled = limits::UNSETTLED_TTL.as_millis();
            let mut after = served.dump();
            after.retain(|_, (_, left)| left.is_none_or(|left| u128::from(left) > unsettled));
            let cut = Cut {
                op: &scene.op,
                before: &before,
                after: &after,
                end: &end,
            };
            let place = |e: String| {
                format!(
                    "{}: {}: cut at command {number}: {e}",
                    served.name, scene.name
                )
            };
            match reply {
                Ok(reply) if same_reply(&expected, &reply, start.elapsed() + CLOCKS) => {
                    cut.is_whole().map_err(place)?;
                    uncut = true;
                    break;
                }
                Ok(reply) => return Err(place(format!("{reply:?} in place of {expected:?}"))),
                Err(fault) => cut.is_safe(&fault).map_err(place)?,
            }
            cuts += 1;
        }
        if !uncut {
            return Err(format!("{}: over {MAX_CUTS} commands", scene.name));
        }
    }
    Ok(cuts)
}

#[test]
fn a_script_that_is_cut_anywhere_leaves_nothing_stale() {
    for binary in servers() {
        let server = Server::start(binary).unwrap();
        let config = ServerConfig::new(server.unix_url());
        let unedited = |dialect| cutting(dialect, |_, text| text.to_owned());
        let engine = ServerEngine::with_scripts(config, unedited).unwrap();
        let mut served = Served::new("script", &server, Box::new(engine));
        let cuts = cut_everywhere(&mut served).unwrap_or_else(|e| panic!("{e}"));
        println!("{cuts} cuts on {binary}");
        assert!(cuts >= 100, "{cuts} cuts on {binary}");
    }
}
