/** @file Makes parsed Jinja templates behave like Python's: None and True print as such, and lists and texts have the
 *  methods `index`, `find`, `count` and `join`, which the engine's own values lack.
 *
 *  Both are rewritings of the syntax tree: `{{ e }}` becomes `{{ __print(e) }}`, `x.index(y)` becomes `__index(x, y)`. */

const STATEMENTS: ReadonlySet<string> = new Set([
  ..."Set If For Macro Comment Break Continue CallStatement FilterStatement StringLiteral".split(" "),
]);

type Node = Record<string, unknown> & { type: string };

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value && typeof value.type === "string";
}

/** Rewrites a freshly parsed template in place. */
export function rewriteForPython(node: unknown): void {
  if (Array.isArray(node) || node instanceof Map) {
    for (const item of node) rewriteForPython(item);
    return;
  }
  if (!isNode(node)) return;
  for (const block of ["body", "alternate", "defaultBlock"]) {
    const statements = node[block];
    if (Array.isArray(statements)) node[block] = statements.map(printed);
  }
  for (const value of Object.values(node)) rewriteForPython(value);
  if (node.type !== "CallExpression" || !isNode(node.callee) || node.callee.type !== "MemberExpression") return;
  const { object, property, computed } = node.callee;
  if (computed || !isNode(property) || !(`__${String(property.value)}` in PYTHON_FUNCTIONS)) return;
  node.args = [object, ...(Array.isArray(node.args) ? node.args : [])];
  node.callee = { type: "Identifier", value: `__${String(property.value)}` };
}

function printed(statement: unknown): unknown {
  if (!isNode(statement) || STATEMENTS.has(statement.type)) return statement;
  return { type: "CallExpression", callee: { type: "Identifier", value: "__print" }, args: [statement] };
}

/** What the rewritten templates call. */
export const PYTHON_FUNCTIONS: Readonly<Record<string, (...values: unknown[]) => unknown>> = {
  __print: (value) => {
    if (value === null || value === undefined) return "None"; // the engine hands both over as undefined
    return typeof value === "boolean" ? (value ? "True" : "False") : unwrapped(value);
  },
  __index: (items, item) => {
    const at = position(items, item);
    if (at < 0) throw new Error(`${JSON.stringify(item)} is not in ${JSON.stringify(unwrapped(items))}`);
    return at;
  },
  __find: position,
  __count: (items, item) => {
    const list = unwrapped(items);
    if (typeof list === "string") return list.split(String(item)).length - 1;
    return Array.isArray(list) ? list.filter((value) => value === item).length : 0;
  },
  __join: (separator, items) => {
    const list = unwrapped(items);
    return Array.isArray(list) ? list.join(String(separator)) : "";
  },
};

function position(items: unknown, item: unknown): number {
  const list = unwrapped(items);
  if (typeof list === "string") return list.indexOf(String(item));
  return Array.isArray(list) ? list.indexOf(item) : -1;
}

/** Plain values out of the engine's: it hands lists and mappings over with wrapped members. */
function unwrapped(value: unknown): unknown {
  const inner = (member: unknown) => unwrapped(typeof member === "object" && member !== null && "value" in member ? member.value : member);
  if (Array.isArray(value)) return value.map(inner);
  return value instanceof Map ? Object.fromEntries([...value].map(([key, member]) => [key, inner(member)])) : value;
}
