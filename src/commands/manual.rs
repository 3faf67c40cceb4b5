//! `seagull completions`, `seagull man` and `seagull docs`: what shells and readers want to know. The pages are in the
//! binary, which may be all that somebody has.

use std::io::Write;
use std::iter;

use anyhow::Context;
use clap::CommandFactory;

use crate::cli::{self, Cli, Shell};
use crate::commands::print;
use crate::errors::usage;

const NAME: &str = "seagull";

macro_rules! page {
    ($name:literal) => {
        ($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/", $name, ".md")))
    };
}

/// The documentation, by name.
const PAGES: [(&str, &str); 16] = [
    page!("run"),
    page!("around"),
    page!("events"),
    page!("attachments"),
    page!("pytest"),
    page!("environment"),
    page!("sandboxes"),
    page!("storage"),
    page!("index"),
    page!("dashboards"),
    page!("rust"),
    page!("command"),
    page!("fault-tolerance"),
    page!("packing"),
    page!("compatibility"),
    page!("adapter-protocol"),
];

pub fn completions(args: &cli::Completions) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    write_completions(args.shell, &mut script);
    print(|out| out.write_all(&script))?;
    Ok(0)
}

fn write_completions(shell: Shell, out: &mut Vec<u8>) {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    clap_complete::generate(shell, &mut Cli::command(), NAME, out);
}

pub fn page(args: &cli::Man) -> anyhow::Result<u8> {
    if let Some(directory) = &args.directory {
        let failed = || format!("cannot write manual pages to {}", directory.display());
        std::fs::create_dir_all(directory).with_context(failed)?;
        let all = built();
        let with_its_own = |command| iter::once(command).chain(clap::Command::get_subcommands(command));
        let commands = all.get_subcommands().flat_map(with_its_own).chain([&all]);
        for command in commands.filter(|command| !command.is_hide_set()) {
            let file = directory.join(manual(command).get_filename());
            std::fs::write(file, rendered(command)?).with_context(failed)?;
        }
        return Ok(0);
    }
    let text = text_of(&args.command)?;
    print(|out| out.write_all(&text))?;
    Ok(0)
}

pub fn docs(args: &cli::Docs) -> anyhow::Result<u8> {
    let text = text_of_page(args.page.as_deref())?;
    print(|out| out.write_all(text.as_bytes()))?;
    Ok(0)
}

/// A page; without a name all names, each with its page's title.
fn text_of_page(name: Option<&str>) -> anyhow::Result<String> {
    let Some(name) = name.map(|name| name.trim_start_matches("docs/").trim_end_matches(".md")) else {
        let title = |text: &str| text.lines().next().unwrap_or_default().trim_start_matches("# ").to_owned();
        return Ok(PAGES.iter().map(|(name, text)| format!("{name:<18}{}\n", title(text))).collect());
    };
    let found = PAGES.iter().find(|(page, _)| *page == name);
    found
        .map(|(_, text)| (*text).to_owned())
        .ok_or_else(|| usage(format!("there is no page {name:?}\nhint: seagull docs lists them")))
}

/// The command with all that it gives to its subcommands; `help` needs no page.
fn built() -> clap::Command {
    let mut all = Cli::command().disable_help_subcommand(true);
    all.build();
    all
}

fn manual(command: &clap::Command) -> clap_mangen::Man {
    let source = format!("{NAME} {}", env!("CARGO_PKG_VERSION"));
    clap_mangen::Man::new(command.clone()).source(source)
}

/// clap_mangen calls what stands after the options extra.
fn rendered(command: &clap::Command) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    manual(command).render(&mut text)?;
    Ok(String::from_utf8(text)?.replace(".SH EXTRA", ".SH EXAMPLES").into_bytes())
}

fn text_of(words: &[String]) -> anyhow::Result<Vec<u8>> {
    let all = built();
    // As its file is called, too.
    let words: Vec<&str> = words.iter().flat_map(|word| word.split('-')).collect();
    let found = words.iter().try_fold(&all, |command, word| command.find_subcommand(word));
    let command = found.ok_or_else(|| {
        let name = words.join(" ");
        usage(format!("there is no command {name:?}\nhint: seagull --help lists them"))
    })?;
    rendered(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_gets_every_command_and_its_options() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            write_completions(shell, &mut script);
            let script = String::from_utf8(script).unwrap();
            for word in ["run", "rerun", "explain", "until-fail", "fail-fast", "plain", "bundle", "greedy"] {
                assert!(script.contains(word), "{shell:?} knows no {word}");
            }
        }
    }

    #[test]
    fn each_command_has_a_page_with_its_examples() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let page = |command: &[&str]| String::from_utf8(text_of(&words(command)).unwrap()).unwrap();
        assert!(page(&[]).contains("seagull") && page(&[]).contains("rerun"));
        assert_eq!(page(&["executor-drain"]), page(&["executor", "drain"]));
        assert!(page(&["executor", "drain"]).contains(".TH seagull-executor-drain"));
        let run = page(&["run"]);
        assert!(
            run.contains("seagull-run")
                && run.contains("fail\\-fast")
                && run.contains(".SH EXAMPLES\nExamples:"),
            "{run}"
        );
        let title = run.lines().find(|line| line.starts_with(".TH seagull-run")).unwrap();
        assert!(title.contains(concat!("\"seagull ", env!("CARGO_PKG_VERSION"), "\"")), "{title}");
        assert!(text_of(&words(&["run", "nonsense"])).unwrap_err().is::<crate::errors::Usage>());
        let directory = tempfile::tempdir().unwrap();
        let all = directory.path().join("man1");
        page_into(&all);
        for page in ["seagull.1", "seagull-repro.1", "seagull-executor-drain.1"] {
            assert!(all.join(page).exists(), "{page}");
        }
    }

    #[test]
    fn each_page_of_the_documentation_is_in_the_binary() {
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
        let names = folder.filter_map(|entry| entry.unwrap().file_name().into_string().ok());
        let mut there: Vec<_> = names.filter_map(|name| Some(name.strip_suffix(".md")?.to_owned())).collect();
        there.sort();
        let mut known = PAGES.map(|(name, _)| name);
        known.sort_unstable();
        assert_eq!(there, known);
        let list = text_of_page(None).unwrap();
        assert!(
            list.lines().all(|line| !line.contains('#') && line.split_whitespace().count() > 1),
            "{list}"
        );
        assert!(text_of_page(Some("environment")).unwrap().contains("## Recipes"));
        assert!(text_of_page(Some("nonsense")).unwrap_err().is::<crate::errors::Usage>());
    }

    fn page_into(directory: &std::path::Path) {
        let args = cli::Man { command: Vec::new(), directory: Some(directory.to_owned()) };
        assert_eq!(super::page(&args).unwrap(), 0);
    }
}
