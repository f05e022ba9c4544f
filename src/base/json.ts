/** @file JSON with numbers as exact as in Python.
 *
 *  JSON.parse reads 20.0 as 20 and 9007199254740993 as 9007199254740992. Python, which made most templates and data, tells integers from
 *  floats and has integers of any length. Where JavaScript's number would lose that, `parseExactJson` gives a JsonNumber. */

/** A number that a JavaScript number cannot represent: a long integer, or a float without a fraction. */
export class JsonNumber {
  /** Its spelling in Python's json.dumps. */
  readonly text: string;
  readonly isFloat: boolean;

  constructor(source: string) {
    this.isFloat = /[.eE]/.test(source);
    this.text = this.isFloat ? pythonFloat(Number(source)) : String(BigInt(source));
  }
  valueOf(): number {
    return Number(this.text);
  }
  toString(): string {
    return this.text;
  }
  toJSON(): number {
    return Number(this.text);
  }
}

// A string, or a number. Strings are matched so that digits inside them are not changed.
const STRING_OR_NUMBER = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/gs;
const MARK = `${crypto.randomUUID()} `; // no data holds it

/** JSON.parse, with a JsonNumber for each number that would lose digits or its point. */
export function parseExactJson(text: string): unknown {
  let found = false;
  const marked = text.replace(STRING_OR_NUMBER, (token) => {
    if (token.startsWith('"') || !isLossy(token)) return token;
    found = true;
    return `"${MARK}${token}"`;
  });
  if (!found) return JSON.parse(text);
  return JSON.parse(marked, (_, value: unknown) =>
    typeof value === "string" && value.startsWith(MARK) ? new JsonNumber(value.slice(MARK.length)) : value,
  );
}

function isLossy(token: string): boolean {
  const value = Number(token);
  return /[.eE]/.test(token) ? Number.isInteger(value) : !Number.isSafeInteger(value) || Object.is(value, -0);
}

/** A float in the spelling of Python's repr and json.dumps: 20.0, 1e-05, 1e+16. */
export function pythonFloat(value: number): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
  if (Object.is(value, -0)) return "-0.0";
  const [digits = "", exponent = ""] = value.toExponential().split("e");
  const power = Number(exponent);
  if (value !== 0 && (power < -4 || power >= 16)) {
    return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  }
  return Number.isInteger(value) ? `${value}.0` : String(value);
}
