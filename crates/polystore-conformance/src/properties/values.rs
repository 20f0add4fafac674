//! What goes in comes out.

use std::collections::{BTreeMap, HashMap};

use polystore_kv::{Entry, ErrorKind, Expiry};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::property::{Need, Property, property};
use crate::subject::Subject;
use crate::verdict::{Verdict, fails, same, same_for, some};

const MEGABYTE: usize = 1_000_000;

pub(super) fn all() -> Vec<Property> {
    vec![
        property(every_type_of_json_comes_back),
        property(falsy_values_are_there),
        property(integers_come_back_exactly),
        property(floats_come_back_exactly),
        property(strings_of_every_kind_come_back),
        property(json_text_is_kept_as_it_is),
        property(what_looks_like_a_wrapper_is_a_value),
        property(structs_and_enums_come_back),
        property(maps_with_integer_keys_come_back),
        property(deep_values_come_back),
        property(a_string_of_a_megabyte_comes_back).needs(&[Need::ValueBytes(MEGABYTE + 2)]),
        property(an_object_of_a_megabyte_comes_back).needs(&[Need::ValueBytes(MEGABYTE + 2)]),
        property(nan_and_infinities_are_refused_and_change_nothing),
        property(values_without_a_json_form_are_refused_and_change_nothing),
        property(a_value_that_is_too_large_is_refused_and_changes_nothing)
            .needs(&[Need::RefusesValues]),
        property(what_changes_after_the_call_is_not_stored),
    ]
}

/// Writes the values under keys of their own and reads them back one by one and listed.
async fn come_back(t: &Subject, values: &[Value]) -> Verdict {
    let entries: BTreeMap<String, Value> = values
        .iter()
        .enumerate()
        .map(|(number, value)| (format!("{number:04}"), value.clone()))
        .collect();
    for (key, value) in &entries {
        t.store.set(key, value).await?;
        same_for(key, t.store.get::<Value>(key).await?.as_ref(), Some(value))?;
    }
    same(t.store.all::<Value>().await?, entries)
}

async fn every_type_of_json_comes_back(t: Subject) -> Verdict {
    let values = [
        json!(true),
        json!(7),
        json!(-7.25),
        json!("text"),
        json!([1, "two", [3.5, false], {}, null]),
        json!({"a": {"b": [{"c": null}]}, "": 0, "d e": "f", "__proto__": {"toString": 1}}),
    ];
    come_back(&t, &values).await
}

async fn falsy_values_are_there(t: Subject) -> Verdict {
    let values = [
        json!(0),
        json!(-0.0),
        json!(""),
        json!(false),
        json!([]),
        json!({}),
    ];
    come_back(&t, &values).await?;
    for (number, value) in values.iter().enumerate() {
        same_for(value, t.store.has(&format!("{number:04}")).await?, true)?;
    }
    same(t.store.keys().await?.len(), values.len())
}

async fn integers_come_back_exactly(t: Subject) -> Verdict {
    for number in [
        0,
        1,
        u64::from(u32::MAX),
        (1 << 53) + 1,
        i64::MAX as u64,
        u64::MAX,
    ] {
        t.store.set("a", &number).await?;
        same(t.store.get("a").await?, Some(number))?;
        same(t.store.all::<u64>().await?["a"], number)?;
    }
    for number in [-1, i64::from(i32::MIN), -(1 << 53) - 1, i64::MIN] {
        t.store.set("a", &number).await?;
        same(t.store.get("a").await?, Some(number))?;
    }
    Ok(())
}

async fn floats_come_back_exactly(t: Subject) -> Verdict {
    let numbers = [
        0.0,
        -0.0,
        0.1 + 0.2,
        1.0 / 3.0,
        1e21,
        1e-7,
        9_007_199_254_740_993.0,
        123_456_789.123_456_79,
        f64::EPSILON,
        f64::MIN_POSITIVE,
        5e-324,
        f64::MAX,
        f64::MIN,
    ];
    for number in numbers {
        t.store.set("a", &number).await?;
        let found = some(t.store.get::<f64>("a").await?)?;
        same_for(number, found.to_bits(), number.to_bits())?;
    }
    Ok(())
}

async fn strings_of_every_kind_come_back(t: Subject) -> Verdict {
    let every_ascii: String = (0..128_u8).map(char::from).collect();
    let mut texts: Vec<&str> = vec![
        &every_ascii,
        "\u{0}",
        "null",
        "\"",
        "\\",
        "\\u0000",
        "'; DROP TABLE kv; --",
        "line\r\nline\u{2028}line\u{2029}",
        "é e\u{301} ß ﬁ",
        "مرحبا שלום",
        "日本語",
        "👩‍👩‍👧‍👦🇨🇭",
        "\u{feff}bom",
        "\u{ffff}\u{fffe}\u{e000}\u{10ffff}",
        "\u{202e}right to left",
        " spaces ",
        "%41%2F+&=",
    ];
    let long = "ä".repeat(10_000);
    if t.can
        .max_value_bytes
        .is_none_or(|most| most > 2 * 10_000 + 2)
    {
        texts.push(&long);
    }
    let values: Vec<Value> = texts.into_iter().map(Value::from).collect();
    come_back(&t, &values).await
}

/// Compact texts, as the stores' own writes are. Half of a surrogate pair is no text in
/// Rust, but other languages write it.
async fn json_text_is_kept_as_it_is(t: Subject) -> Verdict {
    for text in [
        r#""\ud800""#,
        r#"{"a":["\udfff\u0000\n"]}"#,
        r#""é😀""#,
        r#"{"b":1,"a":2}"#,
        "-0.0",
        "18446744073709551615",
        r#"[[],{},"",0,false,null]"#,
    ] {
        let entry = Entry::from_json(text, Expiry::Never)?;
        t.store.put("a", entry.clone()).await?;
        let found = some(t.store.entry("a").await?)?;
        same_for(text, found.json(), entry.json())?;
        let mut scan = t.store.scan(polystore_kv::Scan::new());
        let (_, listed) = some(scan.try_next().await?)?;
        same_for(text, listed.json(), entry.json())?;
    }
    Ok(())
}

async fn what_looks_like_a_wrapper_is_a_value(t: Subject) -> Verdict {
    let values = [
        json!({"expires": 1, "value": 2}),
        json!({"expires": null, "value": null}),
        json!({"value": {"expires": 0, "value": "inner"}}),
        json!("{\"expires\":1,\"value\":2}"),
        json!({"expires_at": 1}),
    ];
    come_back(&t, &values).await
}

async fn structs_and_enums_come_back(t: Subject) -> Verdict {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Dot,
        Circle(f32),
        Line { from: (i8, i8), to: Option<char> },
    }
    let shapes = vec![
        Shape::Dot,
        Shape::Circle(0.1),
        Shape::Line {
            from: (-1, 1),
            to: Some('é'),
        },
        Shape::Line {
            from: (0, 0),
            to: None,
        },
    ];
    t.store.set("all", &shapes).await?;
    same(t.store.get("all").await?, Some(shapes.clone()))?;
    for shape in shapes {
        t.store.set("one", &shape).await?;
        same(t.store.get("one").await?, Some(shape))?;
    }
    Ok(())
}

async fn maps_with_integer_keys_come_back(t: Subject) -> Verdict {
    let map = HashMap::from([(-1_i64, "a".to_owned()), (i64::MAX, "b".to_owned())]);
    t.store.set("a", &map).await?;
    same(t.store.get("a").await?, Some(map))
}

async fn deep_values_come_back(t: Subject) -> Verdict {
    // 127 levels are the most that a store has to take.
    let arrays = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    let objects = |depth| (0..depth).fold(json!(1), |inner, _| json!({"a": inner}));
    come_back(&t, &[arrays(100), objects(100), arrays(127), objects(127)]).await
}

async fn a_string_of_a_megabyte_comes_back(t: Subject) -> Verdict {
    let text = "0123456789".repeat(MEGABYTE / 10);
    t.store.set("a", &text).await?;
    let found = some(t.store.get::<String>("a").await?)?;
    same(found == text, true)?;
    same(t.store.values::<String>().await? == [text], true)?;
    t.store.set("a", "short").await?;
    same(t.store.get::<String>("a").await?.as_deref(), Some("short"))
}

async fn an_object_of_a_megabyte_comes_back(t: Subject) -> Verdict {
    // 25 bytes each.
    let object: BTreeMap<String, u64> = (0..MEGABYTE as u64 / 25)
        .map(|number| (format!("key-{number:06}"), number + 10_000_000))
        .collect();
    t.store.set("a", &object).await?;
    same(t.store.get("a").await? == Some(object), true)
}

async fn nan_and_infinities_are_refused_and_change_nothing(t: Subject) -> Verdict {
    t.store.set("a", &1).await?;
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = fails(t.store.set("a", &number).await, ErrorKind::Encode)?;
        same(error.is_data(), true)?;
        fails(
            t.store.set("b", &vec![Some(number)]).await,
            ErrorKind::Encode,
        )?;
        fails(t.store.add(&number).await, ErrorKind::Encode)?;
        let batch = t.store.set_many([("a", 2.0), ("b", number)]).await;
        fails(batch, ErrorKind::Encode)?;
    }
    same(
        t.store.entries::<Value>().await?,
        [("a".to_owned(), json!(1))],
    )
}

async fn values_without_a_json_form_are_refused_and_change_nothing(t: Subject) -> Verdict {
    t.store.set("a", &1).await?;
    let too_deep = (0..128).fold(json!(1), |inner, _| json!([inner]));
    fails(t.store.set("a", &too_deep).await, ErrorKind::Encode)?;
    let tuples = HashMap::from([((1, 2), 3)]);
    fails(t.store.set("a", &tuples).await, ErrorKind::Encode)?;
    same(
        t.store.entries::<Value>().await?,
        [("a".to_owned(), json!(1))],
    )
}

async fn a_value_that_is_too_large_is_refused_and_changes_nothing(t: Subject) -> Verdict {
    let most = t.can.max_value_bytes.unwrap_or_default();
    let fits = "x".repeat(most.saturating_sub(2));
    t.store.set("a", &fits).await?;
    same(t.store.get("a").await? == Some(fits.clone()), true)?;
    // A store that encodes values may have room for more of some characters.
    let longer = fits.clone() + "x";
    let too_large = match t.store.set("a", &longer).await {
        Err(_) => longer,
        Ok(()) => {
            same(t.store.get("a").await? == Some(longer), true)?;
            "x".repeat(10 * most)
        }
    };
    t.store.set("a", &fits).await?;
    fails(t.store.set("a", &too_large).await, ErrorKind::InvalidValue)?;
    fails(t.store.set("b", &too_large).await, ErrorKind::InvalidValue)?;
    fails(t.store.add(&too_large).await, ErrorKind::InvalidValue)?;
    let value = some(t.store.get::<String>("a").await?)?;
    same(value.len(), fits.len())?;
    same(t.store.keys().await?, ["a"])
}

async fn what_changes_after_the_call_is_not_stored(t: Subject) -> Verdict {
    let mut list = vec![1];
    let set = t.store.set("a", &list);
    let add = t.store.add(&list);
    let set_many = t.store.set_many([("b", &list)]);
    list.push(2);
    set.await?;
    let added = add.await?;
    set_many.await?;
    for key in ["a", "b", &added] {
        same(t.store.get(key).await?, Some(vec![1]))?;
    }
    Ok(())
}
