/** @file Makes parsed Jinja templates behave like Python's by rewriting their syntax trees. Where the engine's values differ from
 *  Python's, an expression becomes a call of a function in functions.ts.
 *
 *      {{ e }}        __print(e)          None and True print as such
 *      a ~ b          __concat(a, b)
 *      x | tojson     __tojson(x)
 *      x.strip(y)     __strip(x, y)       also index, find, count, join, lstrip, rstrip */

const STATEMENTS: ReadonlySet<string> = new Set([
  ..."Set If For Macro Comment Break Continue CallStatement FilterStatement StringLiteral".split(" "),
]);
const METHODS: ReadonlySet<string> = new Set("index find count join strip lstrip rstrip".split(" "));

type Node = Record<string, unknown> & { type: string };

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value && typeof value.type === "string";
}

/** Rewrites a newly parsed template in place. */
export function rewriteForPython(node: unknown): void {
  if (Array.isArray(node)) {
    for (const item of node) rewriteForPython(item);
    return;
  }
  if (node instanceof Map) {
    for (const pair of node) rewriteForPython(pair);
    return;
  }
  if (!isNode(node)) return;
  for (const block of ["body", "alternate", "defaultBlock"]) {
    const statements = node[block];
    if (Array.isArray(statements)) node[block] = statements.map(printed);
  }
  for (const value of Object.values(node)) rewriteForPython(value);
  rewriteMethod(node);
  if (node.type === "FilterExpression" && nameOf(node.filter) === "tojson") {
    const args = isNode(node.filter) && Array.isArray(node.filter.args) ? node.filter.args : [];
    turnIntoCall(node, "__tojson", [node.operand, ...args]);
  }
  if (node.type === "BinaryExpression" && isOperator(node.operator, "~")) turnIntoCall(node, "__concat", [node.left, node.right]);
}

function rewriteMethod(node: Node): void {
  if (node.type !== "CallExpression" || !isNode(node.callee) || node.callee.type !== "MemberExpression") return;
  const { object, property, computed } = node.callee;
  if (computed || !isNode(property) || !METHODS.has(String(property.value))) return;
  turnIntoCall(node, `__${String(property.value)}`, [object, ...(Array.isArray(node.args) ? node.args : [])]);
}

function turnIntoCall(node: Node, name: string, args: readonly unknown[]): void {
  for (const key of Object.keys(node)) delete node[key];
  Object.assign(node, { type: "CallExpression", callee: { type: "Identifier", value: name }, args });
}

function printed(statement: unknown): unknown {
  if (!isNode(statement) || STATEMENTS.has(statement.type)) return statement;
  return { type: "CallExpression", callee: { type: "Identifier", value: "__print" }, args: [statement] };
}

/** The name of a filter, with arguments or without. */
function nameOf(filter: unknown): unknown {
  if (!isNode(filter)) return undefined;
  return filter.type === "CallExpression" ? nameOf(filter.callee) : filter.value;
}

function isOperator(operator: unknown, sign: string): boolean {
  return typeof operator === "object" && operator !== null && "value" in operator && operator.value === sign;
}
