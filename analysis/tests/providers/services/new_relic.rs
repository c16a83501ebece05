use analysis::{
    Missing,
    provider::{AnyQuestion, NewRelic},
};

use super::{Besides, Kind, Known, Points, number_behind};
use crate::classes::Taken;

pub(super) static KNOWN: Known = Known {
    name: "new relic",
    kind: "application/json",
    question: |timed| AnyQuestion::NewRelic(NewRelic { account: 1234, timed }),
    answer,
    unusual: |row, kind| match (row.name, kind) {
        // It has no words for them.
        ("warnings" | "partial answer", Kind::Value) => Some(Taken::Number(5.0)),
        ("warnings" | "partial answer", Kind::Counts) => Some(Taken::Counts(5, 5)),
        // Several series are facets, and what they are called stands where one number is needed.
        ("vector of two", _) => Some(Taken::Not(Missing::NotOneNumber)),
        _ => None,
    },
    asked: |request| (number_behind(request, "SINCE "), number_behind(request, "UNTIL ")),
    requests: || {
        vec![(
            "POST /below/graphql",
            "{\"query\":\"query($account:Int!,$q0:Nrql!,$q1:Nrql!){actor{account(id:$account){ q0:nrql(query:$q0){results} \
             q1:nrql(query:$q1){results}}}}\",\"variables\":{\"account\":1234,\
             \"q0\":\"bad \\\"1\\\" SINCE 1799999760000 UNTIL 1799999940000 TIMESERIES 60 seconds\",\
             \"q1\":\"all SINCE 1799999760000 UNTIL 1799999940000 TIMESERIES 60 seconds\"}}",
        )]
    },
};

fn answer(kind: Kind, lines: &[Points], besides: Besides) -> String {
    let facet = if 1 < lines.len() { r#""facet":"hunter2","# } else { "" };
    let point = |it: &(i64, String)| {
        format!(r#"{{{facet}"beginTimeSeconds":{},"endTimeSeconds":{},"count":{}}}"#, it.0, it.0 + 60, it.1)
    };
    let points: Vec<String> = lines.iter().flatten().map(point).collect();
    let again = if besides == Besides::KeyTwice { r#""results":[],"# } else { "" };
    let results = match besides {
        Besides::WrongTypes => r#"{"results":{"count":5}}"#.to_owned(),
        _ => format!(r#"{{{again}"results":[{}]}}"#, points.join(",")),
    };
    let fields = match kind {
        Kind::Value => format!(r#""q0":{results}"#),
        Kind::Counts => format!(r#""q0":{results},"q1":{results}"#),
    };
    match besides {
        Besides::Error => {
            r#"{"data":{"actor":{"account":{"q0":null}}},"errors":[{"message":"hunter2","path":["actor"]}]}"#
                .to_owned()
        }
        _ => format!(r#"{{"data":{{"actor":{{"account":{{{fields}}}}}}}}}"#),
    }
}
