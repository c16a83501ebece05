//! Smoke.
#![allow(clippy::unwrap_used)]
#[test]
fn smoke() {
    for file in std::env::var("F").unwrap().split(',') {
        let bytes = std::fs::read(file).unwrap();
        let read = serinus::spec::read(file, &bytes);
        println!(
            "{}\n",
            serinus::spec::Report { source: &read.source, diagnostics: &read.diagnostics }.render(false)
        );
        println!(
            "{:#?}",
            serinus::spec::compile::compile(&read.documents, None).map(|it| it.plan.steps.len())
        );
    }
}
#[test]
fn schema() {
    let s = serinus::spec::schema::of(serinus::spec::Kind::Rollout);
    println!("{}", serde_json::to_string_pretty(s).unwrap());
}
