/** @file Python's strftime in the C locale, for a time without a zone (datetime.now().strftime, as transformers calls it).
 *
 *  Reference: the Python Standard Library, "strftime() and strptime() Format Codes", and strftime(3) of glibc for the flags
 *  (-, _, 0, ^, #) and the codes that Python passes on. */

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = "January February March April May June July August September October November December".split(" ");
const DAY = 86_400_000;

interface Field {
  readonly value: number;
  readonly width: number;
  readonly pad: "0" | " ";
}
const number = (value: number, width = 2, pad: Field["pad"] = "0"): Field => ({ value, width, pad });

/** The meaning of each code: a number, a text, or a format of other codes. */
const CODES: Readonly<Record<string, (date: Date) => Field | string | { readonly format: string }>> = {
  a: (d) => DAYS[d.getDay()]!.slice(0, 3),
  A: (d) => DAYS[d.getDay()]!,
  b: (d) => MONTHS[d.getMonth()]!.slice(0, 3),
  B: (d) => MONTHS[d.getMonth()]!,
  c: () => ({ format: "%a %b %e %H:%M:%S %Y" }),
  C: (d) => number(Math.floor(d.getFullYear() / 100)),
  d: (d) => number(d.getDate()),
  D: () => ({ format: "%m/%d/%y" }),
  e: (d) => number(d.getDate(), 2, " "),
  f: (d) => number(d.getMilliseconds() * 1000, 6),
  F: () => ({ format: "%Y-%m-%d" }),
  g: (d) => number(isoWeek(d).year % 100),
  G: (d) => number(isoWeek(d).year, 1),
  h: () => ({ format: "%b" }),
  H: (d) => number(d.getHours()),
  I: (d) => number(hour12(d)),
  j: (d) => number(dayOfYear(d) + 1, 3),
  k: (d) => number(d.getHours(), 2, " "),
  l: (d) => number(hour12(d), 2, " "),
  m: (d) => number(d.getMonth() + 1),
  M: (d) => number(d.getMinutes()),
  n: () => "\n",
  p: (d) => (d.getHours() < 12 ? "AM" : "PM"),
  P: (d) => (d.getHours() < 12 ? "am" : "pm"),
  r: () => ({ format: "%I:%M:%S %p" }),
  R: () => ({ format: "%H:%M" }),
  s: (d) => number(Math.floor(d.getTime() / 1000), 1),
  S: (d) => number(d.getSeconds()),
  t: () => "\t",
  T: () => ({ format: "%H:%M:%S" }),
  u: (d) => number(d.getDay() || 7, 1),
  U: (d) => number(weekFrom(d, 0)),
  V: (d) => number(isoWeek(d).week),
  w: (d) => number(d.getDay(), 1),
  W: (d) => number(weekFrom(d, 1)),
  x: () => ({ format: "%m/%d/%y" }),
  X: () => ({ format: "%H:%M:%S" }),
  y: (d) => number(d.getFullYear() % 100),
  Y: (d) => number(d.getFullYear(), 1),
  z: () => "",
  Z: () => "",
  "%": () => "%",
};

/** The date as text. An unknown code stays as written, as in glibc. */
export function strftime(date: Date, format: string): string {
  return format.replace(/%([-_0^#]*)(\d*)([EO:]?)([A-Za-z%])/g, (whole, flags: string, width: string, _modifier, code: string) => {
    const found = Object.hasOwn(CODES, code) ? CODES[code]!(date) : undefined;
    if (found === undefined) return whole;
    if (typeof found === "string") return cased(padded(found, width, " "), flags, code);
    if ("format" in found) return cased(padded(strftime(date, found.format), width, " "), flags, code);
    const pad = flags.includes("_") ? " " : flags.includes("0") ? "0" : found.pad;
    if (flags.includes("-")) return String(found.value);
    return padded(String(found.value), width === "" ? String(found.width) : width, pad);
  });
}

function padded(text: string, width: string, pad: string): string {
  return text.padStart(Number(width), pad);
}

function cased(text: string, flags: string, code: string): string {
  if (flags.includes("#") && code === "p") return text.toLowerCase();
  return flags.includes("^") || flags.includes("#") ? text.toUpperCase() : text;
}

const hour12 = (date: Date): number => date.getHours() % 12 || 12;

/** Calendar days since 1 January, independent of daylight saving time. */
function dayOfYear(date: Date): number {
  return (midnight(date) - Date.UTC(date.getFullYear(), 0, 1)) / DAY;
}

const midnight = (date: Date): number => Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());

/** The number of weeks that have begun, counted from the year's first Sunday (0) or Monday (1). */
function weekFrom(date: Date, firstDay: number): number {
  return Math.floor((dayOfYear(date) + 7 - ((date.getDay() - firstDay + 7) % 7)) / 7);
}

/** ISO 8601: a week belongs to the year of its Thursday. */
function isoWeek(date: Date): { year: number; week: number } {
  const thursday = new Date(midnight(date) + (4 - (date.getDay() || 7)) * DAY);
  const year = thursday.getUTCFullYear();
  return { year, week: 1 + Math.floor((thursday.getTime() - Date.UTC(year, 0, 1)) / DAY / 7) };
}

/** Parses a date and time in the form that options and run records use, in local time: 2026-03-01 or 2026-03-01T12:30:00. */
export function parseDate(text: string): Date | undefined {
  const match = /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2}))?)?$/.exec(text);
  if (!match) return undefined;
  const [year, month, day, hours = 0, minutes = 0, seconds = 0] = match.slice(1).map((part) => Number(part ?? 0));
  const date = new Date(year!, month! - 1, day!, hours, minutes, seconds);
  return date.getMonth() === month! - 1 && date.getDate() === day && date.getHours() === hours ? date : undefined;
}

/** The inverse of `parseDate`, to the second. */
export function dateText(date: Date): string {
  return strftime(date, "%Y-%m-%dT%H:%M:%S");
}
