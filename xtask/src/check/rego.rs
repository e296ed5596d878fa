//! As much of Rego as tells a module's package and rules, and what no parser of it takes: texts and brackets that do not
//! end, a file without a package. Whether an expression means anything is the engine's to say.
//! <https://www.openpolicyagent.org/docs/policy-reference#grammar>

/// A file of Rego.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// As after the word `package`.
    pub(super) package: String,
    /// From 1.
    pub(super) package_line: usize,
    /// The names of what it defines.
    pub(super) rules: Vec<String>,
    /// What keeps it from being Rego.
    pub(super) wrong: Option<Wrong>,
}

/// What is wrong, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) message: String,
}

impl Module {
    pub(super) fn read(text: &str) -> Module {
        let mut module = Module::default();
        match without_texts(text) {
            Ok(code) => module.statements(&code),
            Err(wrong) => module.wrong = Some(wrong),
        }
        module
    }

    /// Reads the statements of `code`: lines that begin outside of all brackets.
    fn statements(&mut self, code: &str) {
        let mut depth = 0_usize;
        for (number, line) in code.lines().enumerate() {
            let statement = line.trim();
            if depth == 0 && !statement.is_empty() {
                self.statement(statement, number + 1, line.len() - line.trim_start().len() + 1);
            }
            for c in line.chars() {
                match c {
                    '(' | '[' | '{' => depth += 1,
                    ')' | ']' | '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
            if self.wrong.is_some() {
                return;
            }
        }
        if self.package.is_empty() {
            self.wrong = Some(Wrong { line: 1, column: 1, message: "it has no package".into() });
        }
    }

    fn statement(&mut self, statement: &str, line: usize, column: usize) {
        let name = |text: &str| -> String {
            text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_' || *c == '.').collect()
        };
        let mut words = statement.split_whitespace();
        let first = words.next().unwrap_or_default();
        if self.package.is_empty() {
            match (first, words.next()) {
                ("package", Some(package)) => {
                    self.package = package.to_owned();
                    self.package_line = line;
                }
                _ => {
                    let message = "something stands before the package".to_owned();
                    self.wrong = Some(Wrong { line, column, message });
                }
            }
            return;
        }
        let rule = match first {
            "import" => return,
            "package" => {
                let message = "a second package".to_owned();
                self.wrong = Some(Wrong { line, column, message });
                return;
            }
            "default" => name(words.next().unwrap_or_default()),
            // The tail of a rule that began above: `else := …`, an operator.
            "else" => return,
            _ => name(statement),
        };
        let rule = rule.split('.').next().unwrap_or_default().to_owned();
        if !rule.is_empty() && !self.rules.contains(&rule) {
            self.rules.push(rule);
        }
    }
}

/// The text with blanks in the place of comments and of what stands in quotes; brackets are told to match.
fn without_texts(text: &str) -> Result<String, Wrong> {
    let mut code = String::with_capacity(text.len());
    let mut open: Vec<(char, usize, usize)> = Vec::new();
    let (mut line, mut column) = (1, 0);
    let mut chars = text.chars().peekable();
    let mut quote: Option<(char, usize, usize)> = None;
    let mut is_comment = false;
    while let Some(c) = chars.next() {
        column += 1;
        if c == '\n' {
            if let Some(('"', line, column)) = quote {
                return Err(Wrong { line, column, message: "a text that does not end on its line".into() });
            }
            is_comment = false;
            code.push(c);
            (line, column) = (line + 1, 0);
            continue;
        }
        let is_hidden = is_comment || quote.is_some();
        match (quote, c) {
            (Some(('"', ..)), '\\') => {
                code.push(' ');
                if chars.next_if(|next| *next != '\n').is_some() {
                    column += 1;
                }
            }
            (Some((end, ..)), c) if c == end => quote = None,
            (None, '"' | '`') if !is_comment => quote = Some((c, line, column)),
            (None, '#') if !is_comment => is_comment = true,
            (None, '(' | '[' | '{') if !is_comment => open.push((c, line, column)),
            (None, ')' | ']' | '}') if !is_comment => {
                let wanted = open.pop().map(|(open, ..)| match open {
                    '(' => ')',
                    '[' => ']',
                    _ => '}',
                });
                if wanted != Some(c) {
                    let message = match wanted {
                        Some(wanted) => format!("`{c}` where `{wanted}` closes what is open"),
                        None => format!("`{c}` closes nothing"),
                    };
                    return Err(Wrong { line, column, message });
                }
            }
            _ => {}
        }
        code.push(if is_hidden || is_comment || matches!(c, '"' | '`') { ' ' } else { c });
    }
    if let Some((_, line, column)) = quote {
        return Err(Wrong { line, column, message: "a text that does not end".into() });
    }
    match open.pop() {
        Some((c, line, column)) => Err(Wrong { line, column, message: format!("`{c}` is closed nowhere") }),
        None => Ok(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_and_rules_are_read() {
        let text = "# a comment {\npackage a.b\n\nimport rego.v1\n\ndefault path := \"manual (\"\n\npath := x if {\n\tinput.y == \"}\"\n\
                    } else := 1\nallow contains x if true\nf(x) := `\n{`\nmap.key := 1\n";
        let module = Module::read(text);
        assert_eq!(module.wrong, None);
        assert_eq!((module.package.as_str(), module.package_line), ("a.b", 2));
        assert_eq!(module.rules, ["path", "allow", "f", "map"]);
    }

    #[test]
    fn what_is_no_rego_is_told_with_its_place() {
        for (text, line, column, message) in [
            ("package a\np := {\n", 2, 6, "`{` is closed nowhere"),
            ("package a\np := (1]\n", 2, 8, "`]` where `)` closes"),
            ("package a\n}\n", 2, 1, "`}` closes nothing"),
            ("package a\np := \"x\n", 2, 6, "a text that does not end on its line"),
            ("p := 1\n", 1, 1, "something stands before the package"),
            ("# nothing\n", 1, 1, "it has no package"),
        ] {
            let wrong = Module::read(text).wrong.unwrap();
            assert_eq!((wrong.line, wrong.column), (line, column), "{text}");
            assert!(wrong.message.contains(message), "{wrong:?}");
        }
    }
}
