//! The restricted master program: as few bins as possible, in fractions, of the sets that are known so far.
//!
//! It stays alive in the solver, so that each solution begins with the last one's basis. What it says is only used to choose: its
//! values become whole numbers before they prove anything.

use std::collections::HashSet;

use highs::{Col, HighsModelStatus, Model, RowProblem, Sense};

use super::types::{Pattern, Types};
use crate::budget::Steps;

/// Iterations of one program, at most.
const ITERATIONS: i32 = 20_000;
/// Begins with the last basis: the primal method where sets were added, the dual method where bounds have moved.
const DUAL: i32 = 1;
const PRIMAL: i32 = 4;

pub struct Master {
    model: Option<Model>,
    rows: Vec<highs::Row>,
    pub columns: Vec<Column>,
    known: HashSet<Pattern>,
    bounds_moved: bool,
    /// Columns that move all demands a little, fixed at nothing.
    shifts: Vec<Col>,
}

/// A set, of which so many bins are settled.
pub struct Column {
    pub pattern: Pattern,
    pub fixed: u32,
    col: Col,
}

/// A solution in fractions.
pub struct Fractions {
    pub value: f64,
    /// Of each column.
    pub amounts: Vec<f64>,
    /// Of each type.
    pub duals: Vec<f64>,
}

impl Master {
    pub fn new(types: &Types) -> Option<Self> {
        let mut model = RowProblem::default().try_optimise(Sense::Minimise).ok()?;
        let text = [("solver", "simplex"), ("presolve", "off"), ("parallel", "off")];
        let set = text.iter().all(|(option, value)| model.try_set_option(*option, *value).is_ok())
            && model.try_set_option("threads", 1).is_ok()
            && model.try_set_option("simplex_iteration_limit", ITERATIONS).is_ok();
        if !set {
            return None;
        }
        let none = std::iter::empty::<(Col, f64)>;
        let rows: Vec<highs::Row> = types
            .demands
            .iter()
            .map(|&demand| model.try_add_row(f64::from(demand).., none()).ok())
            .collect::<Option<_>>()?;
        // A larger slot may hold a smaller item: the value of a size is at most that of a larger one, which keeps the values
        // from swinging (Valerio de Carvalho 2005).
        for (pair, _) in rows.windows(2).zip(&types.covers).filter(|(_, covers)| **covers) {
            model.try_add_column(0.0, 0.0.., [(pair[0], -1.0), (pair[1], 1.0)]).ok()?;
        }
        Some(Self {
            model: Some(model),
            rows,
            columns: Vec::new(),
            known: HashSet::new(),
            bounds_moved: true,
            shifts: Vec::new(),
        })
    }

    /// Whether it is a set that was not known.
    pub fn add(&mut self, pattern: Pattern) -> Option<bool> {
        if pattern.is_empty() || !self.known.insert(pattern.clone()) {
            return Some(false);
        }
        let factors = pattern.iter().map(|&(kind, times)| (self.rows[kind as usize], f64::from(times)));
        let col = self.model.as_mut()?.try_add_column(1.0, 0.0.., factors).ok()?;
        self.columns.push(Column { pattern, fixed: 0, col });
        Some(true)
    }

    pub fn fix(&mut self, column: usize, bins: u32) {
        let column = &mut self.columns[column];
        column.fixed = bins;
        self.bounds_moved = true;
        if let Some(model) = &mut self.model {
            model.change_column_bounds(column.col, f64::from(bins)..);
        }
    }

    /// Nothing is settled any more.
    pub fn release(&mut self) {
        for column in 0..self.columns.len() {
            if self.columns[column].fixed > 0 {
                self.fix(column, 0);
            }
        }
    }

    pub fn fixed(&self) -> impl Iterator<Item = (&Pattern, u32)> {
        self.columns.iter().filter(|column| column.fixed > 0).map(|column| (&column.pattern, column.fixed))
    }

    pub fn fixed_bins(&self) -> u64 {
        self.fixed().map(|(_, bins)| u64::from(bins)).sum()
    }

    /// A column that adds so much to each demand, once it is shifted.
    pub fn add_shift(&mut self, of: &[f64]) -> Option<usize> {
        let factors = self.rows.iter().zip(of).map(|(&row, &by)| (row, -by));
        let col = self.model.as_mut()?.try_add_column(0.0, 0.0..=0.0, factors).ok()?;
        self.shifts.push(col);
        Some(self.shifts.len() - 1)
    }

    pub fn shift(&mut self, shift: usize, by: f64) {
        self.bounds_moved = true;
        if let Some(model) = &mut self.model {
            model.change_column_bounds(self.shifts[shift], by..=by);
        }
    }

    /// `None` if there is none within the steps.
    pub fn solve(&mut self, steps: &mut Steps) -> Option<Fractions> {
        if !steps.take(1) {
            return None;
        }
        let mut model = self.model.take()?;
        let strategy = if std::mem::take(&mut self.bounds_moved) { DUAL } else { PRIMAL };
        model.try_set_option("simplex_strategy", strategy).ok()?;
        let solved = model.try_solve().ok()?;
        let iterations = u64::try_from(solved.simplex_iteration_count()).unwrap_or_default();
        let enough = steps.take((iterations + 1) * (self.rows.len() as u64 + 1));
        let optimal = solved.status() == HighsModelStatus::Optimal;
        let (value, solution) = (solved.objective_value(), solved.get_solution());
        self.model = Some(Model::from(solved));
        let amounts = self.columns.iter().map(|column| solution.columns()[column.col.index()]).collect();
        (optimal && enough).then(|| Fractions { value, amounts, duals: solution.dual_rows().to_vec() })
    }
}
