/** @file Finds calls of tools in a text as it comes (tool-style.ts has the forms). Text outside of calls comes out at once, but for what may
 *  be the beginning of a call. Of a call its name comes out first, then its arguments piece by piece. What looks like a call and is none comes
 *  out as text.
 *
 *      outside  ->  head  ->  arguments  ->  rest  ->  between  ->  head | outside
 *
 *  A call that does not begin with its name, or whose arguments are no object, comes out when it is whole. */

import type { ToolStyle } from "../backend.ts";
import { callOf } from "./call-value.ts";
import { ObjectScanner } from "./object-scanner.ts";

/** `arguments` are pieces of the JSON text of the last call's object, `end` says that it is whole. */
export type Found =
  | { readonly kind: "text" | "arguments"; readonly text: string }
  | { readonly kind: "call"; readonly name: string }
  | { readonly kind: "end" };

/** `isForced`: the text is a call from its first character on, its opening words were in the prompt. */
export function toolReader(style: ToolStyle, isForced = false): ToolReader {
  return new ToolReader(FORMS[style], isForced);
}

/** How calls are written. */
interface Form {
  /** The words before calls; none where a text that begins with a call is one to its end. */
  readonly tag?: string;
  /** What a text begins with that is a call, where there is no tag. */
  readonly openings?: readonly string[];
  /** From the beginning of a call to its arguments; the group is the name. */
  readonly heads: readonly RegExp[];
  /** What may stand behind a call. */
  readonly closings: readonly string[];
}

/** {"name": "f", "arguments": {, in a list or not. */
const JSON_HEAD = /^[\s,;[]*\{\s*(?:"type"\s*:\s*"function"\s*,\s*)?"name"\s*:\s*"([^"\\]+)"\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)/;
const PYTHON_TAG = "<|python_tag|>";
const FORMS: Readonly<Record<ToolStyle, Form>> = {
  hermes: { tag: "<tool_call>", heads: [JSON_HEAD], closings: ["</tool_call>"] },
  mistral: {
    tag: "[TOOL_CALLS]",
    heads: [JSON_HEAD, /^\s*([\w.-]+)\s*(?:\[CALL_ID\][^[{]*)?(?:\[ARGS\])?\s*(?=\{)/],
    closings: ["]"],
  },
  llama3: {
    openings: [PYTHON_TAG, "{", "<function="],
    heads: [JSON_HEAD, /^\s*<function=([\w.-]+)>\s*(?=\{)/],
    closings: ["</function>", "<|eom_id|>"],
  },
};

type State = "start" | "outside" | "head" | "arguments" | "rest" | "between";

export class ToolReader {
  readonly #form: Form;
  #state: State;
  /** What came and is not decided. */
  #held = "";
  /** The tag before what is held. */
  #tag = "";
  /** Whether line ends come, which between calls are no answer. */
  #trims = false;
  #object = new ObjectScanner();
  /** Whether the arguments are in an object that has the name too. */
  #isNested = false;

  constructor(form: Form, isForced: boolean) {
    this.#form = form;
    this.#state = isForced ? "head" : form.tag === undefined ? "start" : "outside";
  }

  push(text: string): Found[] {
    return this.#run(text, false);
  }
  end(): Found[] {
    return this.#run("", true);
  }

  #run(text: string, isLast: boolean): Found[] {
    this.#held += text;
    const out: Found[] = [];
    while (this.#step(out, isLast));
    return out;
  }

  /** Whether something was decided. */
  #step(out: Found[], isLast: boolean): boolean {
    switch (this.#state) {
      case "start":
        return this.#start(isLast);
      case "outside":
        return this.#outside(out, isLast);
      case "head":
        return this.#head(out, isLast);
      case "arguments":
        return this.#arguments(out);
      case "rest":
        return this.#rest(out);
      case "between":
        return this.#between(isLast);
    }
  }

  #start(isLast: boolean): boolean {
    const { openings = [] } = this.#form;
    const start = this.#held.trimStart();
    if (!isLast && openings.some((open) => open !== start && open.startsWith(start))) return false;
    if (!openings.some((open) => start.startsWith(open))) return this.#go("outside");
    if (start.startsWith(PYTHON_TAG)) {
      this.#tag = PYTHON_TAG;
      this.#held = start.slice(PYTHON_TAG.length);
    }
    return this.#beginHead();
  }

  #outside(out: Found[], isLast: boolean): boolean {
    const { tag } = this.#form;
    const at = tag === undefined ? -1 : this.#held.indexOf(tag);
    // Spaces before a call are no part of the answer.
    const keep = isLast || tag === undefined ? 0 : beginning(this.#held, tag);
    const text = at >= 0 ? this.#held.slice(0, at).trimEnd() : this.#held.slice(0, this.#held.length - keep);
    const shown = this.#trims ? text.trimStart() : text;
    if (shown !== "") {
      out.push({ kind: "text", text: shown });
      this.#trims = false;
    }
    this.#held = at >= 0 ? this.#held.slice(at + tag!.length) : this.#held.slice(text.length);
    if (at < 0) return false;
    this.#tag = tag!;
    return this.#beginHead();
  }

  #beginHead(): boolean {
    this.#object = new ObjectScanner();
    return this.#go("head");
  }
  #go(state: State): boolean {
    this.#state = state;
    return true;
  }

  #head(out: Found[], isLast: boolean): boolean {
    for (const head of this.#form.heads) {
      const [whole, name] = head.exec(this.#held) ?? [];
      if (whole === undefined) continue;
      this.#isNested = head === JSON_HEAD;
      this.#held = this.#held.slice(whole.length);
      this.#begun(out, name!);
      this.#object = new ObjectScanner();
      return this.#go("arguments");
    }
    const start = this.#held.search(/[^\s,;[]/);
    if (start >= 0 && this.#held[start] === "{") {
      const { isWhole } = this.#object.take(this.#held.slice(start + this.#object.seen));
      if (isWhole) return this.#wholeCall(out, start);
    }
    const closed = this.#form.closings.some((word) => word.length > 1 && this.#held.includes(word));
    return (isLast && this.#held + this.#tag !== "") || closed ? this.#noCall(out, this.#held.length) : false;
  }

  /** An object that is whole before its name and arguments were told. */
  #wholeCall(out: Found[], start: number): boolean {
    const end = start + this.#object.seen;
    const call = callOf(this.#held.slice(start, end));
    if (!call) return this.#noCall(out, end);
    this.#held = this.#held.slice(end);
    this.#begun(out, call.name);
    out.push({ kind: "arguments", text: call.arguments }, { kind: "end" });
    return this.#go("between");
  }

  #begun(out: Found[], name: string): void {
    this.#trims = true;
    out.push({ kind: "call", name });
  }

  /** What was held is text after all, to `end`. */
  #noCall(out: Found[], end: number): boolean {
    out.push({ kind: "text", text: this.#tag + this.#held.slice(0, end) });
    this.#tag = "";
    this.#held = this.#held.slice(end);
    return this.#go("outside");
  }

  #arguments(out: Found[]): boolean {
    const { used, compact, isWhole } = this.#object.take(this.#held);
    this.#held = this.#held.slice(used);
    if (compact !== "") out.push({ kind: "arguments", text: compact });
    if (!isWhole) return false;
    if (this.#isNested) {
      this.#object = new ObjectScanner(1);
      return this.#go("rest");
    }
    out.push({ kind: "end" });
    return this.#go("between");
  }

  /** What an object has behind its arguments: an id, or nothing. */
  #rest(out: Found[]): boolean {
    const { used, isWhole } = this.#object.take(this.#held);
    this.#held = this.#held.slice(used);
    if (!isWhole) return false;
    out.push({ kind: "end" });
    return this.#go("between");
  }

  /** Behind a call: another one, what closes it, or text. */
  #between(isLast: boolean): boolean {
    const { tag, openings = [], closings } = this.#form;
    this.#held = this.#held.replace(/^[\s,;]+/, "");
    this.#tag = "";
    if (this.#held === "") return false;
    const closing = closings.find((word) => this.#held.startsWith(word));
    if (closing !== undefined) {
      this.#held = this.#held.slice(closing.length);
      return tag !== undefined && closing.length > 1 ? this.#go("outside") : true;
    }
    if (this.#held.startsWith("{") || openings.some((word) => this.#held.startsWith(word))) return this.#beginHead();
    if (!isLast && [...closings, ...openings, tag ?? ""].some((word) => word !== this.#held && word.startsWith(this.#held))) return false;
    return this.#go("outside");
  }
}

/** How much of the text's end may be the beginning of a tag, spaces before it too. */
function beginning(text: string, tag: string): number {
  for (let length = Math.min(text.length, tag.length - 1); length > 0; length--) {
    if (!tag.startsWith(text.slice(-length))) continue;
    const before = text.slice(0, -length);
    return length + before.length - before.trimEnd().length;
  }
  return text.length - text.trimEnd().length;
}
