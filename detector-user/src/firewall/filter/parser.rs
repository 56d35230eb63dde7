//! From text to an expression.

use super::condition::Condition;
use super::{Expression, FilterError};

/// Deepest nesting of parentheses and negations.
const DEPTH_MAX: usize = 64;

/// Parses a filter.
///
/// # Errors
/// [`FilterError`] names the first mistake and its place.
pub(super) fn parse(text: &str) -> Result<Expression, FilterError> {
    let mut parser = Parser {
        words: words(text)?,
        next: 0,
        end: text.chars().count() + 1,
        depth: 0,
    };
    let expression = parser.either()?;
    match parser.peek() {
        None => Ok(expression),
        Some(word) => Err(mistake(word.at, format!("unexpected {:?}", word.text))),
    }
}

/// A word with its place.
struct Word {
    at: usize,
    text: String,
    /// Whether it was in quotes, and is a value then.
    quoted: bool,
}

struct Parser {
    words: Vec<Word>,
    next: usize,
    end: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Word> {
        self.words.get(self.next)
    }

    /// Takes the next word if it is this one.
    fn take(&mut self, text: &str) -> bool {
        let is_it = self
            .peek()
            .is_some_and(|it| !it.quoted && it.text.eq_ignore_ascii_case(text));
        self.next += usize::from(is_it);
        is_it
    }

    fn either(&mut self) -> Result<Expression, FilterError> {
        let mut any = vec![self.all()?];
        while self.take("or") {
            any.push(self.all()?);
        }
        Ok(match any.pop() {
            Some(only) if any.is_empty() => only,
            last => Expression::Or(any.into_iter().chain(last).collect()),
        })
    }

    fn all(&mut self) -> Result<Expression, FilterError> {
        let mut all = vec![self.negated()?];
        while self.take("and") {
            all.push(self.negated()?);
        }
        Ok(match all.pop() {
            Some(only) if all.is_empty() => only,
            last => Expression::And(all.into_iter().chain(last).collect()),
        })
    }

    fn negated(&mut self) -> Result<Expression, FilterError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let at = self.peek().map_or(self.end, |word| word.at);
            return Err(mistake(at, "too many parentheses".to_owned()));
        }
        let expression = if self.take("not") || self.take("!") {
            Expression::Not(Box::new(self.negated()?))
        } else if self.take("(") {
            let inner = self.either()?;
            if !self.take(")") {
                let at = self.peek().map_or(self.end, |word| word.at);
                return Err(mistake(at, "a closing parenthesis is missing".to_owned()));
            }
            inner
        } else {
            self.condition()?
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn condition(&mut self) -> Result<Expression, FilterError> {
        let at = self.next;
        let field = self.word("a field")?;
        let operator = self.word("an operator")?;
        let value = self.word("a value")?;
        let condition = Condition::new(&field, &operator, &value);
        condition.map(Expression::Is).map_err(|(part, what)| {
            let word = self.words.get(at + part);
            mistake(word.map_or(self.end, |word| word.at), what)
        })
    }

    fn word(&mut self, what: &str) -> Result<String, FilterError> {
        match self.peek() {
            Some(word) if word.quoted || !matches!(word.text.as_str(), "(" | ")" | "!") => {
                let text = word.text.clone();
                self.next += 1;
                Ok(text)
            }
            Some(word) => Err(mistake(
                word.at,
                format!("{what} is missing before {:?}", word.text),
            )),
            None => Err(mistake(self.end, format!("{what} is missing"))),
        }
    }
}

fn words(text: &str) -> Result<Vec<Word>, FilterError> {
    let mut words = Vec::new();
    let mut rest = text.chars().enumerate().peekable();
    while let Some((at, c)) = rest.next() {
        let at = at + 1;
        match c {
            c if c.is_whitespace() => {}
            '(' | ')' | '!' => words.push(Word {
                at,
                text: c.to_string(),
                quoted: false,
            }),
            '\'' | '"' => {
                let mut quoted = String::new();
                loop {
                    match rest.next() {
                        Some((_, end)) if end == c => break,
                        Some((_, c)) => quoted.push(c),
                        None => return Err(mistake(at, "a quote is not closed".to_owned())),
                    }
                }
                words.push(Word {
                    at,
                    text: quoted,
                    quoted: true,
                });
            }
            _ => {
                let mut word = c.to_string();
                while let Some((_, c)) =
                    rest.next_if(|(_, c)| !c.is_whitespace() && !"()'\"".contains(*c))
                {
                    word.push(c);
                }
                words.push(Word {
                    at,
                    text: word,
                    quoted: false,
                });
            }
        }
    }
    Ok(words)
}

const fn mistake(at: usize, what: String) -> FilterError {
    FilterError { at, what }
}
