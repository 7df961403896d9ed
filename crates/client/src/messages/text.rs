//! Text fields and queries on them ↔ messages.

use crate::proto::{self, text_clause, text_query};
use lanner::{InvalidInput, Occur, TextClause, TextField, TextPattern, TextQuery};

use super::to_model::missing;

/// A text field from its message.
///
/// # Errors
/// If the analyzer is unknown.
pub fn field_to_model(message: proto::TextField) -> Result<TextField, InvalidInput> {
    let plain = TextField::weighted(message.paths);
    let (k1, b) = (message.k1.unwrap_or(plain.k1), message.b.unwrap_or(plain.b));
    let plain = plain.bm25(k1, b);
    match message.analyzer.as_str() {
        "" => Ok(plain),
        analyzer => Ok(plain.analyzed(analyzer.parse()?)),
    }
}

/// The message of a text field.
pub fn field_from_model(field: &TextField) -> proto::TextField {
    proto::TextField {
        paths: field.paths.clone().into_iter().collect(),
        analyzer: field.analyzer.to_string(),
        k1: Some(field.k1),
        b: Some(field.b),
    }
}

/// A query from its message.
///
/// # Errors
/// If there is none, a clause has no pattern, or the syntax is not valid.
pub fn to_model(message: proto::TextQuery) -> Result<TextQuery, InvalidInput> {
    match message.query.ok_or_else(|| missing("text", "`words`, `syntax` or `clauses`"))? {
        text_query::Query::Words(words) => Ok(TextQuery::words(words)),
        text_query::Query::Syntax(text) => TextQuery::parse(&text),
        text_query::Query::Clauses(list) => {
            let clauses = list.clauses.into_iter().map(clause_to_model);
            Ok(TextQuery { clauses: clauses.collect::<Result<_, _>>()? })
        }
    }
}

fn clause_to_model(message: proto::TextClause) -> Result<TextClause, InvalidInput> {
    use text_clause::Pattern;
    let occur = match proto::TextOccur::try_from(message.occur) {
        Ok(proto::TextOccur::Unspecified | proto::TextOccur::Optional) => Occur::Optional,
        Ok(proto::TextOccur::Required) => Occur::Required,
        Ok(proto::TextOccur::Excluded) => Occur::Excluded,
        Err(_) => {
            let expected = "optional, required or excluded";
            return Err(InvalidInput::mismatch("text.occur", expected, message.occur));
        }
    };
    let pattern = message.pattern.ok_or_else(|| missing("text", "a pattern in each clause"))?;
    let pattern = match pattern {
        Pattern::Words(words) => TextPattern::Words(words),
        Pattern::Phrase(phrase) => TextPattern::Phrase { words: phrase.words, slop: phrase.slop },
        Pattern::Prefix(prefix) => TextPattern::Prefix(prefix),
        Pattern::Fuzzy(fuzzy) => {
            let changes = u8::try_from(fuzzy.changes).unwrap_or(u8::MAX);
            TextPattern::Fuzzy { word: fuzzy.word, changes }
        }
    };
    Ok(TextClause { occur, pattern })
}

/// The message of a query.
pub fn from_model(query: &TextQuery) -> proto::TextQuery {
    let clauses = query.clauses.iter().map(clause_from_model).collect();
    let query = text_query::Query::Clauses(proto::TextClauses { clauses });
    proto::TextQuery { query: Some(query) }
}

fn clause_from_model(clause: &TextClause) -> proto::TextClause {
    use text_clause::Pattern;
    let occur = match clause.occur {
        Occur::Optional => proto::TextOccur::Optional,
        Occur::Required => proto::TextOccur::Required,
        Occur::Excluded => proto::TextOccur::Excluded,
    };
    let pattern = match clause.pattern.clone() {
        TextPattern::Words(words) => Pattern::Words(words),
        TextPattern::Phrase { words, slop } => Pattern::Phrase(proto::TextPhrase { words, slop }),
        TextPattern::Prefix(prefix) => Pattern::Prefix(prefix),
        TextPattern::Fuzzy { word, changes } => {
            Pattern::Fuzzy(proto::TextFuzzy { word, changes: changes.into() })
        }
    };
    proto::TextClause { occur: occur.into(), pattern: Some(pattern) }
}

/// Bytes of a query.
pub fn size_bytes(query: &TextQuery) -> usize {
    let text = |clause: &TextClause| match &clause.pattern {
        TextPattern::Words(words) | TextPattern::Phrase { words, .. } => words.len(),
        TextPattern::Prefix(word) | TextPattern::Fuzzy { word, .. } => word.len(),
    };
    query.clauses.iter().map(text).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_queries_come_back_as_they_were() {
        let field = TextField::weighted([("title", 2.5), ("text", 1.0)]).bm25(1.2, 0.75);
        let field = field.analyzed("english".parse().unwrap());
        assert_eq!(field_to_model(field_from_model(&field)), Ok(field));
        let paths = [("text".to_owned(), 1.0)].into();
        let short = proto::TextField { paths, ..proto::TextField::default() };
        assert_eq!(field_to_model(short), Ok(TextField::new(["text"])));
        let unknown =
            proto::TextField { analyzer: "klingon".into(), ..proto::TextField::default() };
        assert!(field_to_model(unknown).unwrap_err().to_string().starts_with("analyzer: expected"));

        let text = "a +b -c \"d e\"~2 f* g~2";
        let query = TextQuery::parse(text).unwrap();
        assert_eq!(to_model(from_model(&query)), Ok(query.clone()));
        let message = |query| to_model(proto::TextQuery { query: Some(query) });
        assert_eq!(message(text_query::Query::Syntax(text.into())), Ok(query));
        let words = TextQuery::words(text);
        assert_eq!(message(text_query::Query::Words(text.into())), Ok(words));
        let error = to_model(proto::TextQuery::default()).unwrap_err().to_string();
        assert_eq!(error, "text: expected `words`, `syntax` or `clauses`, got nothing");
    }
}
