//! What the user may choose: the form of the output and its colours.

use std::env;
use std::str::FromStr;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Output {
    /// A live display on a terminal; plain lines elsewhere.
    #[default]
    Human,
    /// Lines on standard error.
    Plain,
    /// One JSON object a line on standard output.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Color {
    Never,
    /// Where they are shown, as on a terminal that knows them, unless `NO_COLOR` is set.
    #[default]
    Auto,
    Always,
}

impl Output {
    /// Whether people get a live display: the log of a CI service has none, even where its jobs have a terminal.
    pub fn is_live(terminal: bool, ci: bool) -> bool {
        terminal && !ci
    }

    /// Whether it has colours where they are shown.
    pub fn has_colors(self, shown: bool) -> bool {
        shown && self != Output::Plain
    }
}

impl Color {
    pub fn on(self, shown: bool) -> bool {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        let unwanted = set("NO_COLOR").is_some() || set("TERM").is_some_and(|term| term == "dumb");
        self.decide(shown, unwanted)
    }

    fn decide(self, shown: bool, unwanted: bool) -> bool {
        match self {
            Color::Never => false,
            Color::Auto => shown && !unwanted,
            Color::Always => true,
        }
    }
}

impl FromStr for Output {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "human" => Ok(Output::Human),
            "plain" => Ok(Output::Plain),
            "json" => Ok(Output::Json),
            _ => Err("expected human, plain or json".to_owned()),
        }
    }
}

impl FromStr for Color {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "never" => Ok(Color::Never),
            "auto" => Ok(Color::Auto),
            "always" => Ok(Color::Always),
            _ => Err("expected never, auto or always".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_need_a_terminal_and_no_objection_unless_asked_for() {
        let table = [
            (Color::Never, true, false, false),
            (Color::Auto, true, false, true),
            (Color::Auto, true, true, false),
            (Color::Auto, false, false, false),
            (Color::Always, false, true, true),
        ];
        for (color, terminal, unwanted, on) in table {
            assert_eq!(color.decide(terminal, unwanted), on, "{color:?} {terminal} {unwanted}");
        }
    }

    #[test]
    fn plain_output_has_colours_only_where_they_are_asked_for() {
        for (output, color, on) in [
            (Output::Human, Color::Always, true),
            (Output::Plain, Color::Auto, false),
            (Output::Plain, Color::Always, true),
        ] {
            assert_eq!(color.on(output.has_colors(true)), on, "{output:?} {color:?}");
        }
    }

    #[test]
    fn a_live_display_needs_a_terminal_beyond_ci() {
        let table = [(true, false, true), (true, true, false), (false, false, false), (false, true, false)];
        for (terminal, ci, live) in table {
            assert_eq!(Output::is_live(terminal, ci), live, "{terminal} {ci}");
        }
    }
}
