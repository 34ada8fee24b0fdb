//! Register allocation and emission of straight-line micro-operations in one pass.
//!
//! Code without branches is the case in which Belady's rule is right: when a register is needed, the value whose next use
//! is farthest away gives up its own. Values that stand in memory anyway cost nothing to give up, and one of an
//! instruction's operands may be read from memory where it is used.

use crate::encode::{Assembler, Mem, R8, RAX, RCX, RDI, RDX, RSI, Rm, Width};
use crate::ir::Function;
use crate::library;
use crate::micro::{Kind, Micro, Place, Shape, V};
use crate::select::Form;
use crate::slow::{Detour, Slow};
use std::ops::Range;

/// The general registers that hold the bases; those of code with calls outlive them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bases {
    pub(crate) arena: u8,
    pub(crate) scratch: u8,
    pub(crate) pool: u8,
    pub(crate) row: u8,
    /// How far temporary memory has been read.
    pub(crate) temporary: u8,
    /// How many lines have been handled.
    pub(crate) line: u8,
    /// The table of where columns stand.
    pub(crate) table: u8,
    /// Where held matrices would begin if they had all lines.
    pub(crate) held: u8,
    /// Where numbers of lines would begin if there were some of all lines.
    pub(crate) numbers: u8,
}

/// What code finds where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) bases: Bases,
    pub(crate) functions: &'static [Function],
    /// Bytes of the arena that stand where the table says, in order.
    pub(crate) columns: &'a [Range<i32>],
}

/// No CPU has more vector registers.
const VECTORS: usize = 32;
const NONE: u8 = u8::MAX;
const NEVER: u32 = u32::MAX;
/// A memory operand used again within this many micro-operations is worth a free register.
const SOON: u32 = 24;

pub(crate) struct Allocator<'a> {
    asm: &'a mut Assembler,
    shape: Shape,
    around: Surroundings<'a>,
    /// The detours so far, to be written when all other code is.
    slow: &'a mut Slow,
    register: Vec<u8>,
    home: Vec<Option<Place>>,
    /// The next use of each value, as of the current position.
    next: Vec<u32>,
    /// For each position and operand, the value's use after it.
    after: Vec<[u32; 3]>,
    holds: [Option<V>; VECTORS],
    /// Registers of the current instruction.
    pinned: u32,
    free_slots: Vec<i32>,
    /// Slots of values that the current instruction is the last to read: free once it is written.
    freed: Vec<i32>,
    /// Where spills begin; what comes before belongs to others.
    spills: i32,
    /// Scratch memory in use, in bytes.
    pub(crate) scratch: i32,
}

/// Which micro-operations have an effect in the end.
fn live(code: &[Micro]) -> Vec<bool> {
    let mut live = vec![false; code.len()];
    for at in (0..code.len()).rev() {
        live[at] |= matches!(code[at], Micro::Store { .. });
        if live[at] {
            for v in code[at].operands() {
                live[v as usize] = true;
            }
        }
    }
    live
}

/// Emits `code`; spills go to scratch memory from `scratch` bytes on. Tells how much of it is used.
pub(crate) fn emit(
    code: &[Micro],
    shape: Shape,
    around: Surroundings<'_>,
    scratch: i32,
    slow: &mut Slow,
    asm: &mut Assembler,
) -> i32 {
    let live = live(code);
    let mut next = vec![NEVER; code.len()];
    let mut after = vec![[NEVER; 3]; code.len()];
    for (at, micro) in code.iter().enumerate().rev() {
        if live[at] {
            for (after, v) in after[at].iter_mut().zip(micro.operands()) {
                *after = next[v as usize];
            }
            for v in micro.operands() {
                next[v as usize] = u32::try_from(at).expect("fewer than 2^32 micro-operations");
            }
        }
    }
    let mut a = Allocator {
        asm,
        shape,
        around,
        slow,
        register: vec![NONE; code.len()],
        home: vec![None; code.len()],
        next,
        after,
        holds: [None; VECTORS],
        pinned: 0,
        free_slots: Vec::new(),
        freed: Vec::new(),
        spills: scratch,
        scratch,
    };
    for (at, micro) in code.iter().enumerate() {
        if live[at] {
            a.step(at, micro);
        }
    }
    a.scratch
}

impl Allocator<'_> {
    fn step(&mut self, at: usize, micro: &Micro) {
        let v = V::try_from(at).expect("fewer than 2^32 micro-operations");
        self.pinned = 0;
        self.free_slots.append(&mut self.freed);
        match *micro {
            Micro::Mem(place) => self.home[at] = Some(place),
            Micro::Pair { kind, imm, args, arity } => {
                let single = std::mem::replace(&mut self.shape.lanes, 2);
                self.compute(at, kind, imm, &args[..arity as usize]);
                self.shape.lanes = single;
            }
            Micro::Do { kind, imm, args, arity } => self.compute(at, kind, imm, &args[..arity as usize]),
            Micro::Call { op, args } => self.call(v, at, op, args),
            Micro::OrCall { op, args } => self.or_call(v, at, op, args),
            Micro::Store { to, value } => {
                let r = self.in_register(value);
                let store = if matches!(to, Place::Scratch(_)) { self.shape.store_whole() } else { self.shape.store() };
                let to = Rm::Mem(self.address(to));
                self.asm.vex(store, r, 0, to, None);
                self.used(at, 0, value);
            }
        }
    }

    fn compute(&mut self, at: usize, kind: Kind, imm: u8, args: &[V]) {
        match kind {
            Kind::MulAdd | Kind::MulSub | Kind::NegMulAdd => self.fused(at, kind, [args[0], args[1], args[2]]),
            Kind::Blend => self.blend(at, [args[0], args[1], args[2]]),
            _ if args.len() == 1 => self.unary(at, kind, imm, args[0]),
            _ => self.binary(at, kind, imm, args[0], args[1]),
        }
        // A value that nobody uses was computed for nothing; there is none among live code.
        debug_assert_ne!(self.next[at], NEVER);
    }

    /// How memory is addressed, by the next instruction: where a column stands is loaded for it.
    fn address(&mut self, place: Place) -> Mem {
        let b = self.around.bases;
        let (base, index, disp) = match place {
            Place::Arena(d) | Place::Row(d) | Place::Splat(d) => {
                let (base, disp) = self.column(d).unwrap_or((b.arena, d));
                (base, matches!(place, Place::Row(_)).then_some(b.row), disp)
            }
            Place::Scratch(d) => (b.scratch, None, d),
            Place::Temporary(d) => (b.scratch, Some(b.temporary), d),
            Place::Each(d) | Place::LineRow(d) => (b.arena, Some(b.line), d),
            Place::Along(d) => (b.arena, Some(b.temporary), d),
            Place::Held(d) => (b.held, Some(b.row), d),
            Place::Number(d) | Place::NumberRow(d) => (b.numbers, Some(b.line), d),
            Place::Pool(d) | Place::Mask(d) => (b.pool, None, d),
        };
        Mem { base, index, disp }
    }

    /// For bytes of a column that may stand elsewhere: a register that holds where it begins, and how far in they are.
    fn column(&mut self, byte: i32) -> Option<(u8, i32)> {
        let number = self.around.columns.partition_point(|column| column.end <= byte);
        let column = self.around.columns.get(number).filter(|column| column.start <= byte)?;
        let disp = i32::try_from(number * 8).expect("checked: the arena is below 2^30 bytes");
        self.asm.load(RAX, Mem { base: self.around.bases.table, index: None, disp });
        Some((RAX, byte - column.start))
    }

    /// Whether an instruction can read the value where it stands in memory.
    fn folds(&self, place: Place, kind: Kind) -> bool {
        match place {
            // Long vectors are given one number for all lanes by the instruction itself.
            _ if place.is_one_number() && self.shape.width() == Width::W512 => true,
            _ if place.is_one_number() => self.shape.lanes == 1 && !kind.is_whole(),
            Place::Scratch(_) | Place::Pool(_) | Place::Mask(_) => true,
            _ => self.shape.lanes > 1 || !kind.is_whole(),
        }
    }

    fn free_register(&self) -> Option<u8> {
        let r = self.holds[..self.shape.registers()].iter().position(Option::is_none)?;
        u8::try_from(r).ok()
    }

    /// A register to write to; the value that is needed last gives up its own.
    fn take(&mut self) -> u8 {
        let registers = self.shape.registers();
        let free = |r: &usize| self.holds[*r].is_none() && self.pinned & (1 << r) == 0;
        if let Some(r) = (0..registers).find(free) {
            self.pinned |= 1 << r;
            return u8::try_from(r).expect("there are at most 32");
        }
        let candidates = (0..registers).filter(|&r| self.pinned & (1 << r) == 0);
        let victim = candidates
            .max_by_key(|&r| self.holds[r].map_or(NEVER, |v| self.next[v as usize]))
            .expect("an instruction pins at most four registers");
        self.evict(victim);
        self.pinned |= 1 << victim;
        u8::try_from(victim).expect("there are at most 32")
    }

    fn evict(&mut self, r: usize) {
        if let Some(v) = self.holds[r].take() {
            self.register[v as usize] = NONE;
            if self.home[v as usize].is_none() {
                let slot = self.slot();
                let to = Rm::Mem(self.address(slot));
                self.asm.vex(self.shape.store_whole(), u8::try_from(r).expect("there are at most 32"), 0, to, None);
                self.home[v as usize] = Some(slot);
            }
        }
    }

    fn slot(&mut self) -> Place {
        Place::Scratch(self.free_slots.pop().unwrap_or_else(|| {
            let bytes = i32::try_from(self.shape.slot()).expect("32 or 64");
            self.scratch += bytes;
            self.scratch - bytes
        }))
    }

    /// The value in memory as an operand that [`Allocator::folds`].
    fn memory(&mut self, place: Place) -> Rm {
        let address = self.address(place);
        // A constant fills no more than the shorter vectors.
        let repeated = place.is_one_number() || matches!(place, Place::Pool(_));
        if repeated && self.shape.width() == Width::W512 { Rm::Each(address) } else { Rm::Mem(address) }
    }

    fn load(&mut self, r: u8, place: Place) {
        let vex = match place {
            _ if place.is_one_number() => self.shape.broadcast(),
            Place::Pool(_) if self.shape.width() == Width::W512 => self.shape.broadcast(),
            Place::Scratch(_) | Place::Pool(_) | Place::Mask(_) => self.shape.load_whole(),
            _ => self.shape.load(),
        };
        let from = Rm::Mem(self.address(place));
        self.asm.vex(vex, r, 0, from, None);
    }

    fn bind(&mut self, r: u8, v: V) {
        self.holds[r as usize] = Some(v);
        self.register[v as usize] = r;
    }

    /// The register of a value, which is loaded if need be; it stays for the current instruction.
    fn in_register(&mut self, v: V) -> u8 {
        let mut r = self.register[v as usize];
        if r == NONE {
            r = self.take();
            let home = self.home[v as usize].expect("a value is in a register or in memory");
            self.load(r, home);
            self.bind(r, v);
        }
        self.pinned |= 1 << r;
        r
    }

    /// The value as an operand that may be in memory. `after` is the value's next use.
    fn operand(&mut self, v: V, kind: Kind, after: u32, at: usize) -> Rm {
        let r = self.register[v as usize];
        if r == NONE
            && let Some(place) = self.home[v as usize]
            && self.folds(place, kind)
            && !kind.needs_register()
        {
            let soon = after != NEVER && after as usize - at < SOON as usize;
            if !(soon && self.free_register().is_some()) {
                return self.memory(place);
            }
        }
        Rm::Reg(self.in_register(v))
    }

    fn dies(&self, at: usize, k: usize) -> bool {
        self.after[at][k] == NEVER
    }

    /// Notes that operand `k` of the current instruction has been read.
    fn used(&mut self, at: usize, k: usize, v: V) {
        let next = self.after[at][k];
        self.next[v as usize] = next;
        if next == NEVER {
            let r = self.register[v as usize];
            if r != NONE && self.holds[r as usize] == Some(v) {
                self.holds[r as usize] = None;
            }
            self.register[v as usize] = NONE;
            if let Some(Place::Scratch(slot)) = self.home[v as usize].take()
                && slot >= self.spills
            {
                self.freed.push(slot);
            }
        }
    }

    /// A register for the result, once the operands have been read: that of one that is not needed any more, if any.
    fn result(&mut self, at: usize) -> u8 {
        // Operands just freed may be overwritten: sources are read before the destination is written.
        self.pinned = 0;
        let r = self.take();
        self.bind(r, V::try_from(at).expect("fewer than 2^32 micro-operations"));
        r
    }

    fn unary(&mut self, at: usize, kind: Kind, imm: u8, a: V) {
        let vex = self.shape.of(kind);
        let from = self.operand(a, kind, self.after[at][0], at);
        self.used(at, 0, a);
        if kind.is_shift() {
            let dst = self.result(at);
            self.asm.vex(vex, Shape::shift(kind), dst, from, Some(imm));
            return;
        }
        let dst = self.result(at);
        // Scalar forms take the upper lanes from a second source; packed ones have none.
        let second = match (self.shape.lanes, kind, from) {
            (1, Kind::Sqrt | Kind::Round, Rm::Reg(r)) => r,
            (1, Kind::Sqrt | Kind::Round, Rm::Mem(_)) => dst,
            _ => 0,
        };
        self.asm.vex(vex, dst, second, from, matches!(kind, Kind::Round).then_some(imm));
    }

    fn binary(&mut self, at: usize, kind: Kind, imm: u8, a: V, b: V) {
        let vex = self.shape.of(kind);
        let (mut a, mut b, mut ka, mut kb) = (a, b, 0, 1);
        // The first source is a register: better the one that is in one.
        if kind.commutes() && self.register[a as usize] == NONE && self.register[b as usize] != NONE {
            (a, b, ka, kb) = (b, a, 1, 0);
        }
        let first = self.in_register(a);
        let second = self.operand(b, kind, self.after[at][kb], at);
        self.used(at, ka, a);
        if a != b {
            self.used(at, kb, b);
        }
        let dst = self.result(at);
        if kind == Kind::Compare {
            return self.asm.compare(self.shape, dst, first, second, imm);
        }
        let imm = match kind {
            Kind::Lower => Some(0x20),
            Kind::Upper => Some(0x31),
            _ => None,
        };
        self.asm.vex(vex, dst, first, second, imm);
    }

    fn blend(&mut self, at: usize, [mask, yes, no]: [V; 3]) {
        let mask_register = self.in_register(mask);
        let first = self.in_register(no);
        let second = self.operand(yes, Kind::Blend, self.after[at][1], at);
        self.used_all(at, [mask, yes, no]);
        let dst = self.result(at);
        self.asm.blend(self.shape, dst, mask_register, second, first);
    }

    fn used_all(&mut self, at: usize, args: [V; 3]) {
        for (k, &v) in args.iter().enumerate() {
            if !args[..k].contains(&v) {
                self.used(at, k, v);
            }
        }
    }

    /// A fused product overwrites one of its operands: one that dies, or one loaded or copied for it.
    fn fused(&mut self, at: usize, kind: Kind, args: [V; 3]) {
        let once = |k: usize| args.iter().filter(|&&v| v == args[k]).count() == 1;
        let in_memory =
            |s: &Self, k: usize| once(k) && s.register[args[k] as usize] == NONE && s.home[args[k] as usize].is_some();
        // A sum that stands in memory is loaded to where the result will be.
        let loaded = in_memory(self, 2);
        // At most one factor stays in memory: one that is there, in a form that can be read.
        let folds = |s: &Self, k: usize| s.home[args[k] as usize].is_some_and(|place| s.folds(place, kind));
        let folded = [1, 0].into_iter().find(|&k| in_memory(self, k) && folds(self, k)).filter(|&k| {
            let after = self.after[at][k];
            let soon = after != NEVER && after as usize - at < SOON as usize;
            !(soon && self.free_register().is_some())
        });
        let mut registers = [NONE; 3];
        for k in (0..3).filter(|&k| Some(k) != folded && !(k == 2 && loaded)) {
            registers[k] = self.in_register(args[k]);
        }
        // The destination: the sum if it dies or is loaded, else a factor that dies, else a copy of the sum.
        let dies = |s: &Self, k: usize| registers[k] != NONE && s.dies(at, k) && once(k);
        let dying = if loaded { None } else { [2, 0, 1].into_iter().find(|&k| dies(self, k)) };
        let dst = match dying {
            Some(k) => registers[k],
            None => {
                let r = self.take();
                match self.home[args[2] as usize] {
                    Some(place) if loaded => self.load(r, place),
                    _ => self.asm.vex(self.shape.copy(), r, 0, Rm::Reg(registers[2]), None),
                }
                r
            }
        };
        // (form, the operand in a register, the operand that may be in memory)
        let (form, second, last) = match (dying.unwrap_or(2), folded) {
            (2, Some(0)) => (Form::F231, 1, 0),
            (2, _) => (Form::F231, 0, 1),
            (0, Some(_)) => (Form::F132, 2, 1),
            (0, None) => (Form::F213, 1, 2),
            (_, Some(_)) => (Form::F132, 2, 0),
            (_, None) => (Form::F213, 0, 2),
        };
        let rm = match folded {
            Some(folded) if folded == last => {
                let place = self.home[args[last] as usize].expect("folded from memory");
                self.memory(place)
            }
            _ => Rm::Reg(registers[last]),
        };
        self.asm.vex(self.shape.fused(kind, form), dst, registers[second], rm, None);
        self.used_all(at, args);
        self.bind(dst, V::try_from(at).expect("fewer than 2^32 micro-operations"));
    }

    /// Everything in registers goes to memory, operands and result too.
    fn call(&mut self, v: V, at: usize, op: crate::ir::Op, args: [V; 2]) {
        let count = if library::is_binary(op) { 2 } else { 1 };
        let mut places = [Place::Scratch(0); 2];
        let mut borrowed = Vec::new();
        for (k, &arg) in args[..count].iter().enumerate() {
            places[k] = match self.home[arg as usize] {
                Some(Place::Scratch(s)) => Place::Scratch(s),
                _ => {
                    // The function reads whole vectors from scratch memory.
                    let r = self.in_register(arg);
                    let slot = self.slot();
                    let to = Rm::Mem(self.address(slot));
                    self.asm.vex(self.shape.store_whole(), r, 0, to, None);
                    borrowed.push(slot);
                    slot
                }
            };
        }
        for r in 0..VECTORS {
            let dead = self.holds[r]
                .is_some_and(|v| args[..count].iter().enumerate().any(|(k, &a)| a == v && self.dies(at, k)));
            if dead {
                let v = self.holds[r].take().expect("just seen");
                self.register[v as usize] = NONE;
            } else {
                self.evict(r);
            }
        }
        let out = self.slot();
        let [a, b] = places.map(|p| self.address(p));
        let to = self.address(out);
        self.asm.lea(RDI, to);
        self.asm.lea(RSI, a);
        self.asm.lea(RDX, b);
        self.asm.load_imm32(RCX, u32::try_from(self.shape.lanes).expect("at most 16"));
        self.asm.vzeroupper();
        if let Some(number) = op.function() {
            self.asm.load_imm64(R8, self.around.functions[number] as usize as u64);
        }
        self.asm.load_imm64(RAX, library::address(op, self.shape.elem));
        self.asm.call(RAX);
        for slot in borrowed {
            if let Place::Scratch(s) = slot {
                self.freed.push(s);
            }
        }
        for (k, &arg) in args[..count].iter().enumerate() {
            if !args[..k].contains(&arg) {
                self.used(at, k, arg);
            }
        }
        self.home[v as usize] = Some(out);
    }

    /// A test, and a jump that is nearly never taken: nothing leaves its register for it.
    fn or_call(&mut self, v: V, at: usize, op: crate::ir::Op, args: [V; 3]) {
        let count = if library::is_binary(op) { 3 } else { 2 };
        let mut registers = args.map(|arg| self.in_register(arg));
        let only = args[1..count].iter().all(|&other| other != args[0]);
        if !(self.dies(at, 0) && only) {
            let copy = self.take();
            self.asm.vex(self.shape.copy(), copy, 0, Rm::Reg(registers[0]), None);
            registers[0] = copy;
        }
        let result = registers[0];
        // A vector register for the answer is needed where it goes neither to the flags nor to a mask.
        let in_flags = self.shape.lanes == 1 || self.shape.width() == Width::W512;
        let free = if in_flags { result } else { self.take() };
        let condition = self.asm.any_nan(self.shape, result, free);
        let function = self.around.functions[op.function().expect("it names one")];
        self.slow.detour(self.asm, condition, Detour { shape: self.shape, op, function, registers });
        self.used_all(at, [args[0], args[1], if count == 3 { args[2] } else { args[1] }]);
        self.bind(result, v);
    }
}
