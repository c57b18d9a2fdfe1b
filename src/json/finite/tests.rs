use super::check;
use proptest::prelude::*;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// Everything in serde's data model, so that no method is left out.
#[derive(Clone, Debug)]
enum Node {
    F32(f32),
    F64(f64),
    Fine(u8),
    Some(Box<Node>),
    Newtype(Box<Node>),
    NewtypeVariant(Box<Node>),
    Seq(Vec<Node>),
    Tuple(Box<(Node, Node)>),
    TupleVariant(Box<(Node, Node)>),
    Map(BTreeMap<String, Node>),
    Struct(Box<(Node, Node)>),
    StructVariant(Box<(Node, Node)>),
}

#[derive(Serialize)]
struct Newtype<'a>(&'a Node);

#[derive(Serialize)]
struct TupleStruct<'a>(&'a Node, &'a Node);

#[derive(Serialize)]
struct Struct<'a> {
    first: &'a Node,
    second: &'a Node,
}

#[derive(Serialize)]
enum Variant<'a> {
    Unit,
    Newtype(&'a Node),
    Tuple(&'a Node, &'a Node),
    Struct { first: &'a Node, second: &'a Node },
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::F32(v) => v.serialize(s),
            Self::F64(v) => v.serialize(s),
            Self::Fine(n) => fine(*n, s),
            Self::Some(v) => Some(v).serialize(s),
            Self::Newtype(v) => Newtype(v).serialize(s),
            Self::NewtypeVariant(v) => Variant::Newtype(v).serialize(s),
            Self::Seq(v) => v.serialize(s),
            Self::Tuple(v) => (&v.0, TupleStruct(&v.1, &v.0)).serialize(s),
            Self::TupleVariant(v) => Variant::Tuple(&v.0, &v.1).serialize(s),
            Self::Map(v) => v.serialize(s),
            Self::Struct(v) => {
                let (first, second) = (&v.0, &v.1);
                Struct { first, second }.serialize(s)
            }
            Self::StructVariant(v) => {
                let (first, second) = (&v.0, &v.1);
                Variant::Struct { first, second }.serialize(s)
            }
        }
    }
}

fn fine<S: Serializer>(n: u8, s: S) -> Result<S::Ok, S::Error> {
    match n % 8 {
        0 => i128::MIN.serialize(s),
        1 => u128::MAX.serialize(s),
        2 => "NaN".serialize(s),
        3 => None::<f64>.serialize(s),
        4 => ().serialize(s),
        5 => Variant::Unit.serialize(s),
        6 => s.collect_str(&f64::NAN),
        _ => serde_json::value::RawValue::from_string("1e-06".to_owned())
            .unwrap()
            .serialize(s),
    }
}

/// An independent check: walks the tree instead of serde's methods.
fn holds_none(node: &Node) -> bool {
    match node {
        Node::F32(v) => v.is_finite(),
        Node::F64(v) => v.is_finite(),
        Node::Fine(_) => true,
        Node::Some(v) | Node::Newtype(v) | Node::NewtypeVariant(v) => holds_none(v),
        Node::Seq(v) => v.iter().all(holds_none),
        Node::Map(v) => v.values().all(holds_none),
        Node::Tuple(v) | Node::TupleVariant(v) | Node::Struct(v) | Node::StructVariant(v) => {
            holds_none(&v.0) && holds_none(&v.1)
        }
    }
}

fn nodes() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        2 => any::<f32>().prop_map(Node::F32),
        2 => any::<f64>().prop_map(Node::F64),
        6 => any::<u8>().prop_map(Node::Fine),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY])
            .prop_map(Node::F64),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let one = || inner.clone().prop_map(Box::new);
        let two = || (inner.clone(), inner.clone()).prop_map(Box::new);
        prop_oneof![
            one().prop_map(Node::Some),
            one().prop_map(Node::Newtype),
            one().prop_map(Node::NewtypeVariant),
            two().prop_map(Node::Tuple),
            two().prop_map(Node::TupleVariant),
            two().prop_map(Node::Struct),
            two().prop_map(Node::StructVariant),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Node::Seq),
            prop::collection::btree_map("[a-c]", inner.clone(), 0..4).prop_map(Node::Map),
        ]
    })
}

proptest! {
    #[test]
    fn it_agrees_with_a_walk_over_the_tree(node in nodes()) {
        prop_assert_eq!(check(&node).is_ok(), holds_none(&node));
        // Everything that passes can be written by serde_json, so no value is refused that could be
        // saved.
        if holds_none(&node) {
            serde_json::to_string(&node).unwrap();
        }
    }
}

#[test]
fn the_path_is_named() {
    let node = |v| Node::F64(v);
    let monthlies = BTreeMap::from([(
        "ppts".to_owned(),
        Node::Seq(vec![node(1.0), Node::Some(Box::new(node(f64::NAN)))]),
    )]);
    let climate = BTreeMap::from([("monthlies", Node::Map(monthlies))]);
    assert_eq!(
        check(&climate).unwrap_err(),
        "`monthlies.ppts[1]` is NaN, which JSON cannot hold (null would be read back); nothing was written"
    );
    let pair = Node::Struct(Box::new((node(0.0), node(f64::NEG_INFINITY))));
    let said = check(&[pair]).unwrap_err();
    assert!(
        said.starts_with("`[0].second` is negative infinite"),
        "{said}"
    );
    let said = check(&f32::INFINITY).unwrap_err();
    assert!(said.starts_with("the value is infinite"), "{said}");
}

#[test]
fn a_name_that_is_a_float_is_looked_at_too() {
    struct Keyed(f64);
    impl Serialize for Keyed {
        fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            s.collect_map([(self.0, 1)])
        }
    }
    check(&Keyed(0.5)).unwrap();
    let said = check(&[Keyed(f64::NAN)]).unwrap_err();
    assert!(said.starts_with("`[0]` is NaN"), "{said}");
}

#[test]
fn a_serialize_that_fails_by_itself_is_an_error() {
    struct Fails;
    impl Serialize for Fails {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("out of order"))
        }
    }
    assert_eq!(
        check(&BTreeMap::from([("a", Fails)])).unwrap_err(),
        "`a` cannot be written as JSON: out of order"
    );
}
