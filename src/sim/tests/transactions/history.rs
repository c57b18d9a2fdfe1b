//! One random history of transactions, saves, readers and recoveries.

use super::{mended, read};
use crate::sim::{
    calls::transact,
    cast::{Paper, Saves, mend},
    choices::Choices,
    server::Fate,
    world::World,
};
use std::{cell::RefCell, rc::Rc, time::Duration};

const TURNS: usize = 300;
const CROWD: usize = 4;
/// The results of all scripts, and what was seen of each document.
#[derive(Default)]
struct Record {
    saved: Vec<(u64, Vec<usize>)>,
    refused: Vec<u64>,
    seen: Vec<(usize, Saves)>,
    wrong: Option<String>,
}

pub(super) struct History<'a> {
    world: World,
    papers: [Paper; 3],
    record: Rc<RefCell<Record>>,
    choices: &'a mut Choices,
    numbers: u64,
}

impl<'a> History<'a> {
    pub(super) fn new(world: World, papers: [Paper; 3], choices: &'a mut Choices) -> Self {
        Self {
            world,
            papers,
            record: Rc::default(),
            choices,
            numbers: 1,
        }
    }

    /// The number of acknowledged saves, and how many of them were of several documents.
    pub(super) fn saved(&self) -> (usize, usize) {
        let record = self.record.borrow();
        let several = record.saved.iter().filter(|(_, which)| which.len() > 1);
        (record.saved.len(), several.count())
    }

    pub(super) fn story(&self) -> String {
        self.world.story()
    }

    pub(super) fn play(&mut self) {
        for _ in 0..TURNS {
            let ready = self.world.ready();
            let crowded = self.world.living().len() >= CROWD;
            match self.choices.choose(40) {
                0..5 if !crowded => self.come(),
                5 => {
                    let ms = [1, 100, 3_000, 16_000, 61_000][self.choices.choose(5)];
                    self.world.advance(Duration::from_millis(ms));
                }
                6 if self.choices.once_in(8) => {
                    self.world.befalls("the server restarts empty");
                    self.world.server.restart_from(&Default::default());
                }
                7 | 8 if self.world.server.late() > 0 => {
                    let n = self.choices.choose(self.world.server.late());
                    self.world.deliver(n);
                }
                _ if ready.is_empty() => self.world.wait_for_somebody(),
                _ => {
                    let who = ready[self.choices.choose(ready.len())];
                    if self.choices.once_in(80) {
                        self.world.crash(who);
                        continue;
                    }
                    let fates = [Fate::Away, Fate::Dropped, Fate::Unanswered, Fate::Late];
                    let fate = fates.get(self.choices.choose(60)).copied();
                    self.world.turn(who, fate.unwrap_or(Fate::Answered));
                }
            }
        }
        while self.world.server.late() > 0 {
            self.world.deliver(0);
        }
        while !self.world.living().is_empty() {
            match self.world.ready().first() {
                Some(who) => self.world.turn(*who, Fate::Answered),
                None => self.world.wait_for_somebody(),
            }
        }
    }

    fn come(&mut self) {
        let (papers, record) = (self.papers.clone(), self.record.clone());
        self.numbers += 1;
        let number = self.numbers;
        let told = move |which: Vec<usize>, done: crate::model::Result<()>| match done {
            Ok(()) => record.borrow_mut().saved.push((number, which)),
            Err(_) => record.borrow_mut().refused.push(number),
        };
        let n = self.choices.choose(3);
        match self.choices.choose(8) {
            0..3 => {
                // Two or all three.
                let which: Vec<usize> = (0..3)
                    .filter(|of| *of != n || number.is_multiple_of(2))
                    .collect();
                self.world.start("transaction", move |hand| async move {
                    let papers: Vec<Paper> = which.iter().map(|n| papers[*n].clone()).collect();
                    let done = transact(&hand, &papers, number).await;
                    told(which, done.map(drop));
                });
            }
            3 | 4 => {
                self.world.start("writer", move |hand| async move {
                    let done = papers[n].change(&hand, number).await;
                    told(vec![n], done.map(drop));
                });
            }
            5 | 6 => {
                let record = self.record.clone();
                self.world.start("reader", move |hand| async move {
                    let got = papers[n].read(&hand).await;
                    let mut record = record.borrow_mut();
                    match got {
                        Ok(saves) => record.seen.push((n, saves)),
                        Err(e) => record.wrong = Some(format!("a reader: {e}")),
                    }
                });
            }
            _ => {
                self.world
                    .start("recovery", |hand| async move { drop(mend(&hand).await) });
            }
        }
    }

    /// Checks, when everything is over, that all results are true.
    pub(super) fn check(&mut self) -> Result<(), String> {
        if let Some(why) = self.record.borrow_mut().wrong.take() {
            return Err(why);
        }
        mended(&mut self.world)?;
        let documents = read(&mut self.world, &self.papers)?;
        let record = self.record.borrow();
        for (number, which) in &record.saved {
            if let Some(n) = which.iter().find(|n| !documents[**n].contains(number)) {
                return Err(format!(
                    "{number} was acknowledged and is not in {n}: {documents:?}"
                ));
            }
        }
        for number in &record.refused {
            if documents.iter().any(|document| document.contains(number)) {
                return Err(format!("{number} failed and is in {documents:?}"));
            }
        }
        for (n, seen) in &record.seen {
            if !documents[*n].starts_with(seen) {
                return Err(format!(
                    "{seen:?} was seen of {n}, and is no version of {documents:?}"
                ));
            }
        }
        Ok(())
    }
}
