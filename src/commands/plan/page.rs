//! The page of `plan --html`: one file by itself, without scripts or anything to fetch. Each bundle is drawn to scale between
//! nothing and the cap: what it pays, what of that another has paid already, and its tests.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;

use seagull_binpacker::{Bundle, Item};

use super::Planned;
use super::show::{self, fill, seconds};
use crate::report::{Paint, count, micros, number, page};

const STYLE: &str = "\
svg{display:block;width:100%;height:1.3em}th{text-align:right;font-weight:normal;padding:.15em .6em}
td{text-align:right;white-space:nowrap}td.bar{width:60%;padding:.15em 0}td.ids{text-align:left;white-space:normal}
.test{fill:#54aeff}.test.odd{fill:#218bff}.setup{fill:#9a6700}.again{fill:#e5534b}.least{fill:#4ac26b}.gap{fill:#e5534b}
.frame{fill:#eaeef2}.cap{stroke:#b42318;stroke-width:20}b.key{display:inline-block;width:.9em;height:.9em;margin:0 .3em 0 1em}
b.setup{background:#9a6700}b.again,b.gap{background:#e5534b}b.test{background:#54aeff}b.least{background:#4ac26b}
@media(prefers-color-scheme:dark){.frame{fill:#21262d}}
";
/// Bundles that are drawn.
const BUNDLES: usize = 2_000;
/// Of the drawing of a bundle: parts, and its width in units.
const PARTS: usize = 80;
const UNITS: u64 = 10_000;
/// So many tests have their names in the page.
const TESTS: usize = 20_000;

/// The page as text.
pub fn render(planned: &Planned) -> io::Result<String> {
    let mut page = Page::of(planned);
    page.head()?;
    page.gap();
    page.bundles();
    page.rest()?;
    page.out.push_str("</body>\n</html>\n");
    Ok(page.out)
}

struct Page<'a> {
    out: String,
    planned: &'a Planned,
    /// By number of the test.
    items: Vec<Option<&'a Item>>,
    /// What the whole width of a drawing stands for.
    scale: u64,
}

/// Neighbours in a bundle that use the same.
struct Part {
    first: u32,
    tests: usize,
    micros: u64,
}

impl<'a> Page<'a> {
    fn of(planned: &'a Planned) -> Self {
        let mut items = vec![None; planned.named.tests.len()];
        for item in &planned.named.problem.items {
            if let Some(place) = items.get_mut(item.test as usize) {
                *place = Some(item);
            }
        }
        let longest = planned.plan.bundles.iter().map(Bundle::total_micros).max().unwrap_or_default();
        Self { out: String::new(), planned, items, scale: longest.max(planned.plan.cap_micros).max(1) }
    }

    fn line(&mut self, line: std::fmt::Arguments) {
        // A text takes all that is written.
        let _ = self.out.write_fmt(line);
        self.out.push('\n');
    }

    fn head(&mut self) -> io::Result<()> {
        let Planned { named, plan, .. } = self.planned;
        let (bundles, tests) =
            (count(number(plan.bundles.len()), "bundle"), count(number(named.tests.len()), "test"));
        self.out = page::head(&format!("plan: {bundles} of {tests}"), STYLE);
        let told = told(|out| show::summary(out, self.planned, Paint::PLAIN))?;
        self.line(format_args!("<pre>{}</pre>", page::escaped(&told)));
        Ok(())
    }

    /// The number of bundles beside the least there can be.
    fn gap(&mut self) {
        let plan = &self.planned.plan;
        let (bundles, least) = (plan.bundles.len() as u64, u64::from(plan.lower_bound));
        if bundles == 0 {
            return;
        }
        let proven = UNITS * least.min(bundles) / bundles;
        let (bound, gap) = (page::escaped(&plan.bound.to_string()), plan.gap());
        self.line(format_args!(
            "<h2>bundles, and how few there can be</h2>\n\
             <svg viewBox=\"0 0 {UNITS} 100\" preserveAspectRatio=\"none\">\
             <rect class=\"least\" width=\"{proven}\" height=\"100\"/>\
             <rect class=\"gap\" x=\"{proven}\" width=\"{}\" height=\"100\"/></svg>\n\
             <p><b class=\"key least\"></b>{least}: no plan has fewer ({bound})\
             <b class=\"key gap\"></b>{gap}: the gap, bundles that there may be too many</p>",
            UNITS - proven
        ));
    }

    fn bundles(&mut self) {
        let Planned { named, plan, .. } = self.planned;
        if plan.bundles.is_empty() {
            return;
        }
        self.line(format_args!(
            "<h2>each bundle</h2>\n<p>The line is the cap, {}.<b class=\"key setup\"></b>setup\
             <b class=\"key again\"></b>setup that another bundle pays too<b class=\"key test\"></b>tests, those that use the \
             same together</p>\n<table>\n<tr><th>bundle</th><th></th><th>tests</th><th>length</th><th>setup</th><th>fill</th>\
             <th></th></tr>",
            micros(plan.cap_micros)
        ));
        let oversize: BTreeSet<u32> = plan.oversize.iter().map(|oversize| oversize.bundle).collect();
        let mut paid = vec![false; named.problem.scopes.len()];
        for (place, bundle) in (0u32..).zip(plan.bundles.iter().take(BUNDLES)) {
            let again = self.paid_again(bundle, &mut paid);
            self.bundle(place, bundle, again, oversize.contains(&place));
        }
        self.line(format_args!("</table>"));
        if let Some(more) = plan.bundles.len().checked_sub(BUNDLES).filter(|more| *more > 0) {
            self.line(format_args!("<p>{more} more, which are shorter; --output json has them all</p>"));
        }
    }

    /// What this bundle pays for scopes that one before it has paid for.
    fn paid_again(&self, bundle: &Bundle, paid: &mut [bool]) -> u64 {
        let scopes = &self.planned.named.problem.scopes;
        let used = bundle.tests.iter().filter_map(|&test| self.item(test)).map(|item| item.scopes);
        let sets: BTreeSet<_> = used.collect();
        let used: BTreeSet<u32> = sets.into_iter().flat_map(|set| scopes.of(set)).copied().collect();
        let again = used.into_iter().filter(|&scope| std::mem::replace(&mut paid[scope as usize], true));
        again.fold(0, |sum, scope| sum.saturating_add(scopes.micros(scope)))
    }

    fn item(&self, test: u32) -> Option<&'a Item> {
        *self.items.get(test as usize)?
    }

    fn bundle(&mut self, place: u32, bundle: &Bundle, again: u64, is_oversize: bool) {
        let Planned { named, plan, .. } = self.planned;
        let setup_share = 100.0 * bundle.setup_micros as f64 / (bundle.total_micros() as f64).max(1.0);
        let mut notes = Vec::new();
        if bundle.sd_micros > 0 {
            let overrun = f64::from(bundle.overrun_ppm) / 1e4;
            notes.push(format!(
                "deviation {:.3} s, over the cap in {overrun:.1} %",
                seconds(bundle.sd_micros)
            ));
        }
        notes.extend(Some(named.environment(bundle)).filter(|name| !name.is_empty()).map(page::escaped));
        notes.extend(is_oversize.then(|| "oversize".to_owned()));
        self.line(format_args!("<tr><td>{}</td><td class=\"bar\">", place + 1));
        self.drawing(bundle, again);
        self.line(format_args!(
            "</td><td>{}</td><td>{:.3} s</td><td>{setup_share:.1} %</td><td>{:.0} %</td><td>{}</td></tr>",
            bundle.tests.len(),
            seconds(bundle.total_micros()),
            fill(bundle, plan) * 100.0,
            notes.join(", ")
        ));
        if named.tests.len() <= TESTS {
            let ids = bundle
                .tests
                .iter()
                .map(|&test| page::escaped(named.test(test)))
                .collect::<Vec<_>>()
                .join("<br>");
            self.line(format_args!(
                "<tr><td></td><td class=\"ids\" colspan=\"6\"><details><summary>its tests</summary><code>{ids}</code></details></td></tr>"
            ));
        }
    }

    fn drawing(&mut self, bundle: &Bundle, again: u64) {
        let cap = self.units(self.planned.plan.cap_micros);
        self.line(format_args!(
            "<svg viewBox=\"0 0 {UNITS} 100\" preserveAspectRatio=\"none\"><rect class=\"frame\" width=\"{cap}\" height=\"100\"/>"
        ));
        let first = bundle.setup_micros.saturating_sub(again);
        let mut at = self.rect("setup", 0, first, &format!("setup: {}", micros(first)));
        at = self.rect("again", at, again, &format!("setup that another bundle pays too: {}", micros(again)));
        for (place, part) in self.parts(bundle).into_iter().enumerate() {
            let (name, took) = (self.planned.named.test(part.first), micros(part.micros));
            let title = match part.tests {
                1 => format!("{name}: {took}"),
                tests => format!("{name} and {} more: {took}", tests - 1),
            };
            at = self.rect(if place % 2 == 0 { "test" } else { "test odd" }, at, part.micros, &title);
        }
        self.line(format_args!("<line class=\"cap\" x1=\"{cap}\" x2=\"{cap}\" y1=\"0\" y2=\"100\"/></svg>"));
    }

    /// From one place on, so long; where it ends.
    fn rect(&mut self, class: &str, at: u64, length: u64, title: &str) -> u64 {
        let end = at.saturating_add(length);
        let (from, to) = (self.units(at), self.units(end));
        if to > from {
            self.line(format_args!(
                "<rect class=\"{class}\" x=\"{from}\" width=\"{}\" height=\"100\"><title>{}</title></rect>",
                to - from,
                page::escaped(title)
            ));
        }
        end
    }

    fn units(&self, micros: u64) -> u64 {
        u64::try_from(u128::from(micros) * u128::from(UNITS) / u128::from(self.scale)).unwrap_or(UNITS)
    }

    /// The tests in their order; those of a file, say, are one part.
    fn parts(&self, bundle: &Bundle) -> Vec<Part> {
        let none = seagull_binpacker::ScopeSet::default();
        let mut parts: Vec<Part> = Vec::new();
        let mut before = none;
        for &test in &bundle.tests {
            let (scopes, micros) = self.item(test).map_or((none, 0), |item| (item.scopes, item.micros));
            let is_like = scopes != none && scopes == before;
            let full = parts.len() == PARTS;
            match parts.last_mut().filter(|_| is_like || full) {
                Some(last) => {
                    last.tests += 1;
                    last.micros = last.micros.saturating_add(micros);
                }
                None => parts.push(Part { first: test, tests: 1, micros }),
            }
            before = scopes;
        }
        parts
    }

    /// What is over the cap, what stands against a smaller one, and what slots would come to.
    fn rest(&mut self) -> io::Result<()> {
        let Planned { named, plan, slots, .. } = self.planned;
        for (title, told) in [
            ("the cap", told(|out| show::exceptions(out, named, plan, Paint::PLAIN))?),
            (
                "slots",
                told(|out| if slots.is_empty() { Ok(()) } else { show::of_slots(out, slots, Paint::PLAIN) })?,
            ),
        ] {
            if !told.is_empty() {
                self.line(format_args!("<h2>{title}</h2>\n<pre>{}</pre>", page::escaped(&told)));
            }
        }
        Ok(())
    }
}

/// What is shown in a terminal, as text.
fn told(write: impl Fn(&mut Vec<u8>) -> io::Result<()>) -> io::Result<String> {
    let mut out = Vec::new();
    write(&mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::plan::show::tests::planned;
    use crate::golden;

    #[test]
    fn a_page_draws_each_bundle_to_scale() {
        let planned = planned(false);
        let page = render(&planned).unwrap();
        golden::check("plan.html", &page);
        assert!(!page.contains("http") && !page.contains("<script"), "nothing is fetched or run");
        // The longest, over the cap, is as wide as there is room; the cap is where its line is.
        let widths = |class: &str| -> Vec<u64> {
            let of = |line: &&str| line.starts_with(&format!("<rect class=\"{class}\" x="));
            let width = |line: &str| line.split("width=\"").nth(1)?.split('"').next()?.parse().ok();
            page.lines().filter(of).filter_map(width).collect()
        };
        let again: u64 = widths("again").iter().sum();
        assert!(again.abs_diff(UNITS * planned.plan.repeated_setup_micros / 724_000_000) < 5, "{again}");
        let tests: u64 = ["setup", "again", "test", "test odd"].iter().flat_map(|class| widths(class)).sum();
        let all = planned.plan.total_micros() * UNITS / 724_000_000;
        assert!(tests.abs_diff(all) < 50, "{tests} of {all}");
        let cap = UNITS * 600 / 724;
        assert!(page.contains(&format!("<line class=\"cap\" x1=\"{cap}\" x2=\"{cap}\"")));
    }

    #[test]
    fn names_are_no_part_of_the_page() {
        let mut planned = planned(true);
        planned.named.tests[3] = "<script>alert(1)</script>".to_owned();
        planned.named.environments[1] = "<b>gpu".to_owned();
        let page = render(&planned).unwrap();
        assert!(page.contains("&lt;script&gt;") && page.contains("&lt;b&gt;gpu"));
        assert!(!page.contains("<script") && !page.contains("<b>gpu"));
    }
}
