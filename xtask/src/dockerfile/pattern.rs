//! Patterns of COPY and of `.dockerignore`.
//! <https://pkg.go.dev/path/filepath#Match>, <https://docs.docker.com/build/concepts/context/#dockerignore-files>

/// What `**` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stars {
    /// The same as `*`: within a folder's name.
    Single,
    /// Any number of folders.
    Folders,
}

/// Whether there is something in a text that makes it a pattern.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether `pattern` fits the whole of `path`. A class that nothing closes fits nothing.
pub fn matches(pattern: &str, path: &str, stars: Stars) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let path: Vec<char> = path.chars().collect();
    // Which places of the path are reached by the pattern read so far: linear in both, whatever is written there.
    let mut reached = vec![false; path.len() + 1];
    reached[0] = true;
    let mut at = 0;
    while at < pattern.len() {
        let is_double = stars == Stars::Folders && pattern[at] == '*' && pattern.get(at + 1) == Some(&'*');
        let mut next = vec![false; path.len() + 1];
        if is_double {
            at += 2;
            let ends = at == pattern.len();
            if pattern.get(at) == Some(&'/') {
                at += 1;
            }
            // At the end all that follows; else nothing, or what ends at a slash.
            let mut open = false;
            for place in 0..=path.len() {
                next[place] = reached[place] || (open && (ends || path[place - 1] == '/'));
                open |= reached[place];
            }
        } else if pattern[at] == '*' {
            at += 1;
            for place in 0..=path.len() {
                next[place] = reached[place] || (place > 0 && next[place - 1] && path[place - 1] != '/');
            }
        } else {
            let Some((one, end)) = One::read(&pattern, at) else { return false };
            at = end;
            for place in 0..path.len() {
                next[place + 1] = reached[place] && one.fits(path[place]);
            }
        }
        reached = next;
    }
    reached[path.len()]
}

/// What fits one character.
enum One<'p> {
    Any,
    Same(char),
    Class { body: &'p [char], negated: bool },
}

impl<'p> One<'p> {
    /// With the place behind it; none where the pattern is malformed.
    fn read(pattern: &'p [char], at: usize) -> Option<(One<'p>, usize)> {
        match pattern[at] {
            '?' => Some((One::Any, at + 1)),
            '\\' => Some((One::Same(*pattern.get(at + 1)?), at + 2)),
            '[' => {
                let negated = pattern.get(at + 1) == Some(&'^');
                let begin = at + 1 + usize::from(negated);
                let mut end = begin;
                while *pattern.get(end)? != ']' || end == begin {
                    end += 1 + usize::from(pattern[end] == '\\');
                }
                Some((One::Class { body: &pattern[begin..end], negated }, end + 1))
            }
            c => Some((One::Same(c), at + 1)),
        }
    }

    fn fits(&self, c: char) -> bool {
        match self {
            One::Any => c != '/',
            One::Same(same) => *same == c,
            One::Class { body, negated } => {
                let mut inside = false;
                let mut rest = *body;
                while let Some((first, after)) = rest.split_first() {
                    let (low, after) = match (first, after) {
                        ('\\', [escaped, after @ ..]) => (*escaped, after),
                        _ => (*first, after),
                    };
                    let (high, after) = if let ['-', high, after @ ..] = after { (*high, after) } else { (low, after) };
                    inside |= (low..=high).contains(&c);
                    rest = after;
                }
                inside != *negated && c != '/'
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_in_go() {
        for (pattern, path, single, folders) in [
            ("*.rs", "lib.rs", true, true),
            ("*.rs", "src/lib.rs", false, false),
            ("**/*.rs", "a/b/lib.rs", false, true),
            ("**/*.rs", "lib.rs", false, true),
            ("**/bin", "cabin", false, false),
            ("**/bin", "a/bin", true, true),
            ("a/**", "a/b/c", false, true),
            ("a/**", "ab", false, false),
            ("**", "a/b", false, true),
            ("a/**/c", "a/c", false, true),
            ("a/**/c", "a/b/b/c", false, true),
            ("a/**/c", "a/bc", false, false),
            ("li?.rs", "lib.rs", true, true),
            ("a?b", "a/b", false, false),
            ("[ab]*.txt", "b1.txt", true, true),
            ("[ab]*.txt", "c1.txt", false, false),
            ("[^a-c]x", "dx", true, true),
            ("[^a-c]x", "bx", false, false),
            ("[a", "a", false, false),
            ("\\*", "*", true, true),
            ("\\*", "a", false, false),
            ("\\", "\\", false, false),
            ("target", "targets", false, false),
            ("", "", true, true),
            ("", "a", false, false),
            ("ü*", "übung", true, true),
        ] {
            assert_eq!(matches(pattern, path, Stars::Single), single, "{pattern} {path}");
            assert_eq!(matches(pattern, path, Stars::Folders), folders, "** {pattern} {path}");
        }
    }

    #[test]
    fn many_stars_cost_no_time() {
        let pattern = "*a".repeat(500);
        assert!(!matches(&pattern, &"a".repeat(499), Stars::Folders));
        assert!(matches(&pattern, &"a".repeat(500), Stars::Folders));
    }
}
