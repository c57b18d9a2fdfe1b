//! Ways to do one thing, timed in turns, so that a slow phase of the machine affects all of them.

use crate::bed::{scene::Scene, subject::Subject};
use cachetx::BoxError;
use redis::Connection;
use std::fmt;

/// The quartiles of ratios, each taken within one turn.
#[derive(Clone, Copy)]
pub struct Ratio([f64; 3]);

impl Ratio {
    pub fn of(mut ratios: Vec<f64>) -> Self {
        ratios.sort_by(f64::total_cmp);
        Self([1, 2, 3].map(|quarter| ratios[ratios.len() * quarter / 4]))
    }

    pub fn median(self) -> f64 {
        self.0[1]
    }
}

/// `1.23 (1.10-1.31)`.
impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, median, high] = self.0;
        write!(f, "{median:.2} ({low:.2}-{high:.2})")
    }
}

/// One subject's figures over all turns.
pub struct Figures {
    /// In the unit of the measurement.
    pub median: f64,
    /// Relative to the first subject.
    pub ratio: Ratio,
    values: Vec<f64>,
}

impl Figures {
    /// The ratio to another subject of the same turns.
    pub fn to(&self, other: &Self) -> Ratio {
        ratio(&self.values, &other.values)
    }
}

fn ratio(own: &[f64], other: &[f64]) -> Ratio {
    Ratio::of(
        own.iter()
            .zip(other)
            .map(|(own, other)| own / other)
            .collect(),
    )
}

/// Measures each of `count` subjects `rounds` times, after a tenth as many rounds to warm up. Which
/// one goes first changes from round to round, and so does the direction.
pub fn in_turns(
    count: usize,
    rounds: usize,
    mut measure: impl FnMut(usize) -> Result<f64, BoxError>,
) -> Result<Vec<Figures>, BoxError> {
    let warm_up = rounds / 10 + 1;
    let mut found = vec![Vec::with_capacity(rounds); count];
    for round in 0..warm_up + rounds {
        for turn in 0..count {
            let turn = if round % 2 == 0 {
                turn
            } else {
                count - 1 - turn
            };
            let subject = (round / 2 + turn) % count;
            let figure = measure(subject)?;
            if round >= warm_up {
                found[subject].push(figure);
            }
        }
    }
    Ok(figures(&found))
}

/// Computes them from each subject's values, round by round.
pub fn figures(found: &[Vec<f64>]) -> Vec<Figures> {
    let of = |own: &Vec<f64>| Figures {
        median: median(own.clone()),
        ratio: ratio(own, &found[0]),
        values: own.clone(),
    };
    found.iter().map(of).collect()
}

/// Us of one save of each subject, in turns. What they delete is set before each.
pub fn saves(
    plain: &mut Connection,
    scene: &Scene,
    subjects: &mut [Box<dyn Subject>],
    rounds: usize,
) -> Result<Vec<Figures>, BoxError> {
    in_turns(subjects.len(), rounds, |n| {
        subjects[n].warm(plain, scene)?;
        Ok(subjects[n].timed()?.as_secs_f64() * 1e6)
    })
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
