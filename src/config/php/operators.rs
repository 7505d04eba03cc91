//! Operators: how tightly they bind, and what comes of them for values that are known.

use super::value::{Node, Value};

/// Operators with two sides and how tightly they bind.
pub(super) const OPERATORS: [(&str, u8); 14] = [
    ("??", 2),
    ("||", 3),
    ("&&", 4),
    ("===", 5),
    ("!==", 5),
    ("==", 5),
    ("!=", 5),
    ("<>", 5),
    (".", 6),
    ("+", 7),
    ("-", 7),
    ("*", 8),
    ("/", 8),
    ("%", 8),
];

/// of `? :`
pub(super) const TERNARY: u8 = 1;

/// casts, `!` and signs
pub(super) const UNARY: u8 = 9;

pub(super) fn signed(sign: &str, value: Value) -> Value {
    match (sign, value) {
        (_, unknown @ Value::Unknown(_)) => unknown,
        ("!", value) => Value::Bool(!value.is_truthy()),
        ("-", Value::Int(number)) => Value::Int(number.saturating_neg()),
        ("-", Value::Float(number)) => Value::Float(-number),
        ("+", number @ (Value::Int(_) | Value::Float(_))) => number,
        _ => Value::unknown("an expression"),
    }
}

pub(super) fn apply(operator: &str, left: Node, right: Node) -> Node {
    let line = left.line;
    let variable = left.variable.clone().or(right.variable.clone());
    let known = |value| Node {
        value,
        line,
        variable: variable.clone(),
    };
    match (operator, &left.value, &right.value) {
        (_, Value::Unknown(_), _) => left,
        ("??", Value::Null, _) => right,
        ("??", _, _) => left,
        ("&&", value, _) if !value.is_truthy() => known(Value::Bool(false)),
        ("||", value, _) if value.is_truthy() => known(Value::Bool(true)),
        (_, _, Value::Unknown(_)) => right,
        ("&&" | "||", _, value) => known(Value::Bool(value.is_truthy())),
        ("===", a, b) => known(Value::Bool(same(a, b))),
        ("!==", a, b) => known(Value::Bool(!same(a, b))),
        ("==", a, b) if comparable(a, b) => known(Value::Bool(same(a, b))),
        ("!=" | "<>", a, b) if comparable(a, b) => known(Value::Bool(!same(a, b))),
        (".", a, b) => known(joined(a.clone(), b.clone())),
        (sign, Value::Int(a), Value::Int(b)) => {
            let result = match sign {
                "+" => a.checked_add(*b),
                "-" => a.checked_sub(*b),
                "*" => a.checked_mul(*b),
                "/" if *b != 0 && a.checked_rem(*b) == Some(0) => a.checked_div(*b),
                "%" => a.checked_rem(*b),
                _ => None,
            };
            known(result.map_or_else(|| Value::unknown("an expression"), Value::Int))
        }
        _ => known(Value::unknown("an expression")),
    }
}

/// Whether PHP's loose `==` is the strict one for these two.
fn comparable(a: &Value, b: &Value) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b) && !matches!(a, Value::Array(_))
}

/// PHP's `===`. Lines don't count.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            let mut pairs = a.iter().zip(b);
            a.len() == b.len() && pairs.all(|((k, a), (l, b))| k == l && same(&a.value, &b.value))
        }
        (a, b) => a == b,
    }
}

fn joined(a: Value, b: Value) -> Value {
    match (a.into_text(), b.into_text()) {
        (Value::Text(a), Value::Text(b)) => Value::Text(a + &b),
        // nothing else comes out of `into_text`
        (unknown @ Value::Unknown(_), _) | (_, unknown) => unknown,
    }
}
