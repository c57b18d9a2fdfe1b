//! Shortest paths in a graph, by breadth-first search.

/// The shortest path from a start to each reachable node.
pub(super) struct Paths {
    /// By node: the node before it; a start has itself; `None` for nodes that were not reached.
    before: Vec<Option<usize>>,
    reached: Vec<usize>,
}

impl Paths {
    /// Searches a graph of `count` nodes, in which `next` gives a node's successors.
    ///
    /// Of several shortest paths, it keeps the one along earlier starts and earlier steps.
    pub(super) fn from<'g>(
        starts: impl IntoIterator<Item = usize>,
        count: usize,
        next: impl Fn(usize) -> &'g [usize],
    ) -> Self {
        let mut before = vec![None; count];
        let mut reached = Vec::new();
        for start in starts {
            if before[start].is_none() {
                before[start] = Some(start);
                reached.push(start);
            }
        }
        let mut done = 0;
        while let Some(node) = reached.get(done).copied() {
            done += 1;
            for further in next(node) {
                if before[*further].is_none() {
                    before[*further] = Some(node);
                    reached.push(*further);
                }
            }
        }
        Self { before, reached }
    }

    /// The nodes reached, the nearest first.
    pub(super) fn reached(&self) -> &[usize] {
        &self.reached
    }

    /// The path from a start to `goal`, both included; empty if `goal` was not reached.
    pub(super) fn to(&self, goal: usize) -> Vec<usize> {
        let mut path = Vec::new();
        let mut node = goal;
        while let Some(before) = self.before[node] {
            path.push(node);
            if before == node {
                break;
            }
            node = before;
        }
        path.reverse();
        path
    }
}
