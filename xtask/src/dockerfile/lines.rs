//! From a Dockerfile's text to its instructions' lines: escape directive, continuations, comments, heredocs.
//! <https://docs.docker.com/reference/dockerfile/#format>

/// One instruction as it stands in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// The line it begins on, from 1.
    pub(super) number: usize,
    /// With its continuations, without their line ends.
    pub(super) text: String,
    pub(super) heredocs: Vec<Heredoc>,
}

/// A text that follows its instruction: `<<NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heredoc {
    /// What ends it, and what the file is called that COPY makes of it in a folder.
    pub name: String,
    pub text: String,
}

/// The lines of a text, and the character that escapes in it.
pub(super) fn lines(text: &str) -> (char, Vec<Line>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let escape = escape(text);
    let mut all = Vec::new();
    let mut open: Option<Line> = None;
    let mut rest = text.lines().enumerate();
    while let Some((at, line)) = rest.next() {
        // Comments and empty lines do not end an instruction that goes on.
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let mut whole = open.take().unwrap_or_else(|| Line { number: at + 1, ..Line::default() });
        let content = continued(line, escape);
        let content = content.unwrap_or(line);
        whole.text.push_str(if whole.text.is_empty() { content.trim_start() } else { content });
        if continued(line, escape).is_some() {
            open = Some(whole);
            continue;
        }
        for (name, tabs) in heredocs(&whole.text) {
            let mut text = String::new();
            for (_, line) in rest.by_ref() {
                let line = if tabs { line.trim_start_matches('\t') } else { line };
                if line == name {
                    break;
                }
                text.push_str(line);
                text.push('\n');
            }
            whole.heredocs.push(Heredoc { name, text });
        }
        all.push(whole);
    }
    all.extend(open.filter(|line| !line.text.trim().is_empty()));
    (escape, all)
}

/// What `# escape=` says; directives stand before everything else.
fn escape(text: &str) -> char {
    for line in text.lines() {
        let Some((name, value)) = line.trim().strip_prefix('#').and_then(|line| line.split_once('=')) else { break };
        if name.trim().eq_ignore_ascii_case("escape") && value.trim() == "`" {
            return '`';
        }
    }
    '\\'
}

/// The line without the escape at its end, where it has one that is not escaped itself.
fn continued(line: &str, escape: char) -> Option<&str> {
    let content = line.trim_end_matches([' ', '\t', '\r']).strip_suffix(escape)?;
    (!content.ends_with(escape)).then_some(content)
}

/// The names of the heredocs that follow this instruction, and whether leading tabs do not count.
fn heredocs(text: &str) -> Vec<(String, bool)> {
    let mut rest = text.trim();
    loop {
        let (keyword, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        match keyword.to_ascii_uppercase().as_str() {
            "ONBUILD" => rest = after.trim_start(),
            "ADD" | "COPY" | "RUN" => break,
            _ => return Vec::new(),
        }
    }
    super::words::shell(rest).iter().filter_map(|word| heredoc(word)).collect()
}

/// `<<NAME`, `<<-NAME`, `3<<NAME`, the name in quotes or not.
pub(super) fn heredoc(word: &str) -> Option<(String, bool)> {
    let name = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (name, tabs) = name.strip_prefix('-').map_or((name, false), |name| (name, true));
    let bare = name.trim_matches(['"', '\'']);
    (!bare.is_empty() && !name.contains('<')).then(|| (bare.to_owned(), tabs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<(usize, String)> {
        lines(text).1.into_iter().map(|line| (line.number, line.text)).collect()
    }

    #[test]
    fn continuations_comments_and_escapes() {
        for (text, expected) in [
            ("", &[][..]),
            ("\u{feff}", &[]),
            ("# nothing but this\n\n   # and this", &[]),
            ("\u{feff}FROM a\n", &[(1, "FROM a")]),
            ("\n\nFROM a\r\nRUN b\r\n", &[(3, "FROM a"), (4, "RUN b")]),
            ("RUN a \\\n  # no\n\n  b\nRUN c", &[(1, "RUN a   b"), (5, "RUN c")]),
            ("RUN a\\  \nb", &[(1, "RUN ab")]),
            ("RUN a\\\\\nRUN b", &[(1, "RUN a\\\\"), (2, "RUN b")]),
            ("# syntax=x\n# Escape = `\nRUN a `\nb\nRUN c:\\\nRUN d", &[(3, "RUN a b"), (5, "RUN c:\\"), (6, "RUN d")]),
            ("RUN a\n# escape=`\nRUN b `\nRUN c", &[(1, "RUN a"), (3, "RUN b `"), (4, "RUN c")]),
            ("RUN a \\", &[(1, "RUN a ")]),
            ("\\\n\\\n", &[]),
        ] {
            let expected: Vec<(usize, String)> = expected.iter().map(|(at, text)| (*at, (*text).to_owned())).collect();
            assert_eq!(texts(text), expected, "{text:?}");
        }
    }

    #[test]
    fn heredocs_hold_no_instructions() {
        let text =
            "RUN sh <<A && cat <<-\"B\"\nCOPY a b\nA\n\tADD c d\n\tB\nONBUILD COPY <<C /d\n# text\nC\nCMD x <<D\nRUN y";
        let (_, lines) = lines(text);
        let heredoc = |name: &str, text: &str| Heredoc { name: name.into(), text: text.into() };
        assert_eq!(lines[0].heredocs, [heredoc("A", "COPY a b\n"), heredoc("B", "ADD c d\n")]);
        assert_eq!((lines[1].number, &lines[1].heredocs[..]), (6, &[heredoc("C", "# text\n")][..]));
        assert_eq!((lines.len(), lines[3].number), (4, 10));
    }

    #[test]
    fn shifts_and_here_strings_are_no_heredocs() {
        for text in ["RUN echo $((1 << 2))", "RUN cat <<< x", "RUN echo $((1<<2))", "RUN echo '<<A b'"] {
            assert_eq!(heredocs(text), [], "{text}");
        }
        assert_eq!(heredocs("RUN <<E"), [("E".to_owned(), false)]);
        // What nothing ends goes on to the end.
        assert_eq!(lines("RUN <<E\nFROM a").1.len(), 1);
    }
}
