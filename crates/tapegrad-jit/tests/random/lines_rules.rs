//! Code over lines that breaks a rule is refused.

use super::lines::inst;
use tapegrad_jit::{Inst, LinesSource, Matrix, Op, Phase, verify_lines};

fn refused(source: &LinesSource) -> String {
    verify_lines(source).err().map_or(String::new(), |defect| defect.to_string())
}

/// Sixteen lines of four: matrices at 0, 64 and 128, numbers at 192 and 208.
fn small(phases: Vec<Phase>) -> LinesSource {
    LinesSource { arena: 224, indices: 20, lines: 16, line: 4, block: 8, numbers: 2, held: 1, phases }
}

#[test]
fn code_over_elements_that_breaks_a_rule_is_refused() {
    let (row, store) = (inst(Op::Row, 0, 0, 0), inst(Op::StoreRow, 64, 0, 0));
    let of = |code: Vec<Inst>| refused(&small(vec![Phase::Elements(code)]));
    assert_eq!(of(vec![row, store]), "");
    let wrong = [
        (vec![inst(Op::Row, 161, 0, 0), store], "outside the arena"),
        (vec![row, inst(Op::StoreRow, 161, 0, 0)], "outside the arena"),
        (vec![inst(Op::Each, 209, 0, 0), store], "outside the arena"),
        (vec![inst(Op::Along, 221, 0, 0), store], "outside the arena"),
        (vec![inst(Op::Scalar, 224, 0, 0), store], "outside the arena"),
        (vec![row, inst(Op::Sum, 0, 0, 2)], "that there is not"),
        (vec![row, inst(Op::StoreHeld, 1, 0, 0)], "that there is not"),
        (vec![inst(Op::Held, 0, 0, 0), store], "nobody has written"),
        (vec![inst(Op::Number, 1, 0, 0), store], "nobody has written"),
        (vec![inst(Op::Number, 2, 0, 0), store], "that there is not"),
        (vec![row, inst(Op::Exp, 0, 0, 0), store], "not for such a phase"),
        (vec![row, inst(Op::StoreNumber, 0, 0, 0)], "not for such a phase"),
        (vec![row, inst(Op::Store, 64, 0, 0)], "not for such a phase"),
        (vec![inst(Op::Temporary, 0, 0, 0), store], "not for such a phase"),
        (vec![row, inst(Op::Add, 0, 1, 0), store], "not defined before it"),
        (vec![row, inst(Op::StoreRow, 0, 0, 0)], "writes what the phase reads"),
        (vec![row, inst(Op::StoreRow, 32, 0, 0)], "writes what the phase reads"),
        (vec![inst(Op::Scalar, 70, 0, 0), store], "writes what the phase reads"),
        (vec![inst(Op::Along, 62, 0, 0), store], "writes what the phase reads"),
        (vec![inst(Op::Each, 120, 0, 0), store], "writes what the phase reads"),
        (vec![row, store, inst(Op::StoreRow, 80, 0, 0)], "for other lines"),
    ];
    for (code, message) in wrong {
        let found = of(code.clone());
        assert!(found.contains(message), "{code:?}: {found:?}, not {message:?}");
    }
    // What an earlier phase has written may be read, but not where it is written.
    let writes = Phase::Elements(vec![row, inst(Op::Sum, 0, 0, 0), inst(Op::StoreHeld, 0, 0, 0)]);
    let then = |code: Vec<Inst>| refused(&small(vec![writes.clone(), Phase::Elements(code)]));
    let (number, held) = (inst(Op::Number, 0, 0, 0), inst(Op::Held, 0, 0, 0));
    assert_eq!(then(vec![number, held, store]), "");
    assert!(then(vec![number, inst(Op::Largest, 0, 0, 0)]).contains("writes what the phase reads"));
    assert!(then(vec![held, inst(Op::StoreHeld, 0, 0, 0)]).contains("writes what the phase reads"));
}

#[test]
fn elements_replace_others_where_lines_end_with_a_whole_vector_and_nobody_needs_these_any_more() {
    // Four lines of sixteen.
    let of = |code: Vec<Inst>| refused(&LinesSource { lines: 4, line: 16, ..small(vec![Phase::Elements(code)]) });
    let (row, neg, store) = (inst(Op::Row, 0, 0, 0), inst(Op::Neg, 0, 0, 0), inst(Op::StoreRow, 0, 1, 0));
    assert_eq!(of(vec![row, neg, store]), "");
    assert_eq!(of(vec![row, inst(Op::StoreRow, 0, 0, 0)]), "", "what stands there anyway");
    let late = inst(Op::StoreRow, 64, 0, 0);
    let wrong = [
        vec![row, neg, store, late],
        vec![row, neg, store, inst(Op::Row, 0, 0, 0), inst(Op::StoreRow, 64, 3, 0)],
        vec![row, neg, inst(Op::StoreRow, 8, 1, 0)],
        vec![row, inst(Op::Along, 0, 0, 0), inst(Op::Add, 0, 1, 0), inst(Op::StoreRow, 0, 2, 0)],
    ];
    for code in wrong {
        let found = of(code.clone());
        assert!(found.contains("writes what the phase reads"), "{code:?}: {found:?}");
    }
}

#[test]
fn code_over_numbers_that_breaks_a_rule_is_refused() {
    let (row, neg, store) = (inst(Op::Row, 192, 0, 0), inst(Op::Neg, 0, 0, 0), inst(Op::StoreRow, 192, 1, 0));
    let of = |code: Vec<Inst>| refused(&small(vec![Phase::Numbers(code)]));
    assert_eq!(of(vec![row, neg, store]), "");
    let (keep, again) = (inst(Op::StoreNumber, 0, 1, 0), inst(Op::Number, 0, 0, 0));
    assert_eq!(of(vec![row, neg, keep, again, inst(Op::StoreNumber, 1, 3, 0)]), "");
    let wrong = [
        (vec![inst(Op::Row, 209, 0, 0), neg, store], "outside the arena"),
        (vec![row, neg, inst(Op::StoreRow, 209, 1, 0)], "outside the arena"),
        (vec![row, neg, inst(Op::StoreNumber, 2, 1, 0)], "that there is not"),
        (vec![again, neg, store], "nobody has written"),
        (vec![row, neg, store, inst(Op::Add, 0, 1, 0), inst(Op::StoreRow, 208, 3, 0)], "write after read"),
        (
            vec![row, neg, keep, again, inst(Op::StoreNumber, 0, 1, 0), inst(Op::StoreRow, 208, 3, 0)],
            "write after read",
        ),
        (vec![inst(Op::Row, 200, 0, 0), neg, store], "for other lines"),
        (vec![inst(Op::Scalar, 200, 0, 0), neg, store], "for other lines"),
        (vec![inst(Op::Each, 192, 0, 0), neg, store], "not for such a phase"),
        (vec![row, inst(Op::Ln, 0, 0, 0), store], "not for such a phase"),
        (vec![row, inst(Op::Sum, 0, 0, 0)], "not for such a phase"),
        (vec![row, inst(Op::StoreHeld, 0, 0, 0)], "not for such a phase"),
    ];
    for (code, message) in wrong {
        let found = of(code.clone());
        assert!(found.contains(message), "{code:?}: {found:?}, not {message:?}");
    }
}

#[test]
fn phases_that_do_not_fit_together_are_refused() {
    let elements = |from: usize, to: usize| {
        Phase::Elements(vec![inst(Op::Row, from, 0, 0), inst(Op::Sum, 0, 0, 0), inst(Op::StoreRow, to, 0, 0)])
    };
    let pick = |place, index, to| Phase::Pick { from: Matrix::Arena(place), index, to };
    let add = |to, index, number| Phase::AddAt { to, index, number };
    assert_eq!(refused(&small(vec![elements(0, 64), elements(64, 128), add(128, 4, 0), pick(64, 0, 1)])), "");
    let along = Phase::Elements(vec![inst(Op::Along, 64, 0, 0), inst(Op::StoreRow, 128, 0, 0)]);
    let wrong = [
        (vec![elements(0, 64), elements(68, 132)], "for other lines"),
        (vec![elements(68, 132), elements(0, 64)], "has yet to write"),
        (vec![elements(0, 64), elements(64, 0)], "has yet to write"),
        (vec![elements(0, 64), along.clone()], "for other lines"),
        (vec![along, elements(0, 64)], "has yet to write"),
        (vec![elements(0, 64), pick(60, 0, 1)], "for other lines"),
        (vec![elements(0, 64), pick(64, 5, 1)], "outside the index buffer"),
        (vec![elements(0, 64), pick(161, 0, 1)], "outside the arena"),
        (vec![elements(0, 64), pick(64, 0, 2)], "that there is not"),
        (vec![add(0, 0, 0)], "nobody has written"),
        (vec![elements(0, 64), add(161, 0, 0)], "nobody has written"),
        (vec![elements(0, 64), add(64, 5, 0)], "outside the index buffer"),
        (vec![Phase::Pick { from: Matrix::Held(0), index: 0, to: 0 }], "nobody has written"),
        (vec![Phase::Pick { from: Matrix::Held(1), index: 0, to: 0 }], "that there is not"),
    ];
    for (phases, message) in wrong {
        let found = refused(&small(phases.clone()));
        assert!(found.contains(message), "{phases:?}: {found:?}, not {message:?}");
    }
    let good = small(vec![elements(0, 64)]);
    for wrong in [
        LinesSource { line: 3, ..good.clone() },
        LinesSource { block: 0, ..good.clone() },
        LinesSource { block: 12, ..good.clone() },
    ] {
        assert!(refused(&wrong).contains("too short"), "{wrong:?}");
    }
    for wrong in [LinesSource { held: 1 << 30, ..good.clone() }, LinesSource { numbers: usize::MAX, ..good }] {
        assert!(refused(&wrong).contains("too many"), "{wrong:?}");
    }
}

#[test]
fn blocks_and_passes_have_none_of_what_only_lines_have() {
    use tapegrad_jit::{Block, Elem, PassSource, Source, verify, verify_pass};
    for op in [Op::Each, Op::Along, Op::Held, Op::Number, Op::Largest, Op::StoreHeld, Op::StoreNumber] {
        let code = vec![inst(Op::Row, 0, 0, 0), inst(op, 0, 0, 0)];
        let pass = PassSource { arena: 32, elements: 16, temporary: 0, window: 0, cycle: false, code: code.clone() };
        assert!(verify_pass(&pass).unwrap_err().to_string().contains("only lines"), "{op:?}");
        let blocks = vec![Block { rows: Some(16), code }];
        let source = Source { elem: Elem::F64, arena: 32, private: 0..0, columns: Vec::new(), functions: &[], blocks };
        assert!(verify(&source).unwrap_err().to_string().contains("only lines"), "{op:?}");
    }
}
