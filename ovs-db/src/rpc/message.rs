//! Messages (JSON-RPC 1.0 section 1; RFC 7047 section 4).

use crate::data::parse::{expected, member};
use crate::error::{Error, ErrorKind};
use crate::json::Json;

/// A JSON-RPC 1.0 message.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// A call that wants an answer.
    Request {
        /// The method.
        method: String,
        /// Its parameters.
        params: Vec<Json>,
        /// What the answer is to carry; not `null`.
        id: Json,
    },
    /// A call that wants no answer: `id` is `null`.
    Notification {
        /// The method.
        method: String,
        /// Its parameters.
        params: Vec<Json>,
    },
    /// The answer to a request that succeeded.
    Response {
        /// What the method returned.
        result: Json,
        /// The `id` of the request.
        id: Json,
    },
    /// The answer to a request that failed.
    Error {
        /// What went wrong; not `null`.
        error: Json,
        /// The `id` of the request.
        id: Json,
    },
}

/// Why a JSON value is not a JSON-RPC message.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("not a JSON-RPC message: {0}")]
pub struct MessageError(#[from] Error);

impl Message {
    /// Reads a message.
    ///
    /// # Errors
    /// [`MessageError`] for anything but an object with exactly the members of one kind of message: `method` (a string),
    /// `params` (an array) and `id`; or `result`, `error` and `id`, not both of the first two other than `null`. A
    /// member that is absent where `null` may stand counts as `null`.
    pub fn from_json(json: Json) -> Result<Message, MessageError> {
        let Json::Object(mut members) = json else { return Err(expected("an object", &json).into()) };
        let (method, params) = (members.remove("method"), members.remove("params"));
        let (result, error) = (members.remove("result"), members.remove("error"));
        let id = members.remove("id").unwrap_or_default();
        if let Some((name, _)) = members.into_iter().next() {
            return Err(Error::new(ErrorKind::UnknownMember(name)).into());
        }
        let is_present = |json: &Option<Json>| json.as_ref().is_some_and(|json| *json != Json::Null);
        let wrong = |why| Err(MessageError(Error::new(ErrorKind::BadConstraint(why))));
        if let Some(method) = method {
            let Json::String(method) = method else {
                return Err(expected("a string", &method).at(member("method")).into());
            };
            let params = params.ok_or_else(|| Error::new(ErrorKind::MissingMember("params")))?;
            let Json::Array(params) = params else {
                return Err(expected("an array", &params).at(member("params")).into());
            };
            return if is_present(&result) || is_present(&error) {
                wrong("a call has no result and no error")
            } else if id == Json::Null {
                Ok(Message::Notification { method, params })
            } else {
                Ok(Message::Request { method, params, id })
            };
        }
        if params.is_some() {
            return Err(Error::new(ErrorKind::MissingMember("method")).into());
        }
        match (result, error.filter(|error| *error != Json::Null)) {
            (result, Some(_)) if is_present(&result) => wrong("an answer has a result or an error, not both"),
            (_, Some(error)) => Ok(Message::Error { error, id }),
            (Some(_), None) if id == Json::Null => wrong("an answer needs the id of its request"),
            (Some(result), None) => Ok(Message::Response { result, id }),
            (None, None) => Err(Error::new(ErrorKind::MissingMember("result")).into()),
        }
    }

    /// The JSON form, with every member of its kind.
    pub fn to_json(&self) -> Json {
        let call = |method: &String, params: &[Json], id: Json| {
            Json::object([("method", Json::string(method)), ("params", Json::Array(params.to_vec())), ("id", id)])
        };
        let answer =
            |result, error, id: &Json| Json::object([("result", result), ("error", error), ("id", id.clone())]);
        match self {
            Message::Request { method, params, id } => call(method, params, id.clone()),
            Message::Notification { method, params } => call(method, params, Json::Null),
            Message::Response { result, id } => answer(result.clone(), Json::Null, id),
            Message::Error { error, id } => answer(Json::Null, error.clone(), id),
        }
    }

    /// The bytes to send.
    pub fn encode(&self) -> Vec<u8> {
        self.to_json().to_text().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{parse, tests::any_json};
    use proptest::prelude::*;

    fn any_message() -> impl Strategy<Value = Message> {
        let some = || any_json().prop_filter("not null", |json| *json != Json::Null);
        let params = || prop::collection::vec(any_json(), 0..3);
        prop_oneof![
            ("[a-z]{1,5}", params(), some()).prop_map(|(method, params, id)| Message::Request { method, params, id }),
            ("[a-z]{1,5}", params()).prop_map(|(method, params)| Message::Notification { method, params }),
            (any_json(), some()).prop_map(|(result, id)| Message::Response { result, id }),
            (some(), any_json()).prop_map(|(error, id)| Message::Error { error, id }),
        ]
    }

    #[test]
    fn what_is_not_a_message_is_refused() {
        for text in [
            r#"[]"#,
            r#"{}"#,
            r#"{"id":1}"#,
            r#"{"method":5,"params":[],"id":1}"#,
            r#"{"method":"a","id":1}"#,
            r#"{"method":"a","params":{},"id":1}"#,
            r#"{"method":"a","params":[],"id":1,"result":5}"#,
            r#"{"params":[],"id":1}"#,
            r#"{"result":1,"error":2,"id":1}"#,
            r#"{"result":1,"error":null,"id":null}"#,
            r#"{"result":1,"error":null,"id":1,"extra":1}"#,
        ] {
            assert!(Message::from_json(parse(text.as_bytes()).unwrap()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn from_json_inverts_encode(message in any_message()) {
            prop_assert_eq!(Message::from_json(parse(&message.encode()).unwrap()), Ok(message));
        }
    }
}
