//! `polystore-bench-opendal SERVICE URL get|set TASKS`: operations a second of OpenDAL's service
//! on a server, with the same JSON and measured by the same code as the others.

#[path = "../../src/measure.rs"]
#[allow(dead_code, reason = "some of it is for the other benchmarks")]
mod measure;
#[path = "../../src/subject.rs"]
#[allow(dead_code, reason = "some of it is for the other benchmarks")]
mod subject;

use opendal::{Operator, services};

use measure::Operation;
use subject::{Subject, User, from_json, to_json};

#[derive(Clone)]
struct OpenDal {
    service: String,
    url: String,
    operator: Option<Operator>,
}

impl OpenDal {
    fn operator(&self) -> &Operator {
        self.operator.as_ref().expect("it was made fresh")
    }
}

impl Subject for OpenDal {
    async fn fresh(&self) -> Self {
        let operator = match self.service.as_str() {
            "redis" => Operator::new(services::Redis::default().endpoint(&self.url).root("/opendal")),
            "postgres" => Operator::new(
                services::Postgresql::default()
                    .connection_string(&self.url)
                    .table("opendal")
                    .key_field("id")
                    .value_field("value"),
            ),
            other => panic!("there is no service {other:?} here"),
        };
        Self {
            operator: Some(operator.expect("the URL is right")),
            ..self.clone()
        }
    }
    async fn get(&self, key: &str) -> Option<User> {
        let json = self.operator().read(key).await.expect("the server answers");
        Some(from_json(&json.to_bytes()))
    }
    async fn set(&self, key: &str, user: &User) {
        let written = self.operator().write(key, to_json(user)).await;
        written.expect("the server answers");
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [service, url, operation, tasks] = &arguments[..] else {
        panic!("usage: polystore-bench-opendal SERVICE URL get|set TASKS");
    };
    let operation = match operation.as_str() {
        "get" => Operation::Get,
        "set" => Operation::Set,
        other => panic!("{other:?} is not measured"),
    };
    let subject = OpenDal {
        service: service.clone(),
        url: url.clone(),
        operator: None,
    };
    measure::fill(&subject);
    let tasks = tasks.parse().expect("TASKS is a number");
    println!("{}", measure::operations(&subject, operation, tasks));
}
