//! The interpreter of fused elementwise code: one instruction at a time over a tile.

use super::scalars::{self, apply};
use crate::ir::Reading;
use crate::program::{ADVANCE, Fused, Inst, Load, Opcode, Pass};
use std::ops::Range;
use tapegrad_jit::{CYCLE_UNIT, LANES};

/// Carries out a group.
pub(super) fn run<T: Reading>(f: &Fused<T>, values: &mut [T], indices: &[u32]) {
    let base = values.as_mut_ptr();
    if f.pass.is_none() && f.numel == 1 {
        // SAFETY: the verifier has checked every place of every instruction against the size of the arena.
        unsafe { scalars::run(f, base) };
        return;
    }
    // SAFETY: as above, for every tile, for a pass and its temporary memory, and for what is added to rows; and no instruction writes
    // what it reads, unless exactly in place.
    unsafe { run_part(f, base, indices, 0..f.numel, 0) }
}

/// Adds to rows what the group adds there, as far as it belongs to these elements.
///
/// # Safety
/// As [`run_part`], when the elements have been computed.
#[inline(always)]
unsafe fn add_at<T: Reading>(f: &Fused<T>, v: *mut T, indices: &[u32], elements: Range<usize>) {
    for add in &f.adds {
        for row in elements.start / add.columns..elements.end.div_ceil(add.columns) {
            // Setting an index checks that it is below the number of columns.
            let at = row * add.columns + indices[add.index + row] as usize;
            if elements.contains(&at) {
                // SAFETY: the element is one of these; the numbers of all rows lie behind `v`, and nobody writes them meanwhile.
                unsafe { *v.add(add.to + at) = *v.add(add.to + at) + *v.add(add.from + row * add.stride) };
            }
        }
    }
}

/// Carries out a group of tiles for some of its elements, each with the same bits as in the whole. Registers are
/// `registers` elements after where they are said to be.
///
/// # Safety
/// Every place of the group must be valid behind `v`, for all elements where it advances, for a tile at that distance where
/// it is a register; no instruction may write what it reads, unless exactly in place. Nobody else may use these registers,
/// write what the group reads, or use the elements it writes, at the same time. `elements` starts at a multiple of
/// [`unit`].
pub(super) unsafe fn run_part<T: Reading>(
    f: &Fused<T>,
    v: *mut T,
    indices: &[u32],
    elements: Range<usize>,
    registers: usize,
) {
    // SAFETY: the caller's contract.
    unsafe {
        compute_part(f, v, elements.clone(), registers);
        add_at(f, v, indices, elements);
    }
}

/// The instructions of a part.
///
/// # Safety
/// As [`run_part`].
unsafe fn compute_part<T: Reading>(f: &Fused<T>, v: *mut T, elements: Range<usize>, registers: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        if let Some(pass) = &f.pass {
            return run_pass(f, pass, v, elements, registers);
        }
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            return tiles_avx2(f, v, elements, registers);
        }
        tiles(f, v, elements, registers);
    }
}

/// How many elements, or a multiple, are handled at a time: ranges for threads begin at multiples.
pub(super) fn unit<T>(f: &Fused<T>) -> usize {
    f.pass.as_ref().map_or(f.tile, |pass| match pass.window {
        window if window > 0 && !pass.cycle => window,
        _ => f.tile.next_multiple_of(LANES),
    })
}

/// Carries out a group as machine code, for some of its elements, each with the same bits as in the whole. Temporary memory
/// is `registers` elements after where it is said to be.
///
/// # Safety
/// As [`run_part`], with temporary memory in the place of registers. `elements` starts at a multiple of [`unit`].
unsafe fn run_pass<T: Reading>(f: &Fused<T>, pass: &Pass, v: *mut T, elements: Range<usize>, registers: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        let temporary = v.add(pass.scratch + registers);
        let bring = |start: usize, len: usize| {
            for &(number, at) in &pass.loads {
                load(&f.loads[number], v, start, std::slice::from_raw_parts_mut(temporary.add(at), len));
            }
        };
        if pass.cycle {
            bring(0, pass.window + CYCLE_UNIT);
        }
        if pass.cycle || pass.window == 0 {
            pass.code.run(pass.index, v, temporary, elements);
            return;
        }
        let mut start = elements.start;
        while start < elements.end {
            let end = elements.end.min(start + pass.window);
            bring(start, end - start);
            pass.code.run(pass.index, v, temporary, start..end);
            start = end;
        }
    }
}

/// [`tiles`], compiled for CPUs with AVX2 and FMA. Products and sums stay separate roundings, so the results are the same.
///
/// # Safety
/// As [`tiles`], and the CPU must have these features.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn tiles_avx2<T: Reading>(f: &Fused<T>, v: *mut T, elements: Range<usize>, registers: usize) {
    // SAFETY: the caller's contract.
    unsafe { tiles(f, v, elements, registers) }
}

/// All instructions, tile by tile.
///
/// # Safety
/// As [`run_part`]; no call may write what it reads.
#[inline(always)]
unsafe fn tiles<T: Reading>(f: &Fused<T>, v: *mut T, elements: Range<usize>, registers: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        code(f, &f.prologue, v, registers, 0, f.tile);
        let mut start = elements.start;
        while start < elements.end {
            let len = f.tile.min(elements.end - start);
            code(f, &f.body, v, registers, start, len);
            start += len;
        }
    }
}

/// Instructions over elements `start..start + len`.
///
/// # Safety
/// As [`tiles`].
#[inline(always)]
unsafe fn code<T: Reading>(f: &Fused<T>, code: &[Inst], v: *mut T, registers: usize, start: usize, len: usize) {
    // What does not advance is a register.
    let place = |operand: u32| {
        let advance = if operand & ADVANCE != 0 { start } else { registers };
        // SAFETY: the caller's contract.
        unsafe { v.add((operand & !ADVANCE) as usize + advance) }
    };
    let mut third = v.cast_const();
    for inst in code {
        let dst = place(inst.dst);
        // SAFETY: the caller's contract; a load's operand is no place, and is looked at first.
        unsafe {
            if inst.op == Opcode::Load {
                load(&f.loads[inst.a as usize], v, start, std::slice::from_raw_parts_mut(dst, len));
                continue;
            }
            let (a, b) = (place(inst.a).cast_const(), place(inst.b).cast_const());
            macro_rules! each {
                ($op:ident) => {
                    each(dst, a, b, len, |a, b| apply(Opcode::$op, a, b))
                };
            }
            match inst.op {
                Opcode::More => third = a,
                Opcode::Add => each!(Add),
                Opcode::Sub => each!(Sub),
                Opcode::Mul => each!(Mul),
                Opcode::Div => each!(Div),
                Opcode::Neg => each!(Neg),
                Opcode::Recip => each!(Recip),
                Opcode::Square => each!(Square),
                Opcode::Sqrt => each!(Sqrt),
                Opcode::Abs => each!(Abs),
                Opcode::Min => each!(Min),
                Opcode::Max => each!(Max),
                Opcode::Less => each!(Less),
                Opcode::LessEqual => each!(LessEqual),
                Opcode::Equal => each!(Equal),
                Opcode::Copy => each!(Copy),
                Opcode::Select => {
                    for i in 0..len {
                        let picked = if *a.add(i) != T::ZERO { *b.add(i) } else { *third.add(i) };
                        *dst.add(i) = picked;
                    }
                }
                Opcode::Call => {
                    let slice = |p: *const T| std::slice::from_raw_parts(p, len);
                    let call = &f.calls[inst.aux as usize];
                    let third = if call.arity > 2 { third } else { a };
                    (call.tile)(std::slice::from_raw_parts_mut(dst, len), [slice(a), slice(b), slice(third)]);
                }
                Opcode::Load => unreachable!("looked at first"),
            }
        }
    }
}

/// `dst[i] = f(a[i], b[i])`; `dst` may be one of the operands.
///
/// # Safety
/// All three must be valid for `len` elements; `dst` must equal an operand or not overlap it.
#[inline(always)]
unsafe fn each<T: Reading>(dst: *mut T, a: *const T, b: *const T, len: usize, f: impl Fn(T, T) -> T) {
    // Slices that the compiler knows to be apart, so that it needs no overlap check before it vectorises.
    // SAFETY: the caller's contract.
    unsafe {
        let out = std::slice::from_raw_parts_mut(dst, len);
        match (std::ptr::eq(a, dst), std::ptr::eq(b, dst)) {
            (true, true) => in_place(out, |x| f(x, x)),
            (true, false) => zip_in_place(out, std::slice::from_raw_parts(b, len), &f),
            (false, true) => zip_in_place(out, std::slice::from_raw_parts(a, len), |x, y| f(y, x)),
            (false, false) => {
                zip(out, std::slice::from_raw_parts(a, len), std::slice::from_raw_parts(b, len), f);
            }
        }
    }
}

#[inline(always)]
fn in_place<T: Reading>(out: &mut [T], f: impl Fn(T) -> T) {
    for o in out {
        *o = f(*o);
    }
}

#[inline(always)]
fn zip_in_place<T: Reading>(out: &mut [T], other: &[T], f: impl Fn(T, T) -> T) {
    for (o, &x) in out.iter_mut().zip(other) {
        *o = f(*o, x);
    }
}

#[inline(always)]
fn zip<T: Reading>(out: &mut [T], a: &[T], b: &[T], f: impl Fn(T, T) -> T) {
    for ((o, &a), &b) in out.iter_mut().zip(a).zip(b) {
        *o = f(a, b);
    }
}

/// Elements `start..start + out.len()` of a strided tensor.
///
/// # Safety
/// The tensor must lie behind `v`.
#[inline(always)]
unsafe fn load<T: Reading>(l: &Load, v: *const T, start: usize, out: &mut [T]) {
    // SAFETY: the caller's contract.
    let read = |place: usize| unsafe { *v.add(l.offset + place) };
    let Some((&inner, outer)) = l.dims.split_last() else {
        out.fill(read(0));
        return;
    };
    let (&stride, outer_strides) = l.strides.split_last().expect("a stride for each axis");
    match (outer_strides, stride) {
        // A row for all rows, such as a bias.
        (outer, 1) if outer.iter().all(|&s| s == 0) => {
            // SAFETY: the row is the tensor.
            let row = unsafe { std::slice::from_raw_parts(v.add(l.offset), inner) };
            return repeat(row, start, out);
        }
        // A number for each row, such as its maximum.
        (&[step], 0) => return spread(|row| read(row * step), inner, start, out),
        _ => {}
    }
    let mut done = 0;
    while done < out.len() {
        // Runs along the last axis.
        let (row, column) = ((start + done) / inner, (start + done) % inner);
        let (mut place, mut rest) = (0, row);
        for axis in (0..outer.len()).rev() {
            place += rest % outer[axis] * l.strides[axis];
            rest /= outer[axis];
        }
        let run = (inner - column).min(out.len() - done);
        let to = &mut out[done..done + run];
        match stride {
            0 => to.fill(read(place)),
            // SAFETY: the run is a part of the tensor.
            1 => to.copy_from_slice(unsafe { std::slice::from_raw_parts(v.add(l.offset + place + column), run) }),
            _ => to.iter_mut().enumerate().for_each(|(i, o)| *o = read(place + (column + i) * stride)),
        }
        done += run;
    }
}

/// So few numbers are copied one by one sooner than a copy of many is called.
const FEW: usize = 40;

/// Fills `out` with one row after the other, all of them alike, from element `start` on. Rows may be short: what is there is
/// copied again and again, twice as much each time.
#[inline(always)]
fn repeat<T: Reading>(row: &[T], start: usize, out: &mut [T]) {
    let column = start % row.len();
    let first = (row.len() - column).min(out.len());
    out[..first].copy_from_slice(&row[column..column + first]);
    let mut done = row.len().min(out.len());
    out[first..done].copy_from_slice(&row[..done - first]);
    if out.len() <= FEW {
        (done..out.len()).for_each(|i| out[i] = out[i - done]);
        return;
    }
    while done < out.len() {
        let more = done.min(out.len() - done);
        out.copy_within(..more, done);
        done += more;
    }
}

/// Numbers written at a time where a row is filled: what is written past its end is overwritten by the next.
const BLOCK: usize = 8;

/// Fills `out` with rows of `inner` equal numbers, `number(row)`, from element `start` on.
#[inline(always)]
fn spread<T: Reading>(number: impl Fn(usize) -> T, inner: usize, start: usize, out: &mut [T]) {
    let mut row = start / inner;
    let mut done = (inner - start % inner).min(out.len());
    out[..done].fill(number(row));
    while done < out.len() {
        row += 1;
        let x = number(row);
        let end = (done + inner).min(out.len());
        if let Some(blocks) = out.get_mut(done..done + inner.next_multiple_of(BLOCK)) {
            for block in blocks.as_chunks_mut::<BLOCK>().0 {
                *block = [x; BLOCK];
            }
        } else {
            out[done..end].fill(x);
        }
        done = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_numbers_of_rows_are_repeated_from_any_element_on() {
        for inner in [1, 2, 7, 8, 9, 40] {
            let row: Vec<f32> = (0..inner).map(|i| i as f32).collect();
            for start in [0, 1, inner - 1, inner, 3 * inner + inner / 2] {
                for len in [0, 1, inner, 2 * inner + 1, 100] {
                    let mut out = vec![f32::NAN; len];
                    repeat(&row, start, &mut out);
                    let wanted = (start..start + len).map(|i| (i % inner) as f32);
                    assert!(out.iter().copied().eq(wanted), "rows of {inner}, {len} from {start} on");
                    spread(|row| row as f32, inner, start, &mut out);
                    let wanted = (start..start + len).map(|i| (i / inner) as f32);
                    assert!(out.iter().copied().eq(wanted), "{inner} for each row, {len} from {start} on");
                }
            }
        }
    }
}
