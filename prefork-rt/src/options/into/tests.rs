use super::*;

fn value<V>(given: Given<V>) -> Option<V> {
    given.value.transpose().expect("a good value")
}

#[test]
fn none_is_as_if_the_option_were_not_given() {
    assert_eq!(value(None::<usize>.into_workers()), None);
    assert_eq!(value((&None::<String>).into_workers()), None);
    assert_eq!(value(None.into_max_restarts()), None, "not unlimited");
    assert_eq!(value(None.into_duration()), None);
    assert_eq!(value(None.into_optional_duration()), None);
    assert_eq!(value((&None::<&str>).into_max_memory()), None);
    assert_eq!(value(None.into_restart()), None);
    assert_eq!(value((&None::<String>).into_reload()), None);
    assert_eq!(value(None.into_optional_text()), None);
    assert_eq!(value(None.into_backoff()), None);
    assert_eq!(value(None.into_bool()), None);
    assert_eq!(value(None.into_listen()), None);
    assert_eq!(value(Vec::<String>::new().into_listen()), None);
    assert_eq!(value(CommandLine(None::<usize>).into_workers()), None);
}

#[test]
fn some_is_the_value_in_it() {
    assert_eq!(value(Some(4).into_workers()), Some(4));
    assert_eq!(value((&Some("4".to_owned())).into_workers()), Some(4));
    assert_eq!(value(Some(4).into_max_restarts()), Some(Some(4)));
    assert_eq!(value((&Some("unlimited")).into_max_restarts()), Some(None));
    assert_eq!(value((&Some("3s")).into_duration()), Some(Duration::from_secs(3)));
    assert_eq!(value((&Some("none".to_owned())).into_optional_text()), Some(Some("none".to_owned())));
    assert_eq!(value(Some(true).into_bool()), Some(true));
    assert_eq!(value((&Some(vec!["127.0.0.1:1".to_owned()])).into_listen()).map(|all| all.len()), Some(1));
    assert_eq!(value([Some("127.0.0.1:1"), None].into_listen()).map(|all| all.len()), Some(1));
    assert_eq!(value("none".into_listen()), Some(Vec::new()));
}

#[test]
fn only_the_wrapper_is_of_the_command_line() {
    assert!(CommandLine(Some(4)).into_workers().is_from_command_line);
    assert!(CommandLine(&Some("a".to_owned())).into_optional_text().is_from_command_line);
    assert!(CommandLine(&vec!["*:1".to_owned()]).into_listen().is_from_command_line);
    assert!(CommandLine(false).into_bool().is_from_command_line);
    assert!(!Some(4).into_workers().is_from_command_line);
    assert!(!(&Some("a".to_owned())).into_optional_text().is_from_command_line);
}

#[test]
fn the_first_mistake_of_a_list_is_its_mistake() {
    for list in [["127.0.0.1", "", "*:1"], ["*:1", "127.0.0.1", ""]] {
        let why = list.into_listen().value.expect("an error").expect_err("an error");
        assert!(why.contains("\"127.0.0.1\" has no port"), "{why}");
    }
    let twice = ["a=*:1", "a=*:2"].into_listen().value.expect("an error").expect_err("an error");
    assert!(twice.contains("given twice"), "{twice}");
}

#[test]
fn the_code_s_value_stands_where_the_command_line_has_none() {
    let given = CommandLine(Some(4)).or("auto").into_workers();
    assert!(given.is_from_command_line && value(given) == Some(4));
    let given = CommandLine(&None::<String>).or("3s").into_duration();
    assert!(!given.is_from_command_line && value(given) == Some(Duration::from_secs(3)));
}
