//! A play: scripts take turns in a chosen order until all are over.

use super::{
    choices::Choices,
    server::Fate,
    world::{Who, World},
};
use crate::protocol::Action;

/// What a play leaves open besides the order of turns.
pub(crate) trait Chance {
    /// Whether others may have a turn before this action: they may if they can see it.
    fn is_point(&self, who: Who, action: &Action) -> bool;

    /// The number of events that may happen now in place of a turn.
    fn events(&self, world: &World) -> usize {
        let _ = world;
        0
    }

    /// The event with this number happens.
    fn happens(&mut self, world: &mut World, number: usize) {
        unreachable!("{number} of none, after\n  {}", world.story());
    }

    /// Something else happens first, perhaps to the script whose turn it is.
    fn before(&mut self, world: &mut World, who: Who, choices: &mut Choices) {
        let _ = (world, who, choices);
    }

    /// The fate of this turn, if it is a request.
    fn fate(&mut self, who: Who, action: &Action, choices: &mut Choices) -> Fate {
        let _ = (who, action, choices);
        Fate::Answered
    }

    /// What must hold after each turn.
    fn look(&self, world: &World) -> Result<(), String> {
        let _ = world;
        Ok(())
    }
}

impl World {
    pub(crate) fn play(
        &mut self,
        choices: &mut Choices,
        chance: &mut impl Chance,
    ) -> Result<(), String> {
        while !self.living().is_empty() {
            let ready = self.ready();
            let at_point = |who: Who| {
                let action = self.next(who);
                action.is_some_and(|action| chance.is_point(who, action))
            };
            let who = match ready.iter().find(|who| !at_point(**who)) {
                Some(who) => *who,
                None if ready.is_empty() => {
                    self.wait_for_somebody();
                    continue;
                }
                None => {
                    let chosen = choices.choose(ready.len() + chance.events(self));
                    match ready.get(chosen) {
                        Some(who) => *who,
                        None => {
                            chance.happens(self, chosen - ready.len());
                            continue;
                        }
                    }
                }
            };
            chance.before(self, who, choices);
            if let Some(action) = self.next(who) {
                let fate = chance.fate(who, action, choices);
                self.turn(who, fate);
                chance.look(self)?;
            }
        }
        Ok(())
    }
}
