//! What strace wrote, as calls in the order in which they ended and began.

use std::collections::BTreeMap;

/// One system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// All between the parentheses, descriptors with their paths (`7</data/x.log>`).
    pub arguments: String,
    /// What it gave; negative for an error or an unfinished call.
    pub result: i64,
    /// The line on which it began.
    pub began: usize,
    /// The line on which it ended.
    pub ended: usize,
}

impl Call {
    /// The path of the first descriptor.
    pub fn descriptor(&self) -> &str {
        between(&self.arguments, '<', '>')
    }

    /// The path of the file that an open, a mkdir, an unlink or a rename names in its `index`-th quoted argument.
    pub fn path(&self, index: usize) -> &str {
        self.arguments.split('"').nth(index * 2 + 1).unwrap_or("")
    }

    /// Whether it makes bytes or a name durable.
    pub fn is_sync(&self) -> bool {
        matches!(self.name.as_str(), "fdatasync" | "fsync")
    }
}

fn between(text: &str, open: char, close: char) -> &str {
    let Some((_, rest)) = text.split_once(open) else {
        return "";
    };
    // An address of a socket holds `->`.
    let end = rest.find([close, ',']).unwrap_or(rest.len());
    let mut end = end;
    while rest[..end].ends_with('-') {
        end = rest[end + 1..]
            .find([close, ','])
            .map_or(rest.len(), |next| end + 1 + next);
    }
    &rest[..end]
}

/// The calls of a trace made with `strace -f -yy`, ordered by where they ended.
pub fn parse(text: &str) -> Vec<Call> {
    let mut unfinished: BTreeMap<(String, String), (usize, String)> = BTreeMap::new();
    let mut calls = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some((thread, rest)) = line.trim_start().split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        if let Some(rest) = rest.strip_prefix("<... ") {
            let Some((name, tail)) = rest.split_once(" resumed>") else {
                continue;
            };
            if let Some((began, head)) = unfinished.remove(&(thread.to_owned(), name.to_owned())) {
                calls.extend(call(name, &format!("{head}{tail}"), began, number));
            }
            continue;
        }
        let Some((name, tail)) = rest.split_once('(') else {
            continue;
        };
        if let Some(head) = tail.trim_end().strip_suffix("<unfinished ...>") {
            let key = (thread.to_owned(), name.to_owned());
            unfinished.insert(key, (number, head.trim_end().to_owned()));
        } else {
            calls.extend(call(name, tail, number, number));
        }
    }
    calls
}

fn call(name: &str, tail: &str, began: usize, ended: usize) -> Option<Call> {
    let (arguments, result) = tail.rsplit_once(" = ")?;
    let arguments = arguments.trim_end().trim_end_matches(')').to_owned();
    let digits = result.split([' ', '<']).next().unwrap_or("");
    let result = digits.parse().unwrap_or(-1);
    Some(Call {
        name: name.to_owned(),
        arguments,
        result,
        began,
        ended,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupted_calls_are_joined() {
        let text = "7  fdatasync(9</d/t-0/0.log> <unfinished ...>\n\
                    8  writev(12<TCP:[127.0.0.1:9092->127.0.0.1:40000]>, [{iov_base=\"a\"...}], 1) = 56\n\
                    7  <... fdatasync resumed>)         = 0\n\
                    7  openat(AT_FDCWD</x>, \"/d/a.tmp\", O_RDWR|O_CREAT, 0666) = 10</d/a.tmp>\n";
        let calls = parse(text);
        let seen: Vec<_> = calls
            .iter()
            .map(|call| (call.name.as_str(), call.began, call.ended, call.result))
            .collect();
        assert_eq!(
            seen,
            [
                ("writev", 1, 1, 56),
                ("fdatasync", 0, 2, 0),
                ("openat", 3, 3, 10)
            ]
        );
        assert_eq!(
            calls[0].descriptor(),
            "TCP:[127.0.0.1:9092->127.0.0.1:40000]"
        );
        assert_eq!(calls[1].descriptor(), "/d/t-0/0.log");
        assert_eq!(calls[2].path(0), "/d/a.tmp");
    }
}
