use super::*;

fn comes_back<T: Words + PartialEq + fmt::Debug>(value: T) {
    let words = written(&value);
    assert_eq!(read::<T>(&words), Some(value), "{words}");
    assert_eq!(read::<T>(&format!("{words} 0")).map(drop), None, "a word too many");
    let fewer = words.rsplit_once(' ').map_or("", |(fewer, _)| fewer);
    assert_eq!(read::<T>(fewer).map(drop), None, "a word too few");
}

#[test]
fn what_is_written_can_be_read() {
    comes_back((-3, true));
    comes_back(u64::MAX);
    comes_back(Duration::MAX);
    comes_back(vec![Some("with space, \n and ä".to_owned()), None, Some(String::new())]);
    comes_back(OsString::from_vec(vec![0xff, b'%', b' ', 0x80]));
    comes_back(PathBuf::from("/srv/app/current/app"));
}

#[test]
fn what_means_nothing_is_no_value() {
    for word in ["", "x", "-1", "1.5", "4294967296"] {
        assert_eq!(read::<u32>(word), None, "{word}");
    }
    for word in ["plain", ".%", ".%4", ".%zz", ".%ff"] {
        assert_eq!(read::<String>(word), None, "{word}");
    }
    assert_eq!(read::<Vec<u32>>("18446744073709551615 1"), None);
}

/// One pool, in the shapes that different builds may give it.
macro_rules! build {
    ($name:ident: $kind:item $($items:item)*) => {
        #[allow(dead_code, reason = "these are there for their shapes")]
        mod $name {
            #[derive(Debug, PartialEq)]
            $kind
            $($items)*
        }
    };
}
build! { plain:
    pub(super) enum Kind { Idle, Busy(u32), Gone { at: u64, why: u64 } }
    words_of_variants!(Kind { Idle, Busy(count), Gone { at, why } });
    struct Nested(u64);
    words_of_fields!(Nested { 0 });
    pub(super) struct Pool { first: u64, second: u64, kinds: Vec<Kind>, nested: Option<Nested> }
    words_of_fields!(Pool { first, second, kinds, nested });
}
build! { with_fields_in_another_order:
    pub(super) enum Kind { Idle, Busy(u32), Gone { at: u64, why: u64 } }
    words_of_variants!(Kind { Idle, Busy(count), Gone { at, why } });
    struct Nested(u64);
    words_of_fields!(Nested { 0 });
    pub(super) struct Pool { first: u64, second: u64, kinds: Vec<Kind>, nested: Option<Nested> }
    words_of_fields!(Pool { second, first, kinds, nested });
}
build! { with_fields_of_a_variant_in_another_order:
    pub(super) enum Kind { Idle, Busy(u32), Gone { at: u64, why: u64 } }
    words_of_variants!(Kind { Idle, Busy(count), Gone { why, at } });
    struct Nested(u64);
    words_of_fields!(Nested { 0 });
    pub(super) struct Pool { first: u64, second: u64, kinds: Vec<Kind>, nested: Option<Nested> }
    words_of_fields!(Pool { first, second, kinds, nested });
}
build! { with_another_name_for_a_field:
    pub(super) enum Kind { Idle, Busy(u32), Gone { at: u64, why: u64 } }
    words_of_variants!(Kind { Idle, Busy(count), Gone { at, why } });
    struct Nested(u64);
    words_of_fields!(Nested { 0 });
    pub(super) struct Pool { first: u64, last: u64, kinds: Vec<Kind>, nested: Option<Nested> }
    words_of_fields!(Pool { first, last, kinds, nested });
}
build! { with_another_name_for_a_variant:
    pub(super) enum Kind { Idle, Full(u32), Gone { at: u64, why: u64 } }
    words_of_variants!(Kind { Idle, Full(count), Gone { at, why } });
    struct Nested(u64);
    words_of_fields!(Nested { 0 });
    pub(super) struct Pool { first: u64, second: u64, kinds: Vec<Kind>, nested: Option<Nested> }
    words_of_fields!(Pool { first, second, kinds, nested });
}
build! { with_another_type_in_a_nested_one:
    pub(super) enum Kind { Idle, Busy(u32), Gone { at: u64, why: u64 } }
    words_of_variants!(Kind { Idle, Busy(count), Gone { at, why } });
    struct Nested(i32);
    words_of_fields!(Nested { 0 });
    pub(super) struct Pool { first: u64, second: u64, kinds: Vec<Kind>, nested: Option<Nested> }
    words_of_fields!(Pool { first, second, kinds, nested });
}
build! { with_another_type_in_a_variant:
    pub(super) enum Kind { Idle, Busy(u64), Gone { at: u64, why: u64 } }
    words_of_variants!(Kind { Idle, Busy(count), Gone { at, why } });
    struct Nested(u64);
    words_of_fields!(Nested { 0 });
    pub(super) struct Pool { first: u64, second: u64, kinds: Vec<Kind>, nested: Option<Nested> }
    words_of_fields!(Pool { first, second, kinds, nested });
}

#[test]
fn builds_of_another_shape_have_another_number() {
    let mut numbers = vec![
        Number::OF_NOTHING.then_shape(plain::Pool::SHAPE).0,
        Number::OF_NOTHING.then_shape(with_fields_in_another_order::Pool::SHAPE).0,
        Number::OF_NOTHING.then_shape(with_fields_of_a_variant_in_another_order::Pool::SHAPE).0,
        Number::OF_NOTHING.then_shape(with_another_name_for_a_field::Pool::SHAPE).0,
        Number::OF_NOTHING.then_shape(with_another_name_for_a_variant::Pool::SHAPE).0,
        Number::OF_NOTHING.then_shape(with_another_type_in_a_nested_one::Pool::SHAPE).0,
        Number::OF_NOTHING.then_shape(with_another_type_in_a_variant::Pool::SHAPE).0,
    ];
    let builds = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), builds);
}

#[test]
fn a_shape_names_all_that_is_in_it() {
    let kind = "Kind{Idle:{},Busy:{count:u32*4},Gone:{at:u64*8,why:u64*8}}";
    let pool = format!("Pool{{first:u64*8,second:u64*8,kinds:Vec<{kind}>,nested:Option<Nested{{0:u64*8}}>}}");
    assert_eq!(plain::Pool::SHAPE.to_string(), pool);
    assert_eq!(Number::OF_NOTHING.then_shape(plain::Pool::SHAPE), Number::OF_NOTHING.then(&pool));
}

#[test]
fn an_example_is_written_as_its_shape_has_it() {
    let examples =
        [(Duration::SHAPE, written(&Duration::new(1, 1))), (OsString::SHAPE, written(&OsString::from("a b")))];
    for (shape, written) in examples {
        assert!(matches!(shape, Shape::Example(_, example) if *example == written), "{written}");
    }
}

#[test]
fn a_number_is_that_of_fnv_1a() {
    for (text, number) in [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)]
    {
        assert_eq!(Number::OF_NOTHING.then(text).0, number, "{text}");
    }
}

#[test]
fn variants_come_back_by_name() {
    use plain::Kind;
    for kind in [Kind::Idle, Kind::Busy(7), Kind::Gone { at: 1, why: 2 }] {
        comes_back(kind);
    }
    assert_eq!(written(&Kind::Gone { at: 1, why: 2 }), "Gone 1 2");
    assert_eq!(read::<Kind>("Idl"), None);
}

/// The text of a shape, to be read.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Number(name, size) => write!(f, "{name}*{size}"),
            Shape::Example(name, example) => write!(f, "{name}={example}"),
            Shape::Like(name, other) => write!(f, "{name}={other}"),
            Shape::Option(inner) => write!(f, "Option<{inner}>"),
            Shape::Vec(inner) => write!(f, "Vec<{inner}>"),
            Shape::Pair(first, second) => write!(f, "({first},{second})"),
            Shape::Parts(name, parts) => {
                write!(f, "{name}{{")?;
                for (index, (name, shape)) in parts.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{name}:{shape}")?;
                }
                f.write_str("}")
            }
        }
    }
}
