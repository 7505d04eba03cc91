//! The literal subset, what lies outside of it, and text that is no PHP.
use super::*;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::fmt::Write;

const VARIABLES: [(&str, &str); 5] = [
    ("A", "one"),
    ("PORT", "6001"),
    ("NULL", "null"),
    ("ON", "(true)"),
    ("EMPTY", ""),
];

fn read(source: &str) -> Result<Parsed, PhpError> {
    let variable = |name: &str| {
        let found = VARIABLES.iter().find(|(known, _)| *known == name);
        found.map(|(_, text)| text.to_string())
    };
    parse(source, &variable)
}

/// A value as JSON would write it, unknown ones in angle brackets.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(on) => on.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Text(text) => format!("{text:?}"),
        Value::Array(entries) => {
            let mut text = String::new();
            for (key, node) in entries {
                let _ = write!(text, "{key}: {}, ", shown(&node.value));
            }
            format!("[{}]", text.trim_end_matches(", "))
        }
        Value::Unknown(what) => format!("<{what}>"),
    }
}

#[test]
fn values() {
    let check = |source: &str, expected: &str| {
        let parsed = read(&format!("<?php return {source};"));
        let parsed = parsed.unwrap_or_else(|error| panic!("{source}: {error}"));
        assert_eq!(shown(&parsed.root.value), expected, "{source}");
    };
    // literals
    check("NULL", "null");
    check("\\TRUE", "true");
    check("10_000", "10000");
    check("-5", "-5");
    check("0x1F", "31");
    check("0b11", "3");
    check("017", "15");
    check("0o17", "15");
    check("1.5", "1.5");
    check(".5", "0.5");
    check("1e3", "1000.0");
    check("1e-3", "0.001");
    check("9223372036854775807", "9223372036854775807");
    check("9223372036854775808", "9.223372036854776e18");
    check(r"'it\'s \n \\ \x'", r#""it's \\n \\ \\x""#);
    check(
        r#""a\n\t\"\$x \x41\101\u{e9}\q{}$1""#,
        r#""a\n\t\"$x AAé\\q{}$1""#,
    );
    check(r#""\xc3\xa9""#, r#""é""#);
    check("'two\nlines'", r#""two\nlines""#);
    // arrays
    check("[]", "[]");
    check("array ( 0 => 'a', )", r#"[0: "a"]"#);
    check(
        "['a', 'k' => 1, 'b', 7 => 'c', 'd',]",
        r#"[0: "a", k: 1, 1: "b", 7: "c", 8: "d"]"#,
    );
    check("['a' => 1, 'a' => 2]", "[a: 2]");
    check(
        "[true => 1, null => 2, '3' => 3, 'x']",
        r#"[1: 1, : 2, 3: 3, 4: "x"]"#,
    );
    check(
        "[[[1]], array('x' => array())]",
        "[0: [0: [0: 1]], 1: [x: []]]",
    );
    // env(): a default only for what isn't there at all
    check("env('A')", r#""one""#);
    check("env('NOPE')", "null");
    check("env('NOPE', 8080)", "8080");
    check("\\env('NOPE', env('PORT', 1))", r#""6001""#);
    check("env('NULL', 'x')", "null");
    check("env('EMPTY', 'x')", r#""""#);
    check("env('ON')", "true");
    check("Env('A', storage_path('x'))", r#""one""#);
    check(
        "env('NOPE', storage_path('x'))",
        "<a call of storage_path()>",
    );
    // casts, functions, operators
    check("(int) env('PORT', 8080)", "6001");
    check("(int)'12abc'", "12");
    check("(string) 5 . '6'", r#""56""#);
    check("(bool) '0'", "false");
    check("(float) '1.5'", "1.5");
    check("(array) null", "[]");
    check("intval(env('PORT'))", "6001");
    check("explode(',', env('NOPE', 'a, b'))", r#"[0: "a", 1: " b"]"#);
    check(
        "array_map('trim', explode(',', 'a, b'))",
        r#"[0: "a", 1: "b"]"#,
    );
    check("array_filter(explode(',', 'a,,b'))", r#"[0: "a", 2: "b"]"#);
    check("env('A', 'https') === 'one'", "true");
    check("env('NOPE', 'https') !== 'https'", "false");
    check("env('NOPE') ?? env('A') ?? 'x'", r#""one""#);
    check("env('EMPTY') ?: 'x'", r#""x""#);
    check("env('ON') ? 'a' : 'b'", r#""a""#);
    check("!env('ON')", "false");
    check("60 * 60 + 2 - 1", "3601");
    check("1024 * (10 + 1)", "11264");
    check("'a' . env('A') . \"b\"", r#""aoneb""#);
    check("env('ON') && false || true", "true");
    // beyond it
    check("App\\Provider::class", "<the class App\\Provider>");
    check("PHP_OS", "<the constant PHP_OS>");
    check("$x['a']", "<the variable $x>");
    check(
        "\"a $x\"",
        "<a text with a variable or a wrong escape in it>",
    );
    check(
        "\"a {$x}\"",
        "<a text with a variable or a wrong escape in it>",
    );
    check("fn () => [1, 2]", "<code>");
    check("function ($a) { return [1, $a]; }", "<code>");
    check("new Foo(1, 2)", "<code>");
    check("config('a.b', [1])", "<a call of config()>");
    check("1 / 0", "<an expression>");
    check("9223372036854775807 + 1", "<an expression>");
    check("'a' < 'b'", "<an expression>");
    check(
        "array_filter([1], fn ($x) => $x > 1)",
        "<a call of array_filter()>",
    );
    check("<<<'END'\n return ['x'];\n  END", "<a heredoc text>");
    check(
        "['a' => Foo::bar(1, [2])->baz()['x'], 'b' => match(true) { 1 => 2, default => 3 }, 'c' => 4]",
        "[a: <the class Foo>, b: <code>, c: 4]",
    );
    check(
        "[...$x, 1]",
        "[0: <another array spread into this one>, 1: 1]",
    );
    check(
        "['a' => 1, ...$x]",
        "<an array with another one spread into it>",
    );
    check("explode(...$x)", "<a call of explode()>");
    check(
        "[$key => 1, 'b' => 2]",
        "[?0: <an entry whose key is no literal>, b: 2]",
    );
    check("['a' => , 'b' => 2]", "[a: <nothing>, b: 2]");
    check(
        "['a' => $x ? [1, 2] : 3, 'b' => true ? $y : 2]",
        "[a: <the variable $x>, b: <an expression>]",
    );
}

#[test]
fn comments_and_statements_around_the_array() {
    let source = "\u{feff}<?php
declare(strict_types=1);

namespace Config;
use App\\{A, B};
/* a
   comment */ // 'another'
# and another
$x = [1, 2];
if (true) { foo(); }

return [
    'a' => 1, // one
    'b' => /* two */ 2,
    'c' => x(),
    'd' => ['e' => $x],
]; // ?> <b>
";
    let parsed = read(source).expect("readable");
    assert_eq!(
        shown(&parsed.root.value),
        "[a: 1, b: 2, c: <a call of x()>, d: [e: <the variable $x>]]"
    );
    assert_eq!(parsed.skipped, [9, 10]);
    let unknown = parsed.root.unknown();
    let expected = [
        ("c".to_owned(), 15, "a call of x()"),
        ("d.e".to_owned(), 16, "the variable $x"),
    ];
    assert_eq!(unknown, expected);
    assert_eq!(parsed.root.get(&["b"]).map(|node| node.line), Some(14));
}

#[test]
fn the_variable_of_a_value_is_known() {
    let variable = |source: &str| {
        let parsed = read(&format!("<?php return {source};")).expect(source);
        parsed.root.variable
    };
    assert_eq!(variable("env('A')").as_deref(), Some("A"));
    assert_eq!(variable("(int) env('NOPE', 1)").as_deref(), Some("NOPE"));
    assert_eq!(variable("explode(',', env('A'))").as_deref(), Some("A"));
    assert_eq!(variable("'A'"), None);
}

#[test]
fn a_cached_configuration_is_read_whole() {
    let path = "/compat-fixtures/laravel/cached-config-excerpt.php";
    let source = std::fs::read_to_string(format!("{}{path}", env!("CARGO_MANIFEST_DIR")));
    let parsed = read(&source.expect("the excerpt")).expect("readable");
    assert_eq!(parsed.root.unknown(), []);
    let text = |path: &str| {
        let keys: Vec<&str> = path.split('.').collect();
        let node = parsed.root.get(&keys);
        shown(&node.unwrap_or_else(|| panic!("no {path}")).value)
    };
    assert_eq!(text("reverb.servers.reverb.port"), "8080");
    assert_eq!(text("reverb.servers.reverb.options.tls"), "[]");
    assert_eq!(text("reverb.apps.apps.0.app_id"), "\"482915\"");
    assert_eq!(text("reverb.apps.apps.0.max_connections"), "null");
    assert_eq!(text("reverb.apps.apps.0.rate_limiting.enabled"), "false");
    assert_eq!(
        text("broadcasting.connections.pusher.options.host"),
        "\"api-mt1.pusher.com\""
    );
}

#[test]
fn what_cannot_be_read_at_all_is_an_error_with_its_line() {
    let check = |source: &str, line: u32, reason: &str| {
        let error = read(source).expect_err(source);
        assert_eq!((error.line, error.reason), (line, reason), "{source}");
    };
    check("", 1, "it doesn't begin with <?php");
    check("<html>", 1, "it doesn't begin with <?php");
    check("<?php\n$x = 1;", 2, "it returns nothing");
    check("<?php\nreturn ['a' => 'b", 2, "a string isn't closed");
    check("<?php\n/* return [];", 2, "a comment isn't closed");
    check("<?php\nreturn [\n'a' => 1", 3, "an array isn't closed");
    check("<?php return", 1, "it ends in the middle of a value");
    for (open, close) in [
        ("[", "]"),
        ("(", ")"),
        ("array(", ")"),
        ("!", ""),
        ("(int)", ""),
        ("f(", ")"),
        ("1 ?? ", ""),
        ("1 ? 1 : ", ""),
    ] {
        let bomb = format!(
            "<?php return {}1{};",
            open.repeat(100_000),
            close.repeat(100_000)
        );
        let error = read(&bomb).map(|parsed| shown(&parsed.root.value));
        // a chain of ternaries isn't nested in this grammar, PHP refuses it
        if open != "1 ? 1 : " {
            assert_eq!(error.expect_err(open).reason, "it is nested too deeply");
        }
    }
}

#[test]
fn random_source_never_panics() {
    let mut random = SmallRng::seed_from_u64(11);
    let parts = [
        "return ", "[", "]", "(", ")", "array(", "'", "\"", "\\", "=>", ",", ";", "1", "x", "é",
        "$", "{", "}", "env(", "'A'", "//", "/*", "*/", "#", "\n", "?>", "?", ":", "??", ".",
        "...", "-", "!", "(int)", "<<<X\n", "X", "0x", "1e", "::", "\"\\u{", "\"\\x", "fn ",
        "null", "\0",
    ];
    for _ in 0..30_000 {
        let length = random.random_range(0..20);
        let mut source = "<?php return ".to_owned();
        for _ in 0..length {
            source.push_str(parts[random.random_range(0..parts.len())]);
        }
        if let Err(error) = read(&source) {
            assert!(error.line >= 1);
        }
        let bytes: Vec<u8> = (0..length).map(|_| random.random()).collect();
        let _ = read(&format!("<?php return {}", String::from_utf8_lossy(&bytes)));
    }
}
