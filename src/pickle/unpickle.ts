/** @file An interpreter of pickles that runs no code (the format: Python's pickletools.py; protocols 1 to 5).
 *
 *  A pickle is a program for a machine with a stack and a memo. This interpreter has only the instructions that build plain values, names
 *  and calls of names; names.ts defines the names and the results of calls. It makes no object of any class.
 *
 *  The cost of a hostile file is bounded: an instruction makes one small value, there are no loops, and the numbers of instructions and
 *  values are limited. Values may contain each other in a cycle; the interpreter never traverses them. */

import type { Cursor } from "./cursor.ts";
import { called, isKind, knownName, type Site } from "./names.ts";
import { damaged, refused } from "./source.ts";
import { type Dict, described, type List, type Storage, type Tuple, type Value } from "./values.ts";

/** The limits for a file. A tensor takes about 40 instructions, 33 values and 90 bytes. */
const MOST_VALUES = 2 ** 24;
const MOST_INSTRUCTIONS = 2 ** 26;
const FEWEST_VALUES = 2 ** 16; // allowed in the smallest file
const LONGEST_NUMBER = 256; // bytes

/** Instructions that make objects or use external data. Tensors do not need them. */
const REFUSED: Readonly<Record<number, string>> = {
  80: "PERSID",
  105: "INST",
  111: "OBJ",
  129: "NEWOBJ",
  130: "EXT1",
  131: "EXT2",
  132: "EXT4",
  146: "NEWOBJ_EX",
  151: "NEXT_BUFFER",
  152: "READONLY_BUFFER",
};

const EMPTY: Tuple = { kind: "tuple", items: [] };

/** Picklers number memo entries consecutively; only a hostile file has gaps. */
interface Memo {
  readonly dense: Value[];
  readonly sparse: Map<number, Value>;
}

interface Machine extends Site {
  readonly cursor: Cursor;
  readonly stack: Value[];
  /** Where in the stack the marks are. */
  readonly marks: number[];
  readonly memo: Memo;
  readonly persistent: (id: Value, site: Site) => Storage;
  push(value: Value): void;
  pop(): Value;
  top(): Value;
  /** Removes and returns the values since the last mark, and removes the mark. */
  popMarked(): Value[];
}

/** Reads the pickle at the cursor and leaves the cursor after it. `persistent` returns the storage of a persistent id. */
export function unpickle(cursor: Cursor, persistent: (id: Value, site: Site) => Storage): Value {
  const machine = newMachine(cursor, persistent);
  for (let count = 0; count < MOST_INSTRUCTIONS; count++) {
    const code = cursor.byte();
    if (code === 0x2e) return machine.pop();
    const instruction = INSTRUCTIONS[code];
    if (instruction) instruction(machine);
    else throw unknownInstruction(machine, code);
  }
  throw refused(machine.where(), `The file holds a pickle of more than ${MOST_INSTRUCTIONS} instructions.`);
}

function newMachine(cursor: Cursor, persistent: Machine["persistent"]): Machine {
  const stack: Value[] = [];
  const marks: number[] = [];
  const most = Math.min(MOST_VALUES, FEWEST_VALUES + cursor.source.size / 2);
  let made = 0;
  const where = () => cursor.where();
  const floor = () => marks.at(-1) ?? 0;
  const charge = (values: number) => {
    made += values;
    if (made > most) throw refused(where(), `The file's pickle makes more than ${Math.floor(most)} values, too many for tensors.`);
  };
  const need = () => {
    if (stack.length <= floor()) throw damaged(where(), "its pickle takes a value that is not there.");
  };
  const push = (value: Value) => {
    charge(1);
    stack.push(value);
  };
  const pop = () => {
    need();
    return stack.pop()!;
  };
  const top = () => {
    need();
    return stack[stack.length - 1]!;
  };
  const popMarked = () => {
    const mark = marks.pop();
    if (mark === undefined) throw damaged(where(), "its pickle goes back to a mark that is not there.");
    return stack.splice(mark);
  };
  return { cursor, stack, marks, memo: { dense: [], sparse: new Map() }, persistent, where, charge, push, pop, top, popMarked };
}

function unknownInstruction(machine: Machine, code: number) {
  const name = REFUSED[code];
  const hex = `0x${code.toString(16).padStart(2, "0")}`;
  if (name === undefined) return damaged(machine.where(), `its pickle has an instruction ${hex} that does not exist.`);
  return refused(machine.where(), `The file's pickle makes objects (instruction ${name}), which plain tensors do not need.`);
}

type Instruction = (machine: Machine) => void;

/** The instructions, by code. */
const INSTRUCTIONS: Readonly<Record<number, Instruction>> = {
  128: ({ cursor, where }) => {
    const protocol = cursor.byte();
    if (protocol > 5) throw refused(where(), `The file's pickle is of protocol ${protocol}; known are 1 to 5.`);
  },
  149: ({ cursor }) => void cursor.unsigned(8), // FRAME: only a reader of streams needs its length

  // The stack and the memo
  40: ({ marks, stack, charge }) => {
    charge(1);
    marks.push(stack.length);
  },
  48: (machine) => {
    const { stack, marks } = machine;
    if (marks.length > 0 && stack.length === marks.at(-1)) marks.pop();
    else machine.pop();
  },
  49: ({ popMarked }) => void popMarked(),
  50: ({ push, top }) => push(top()),
  112: (machine) => memorize(machine, integer(machine)),
  113: (machine) => memorize(machine, machine.cursor.byte()),
  114: (machine) => memorize(machine, machine.cursor.unsigned(4)),
  148: (machine) => memorize(machine, machine.memo.dense.length + machine.memo.sparse.size),
  103: (machine) => recall(machine, integer(machine)),
  104: (machine) => recall(machine, machine.cursor.byte()),
  106: (machine) => recall(machine, machine.cursor.unsigned(4)),

  // Plain values
  78: ({ push }) => push(null),
  136: ({ push }) => push(true),
  137: ({ push }) => push(false),
  73: (machine) => machine.push(integer(machine)),
  74: ({ cursor, push }) => push(cursor.unsigned(4) | 0),
  75: ({ cursor, push }) => push(cursor.byte()),
  77: ({ cursor, push }) => push(cursor.unsigned(2)),
  76: (machine) => machine.push(integer(machine)),
  138: ({ cursor, push }) => push(long(cursor.bytes(cursor.byte()), cursor)),
  139: ({ cursor, push }) => push(long(cursor.bytes(cursor.unsigned(4)), cursor)),
  71: ({ cursor, push }) => push(new DataView(cursor.bytes(8).buffer).getFloat64(0)),
  88: ({ cursor, push }) => push(cursor.text(cursor.bytes(cursor.unsigned(4)))),
  140: ({ cursor, push }) => push(cursor.text(cursor.bytes(cursor.byte()))),
  141: ({ cursor, push }) => push(cursor.text(cursor.bytes(cursor.unsigned(8)))),
  85: ({ cursor, push }) => push(cursor.bytes(cursor.byte())),
  84: ({ cursor, push }) => push(cursor.bytes(cursor.unsigned(4))),
  67: ({ cursor, push }) => push(cursor.bytes(cursor.byte())),
  66: ({ cursor, push }) => push(cursor.bytes(cursor.unsigned(4))),
  142: ({ cursor, push }) => push(cursor.bytes(cursor.unsigned(8))),
  150: ({ cursor, push }) => push(cursor.bytes(cursor.unsigned(8))),

  // Tuples, lists, dicts, sets
  41: ({ push }) => push(EMPTY),
  133: ({ push, pop }) => push({ kind: "tuple", items: [pop()] }),
  134: ({ push, pop }) => push({ kind: "tuple", items: [pop(), pop()].reverse() }),
  135: ({ push, pop }) => push({ kind: "tuple", items: [pop(), pop(), pop()].reverse() }),
  116: ({ push, popMarked }) => push({ kind: "tuple", items: popMarked() }),
  93: ({ push }) => push({ kind: "list", items: [] }),
  108: ({ push, popMarked }) => push({ kind: "list", items: popMarked() }),
  97: (machine) => append(machine, [machine.pop()]),
  101: (machine) => append(machine, machine.popMarked()),
  125: ({ push }) => push({ kind: "dict", entries: undefined }),
  100: (machine) => {
    const items = machine.popMarked();
    machine.push({ kind: "dict", entries: undefined });
    put(machine, items);
  },
  115: (machine) => put(machine, [machine.pop(), machine.pop()].reverse()),
  117: (machine) => put(machine, machine.popMarked()),
  143: ({ push }) => push({ kind: "list", items: [] }),
  144: (machine) => append(machine, machine.popMarked()),
  145: ({ push, popMarked }) => push({ kind: "tuple", items: popMarked() }),

  // Names, calls and storages
  99: (machine) => name(machine, machine.cursor.line(), machine.cursor.line()),
  147: (machine) => {
    const [short, module] = [machine.pop(), machine.pop()];
    if (typeof short !== "string" || typeof module !== "string") throw damaged(machine.where(), "a name that is no text.");
    name(machine, module, short);
  },
  82: (machine) => {
    const [args, callee] = [machine.pop(), machine.pop()];
    machine.push(called(callee, args, machine));
  },
  98: (machine) => {
    machine.pop(); // an OrderedDict's attributes (versions of modules) are not tensors
    const built = machine.top();
    if (!isKind(built, "dict")) throw refused(machine.where(), `The file's pickle sets the inside of ${described(built)}.`);
  },
  81: (machine) => machine.push(machine.persistent(machine.pop(), machine)),
};

function memorize({ memo, top, charge }: Machine, index: number | bigint | boolean): void {
  charge(1);
  const [at, { dense, sparse }] = [Number(index), memo];
  if (at >= 0 && at <= dense.length) dense[at] = top();
  else sparse.set(at, top());
}

function recall({ memo, push, where }: Machine, index: number | bigint | boolean): void {
  const at = Number(index);
  const value = at < memo.dense.length ? memo.dense[at] : memo.sparse.get(at);
  if (value === undefined) throw damaged(where(), `its pickle recalls value ${index}, which it never kept.`);
  push(value);
}

function append({ top, where }: Machine, items: readonly Value[]): void {
  const list: Value = top();
  if (!isKind(list, "list")) throw damaged(where(), `its pickle appends to ${described(list)}.`);
  for (const item of items) (list as List).items.push(item);
}

function put({ top, where }: Machine, items: readonly Value[]): void {
  const dict: Value = top();
  if (!isKind(dict, "dict")) throw damaged(where(), `its pickle puts an entry into ${described(dict)}.`);
  if (items.length % 2 !== 0) throw damaged(where(), "a key of a dict without a value.");
  const entries = (dict as Dict).entries ?? new Map<Value, Value>();
  for (let i = 0; i < items.length; i += 2) entries.set(items[i]!, items[i + 1]!);
  if (items.length > 0) dict.entries = entries;
}

function name({ push, where }: Machine, module: string, short: string): void {
  const full = `${module}.${short}`;
  const known = knownName(full);
  if (known) {
    push(known);
    return;
  }
  throw refused(
    where(),
    `The file asks Python for ${JSON.stringify(full.slice(0, 200))}, which plain tensors do not need. Nothing of it was run.`,
    "Do not open it with Python unless you trust whoever made it. If you do, save its plain tensors again, with safetensors.torch.save_file.",
  );
}

/** A line of decimal digits; "00" and "01" are False and True. */
function integer({ cursor, where }: Machine): number | bigint | boolean {
  const line = cursor.line().replace(/L$/, "");
  if (line === "00" || line === "01") return line === "01";
  if (!/^-?\d{1,80}$/.test(line)) throw damaged(where(), `${JSON.stringify(line.slice(0, 40))} where a number belongs.`);
  return exact(BigInt(line));
}

/** Two's complement, little-endian. */
function long(bytes: Uint8Array, cursor: Cursor): number | bigint {
  if (bytes.length > LONGEST_NUMBER) throw damaged(cursor.where(), `a number of ${bytes.length} bytes.`);
  if (bytes.length === 0) return 0;
  const hex = Buffer.from(bytes).reverse().toString("hex");
  return exact(BigInt.asIntN(8 * bytes.length, BigInt(`0x${hex}`)));
}

function exact(value: bigint): number | bigint {
  return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
}
