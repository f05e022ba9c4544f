/** @file The model card of an expert: a README.md in the Hugging Face hub's format (huggingface.co/docs/hub/model-cards).
 *
 *  The card ends with the hash of its own text. While that hash is right, a later run may replace the card. A card that a person
 *  edited or wrote is never changed. */

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { z } from "zod";
import type { Adapter } from "../adapters/adapter.ts";
import { writeFileAtomically } from "../checkpoint/atomic.ts";

export interface ModelCard {
  readonly name: string;
  /** Default: lora. */
  readonly kind?: Adapter["kind"];
  /** The base model: a hub id or a name. */
  readonly base: string;
  /** The source of its examples. */
  readonly data?: string;
  readonly steps?: number;
  readonly metrics?: Readonly<Record<string, number>>;
  /** SPDX id, as the hub requires: "apache-2.0". */
  readonly license?: string;
  /** Whether gates lie beside the adapter. */
  readonly gated?: boolean;
}

export const CARD_FILE = "README.md";
const MARK = /<!-- written by skein, sha256 ([0-9a-f]{64}); an edited card is never overwritten -->\n$/;

/** Writes README.md unless a person edited or wrote the existing one. Returns whether it wrote. */
export async function writeModelCard(directory: string, card: ModelCard): Promise<boolean> {
  const path = join(directory, CARD_FILE);
  const old = await readFile(path, "utf8").catch(() => undefined); // absent: nothing to protect
  if (old !== undefined && !isOurs(old)) return false;
  await writeMarked(path, cardText(card));
  return true;
}

/** Records in a card that Skein wrote, if there is one, that the expert now has gates. */
export async function noteGates(directory: string): Promise<void> {
  const path = join(directory, CARD_FILE);
  const text = await readFile(path, "utf8").catch(() => ""); // absent: nothing to say
  if (isOurs(text)) await writeMarked(path, text.replace(MARK, "").replace(gatesLine(false), gatesLine(true)));
}

/** What a card says of its expert's data and steps; or the whole card, if a person edited or wrote it. */
export async function cardNotes(directory: string): Promise<{ lines: readonly string[]; edited?: string }> {
  const text = await readFile(join(directory, CARD_FILE), "utf8").catch(() => undefined); // absent: nothing to say
  if (text === undefined) return { lines: [] };
  return isOurs(text)
    ? { lines: text.split("\n").filter((line) => /^- (?:Data|Training steps): (?!not recorded)/.test(line)) }
    : { lines: [], edited: text };
}

/** Records in a card that Skein wrote, if there is one, that `what` was made from texts that the expert wrote itself. */
export async function noteSamples(directory: string, what: "Gates" | "Statistics", count: number, prompts: string): Promise<void> {
  const path = join(directory, CARD_FILE);
  const text = await readFile(path, "utf8").catch(() => ""); // absent: nothing to say
  if (!isOurs(text)) return;
  const line = `- ${what} from: ${count} texts that the expert wrote itself (prompts: ${prompts})`;
  const body = text.replace(MARK, "");
  const old = new RegExp(`^- ${what} from: .*$`, "m");
  const gates = /^- Gates: .*$/m;
  await writeMarked(path, old.test(body) ? body.replace(old, () => line) : body.replace(gates, (own) => `${own}\n${line}`));
}

/** The examples in a card's header: the texts of the Hub's `widget`, with which its page tries a model. */
export async function cardPrompts(directory: string): Promise<string[]> {
  const text = await readFile(join(directory, CARD_FILE), "utf8").catch(() => ""); // absent: no examples
  const [, header = ""] = /^---\r?\n([\s\S]*?)\r?\n---/.exec(text) ?? [];
  const parsed = WIDGETS.safeParse(headerOf(header));
  if (!parsed.success) return [];
  return [parsed.data.widget].flat().flatMap((one) => (one?.text ? [one.text] : []));
}

/** The data that an expert's card names; empty without a card or a name. */
export async function cardData(directory: string): Promise<string> {
  const text = await readFile(join(directory, CARD_FILE), "utf8").catch(() => ""); // absent: nothing is named
  return /^- Data: (.*)$/m.exec(text)?.[1] ?? "";
}

const WIDGETS = z.object({ widget: z.union([z.array(z.looseObject({ text: z.string().optional() })), z.undefined()]) });

function headerOf(header: string): unknown {
  try {
    return parse(header);
  } catch {
    return undefined; // not YAML: a card without examples
  }
}

async function writeMarked(path: string, text: string): Promise<void> {
  await writeFileAtomically(path, `${text}<!-- written by skein, sha256 ${sha256(text)}; an edited card is never overwritten -->\n`);
}

function gatesLine(gated: boolean): string {
  return `- Gates: ${gated ? "gate_model.safetensors, one vector per module (PHATGOOSE, arXiv:2402.05859)" : "none"}`;
}

function isOurs(text: string): boolean {
  const match = MARK.exec(text);
  return match !== null && match[1] === sha256(text.slice(0, match.index));
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function cardText({ name, base, data, steps, metrics = {}, license, gated = false, kind = "lora" }: ModelCard): string {
  const tags = [kind, ...(kind === "bottleneck" ? [] : ["peft"]), "skein"]; // PEFT has no bottleneck adapters
  const header = { base_model: base, library_name: kind === "bottleneck" ? "skein" : "peft", ...(license && { license }), tags };
  const rows = Object.entries(metrics).map(([metric, value]) => `| ${metric} | ${value} |`);
  const facts = [
    `- Base model: ${base}`,
    `- Data: ${data ?? "not recorded"}`,
    `- Training steps: ${steps ?? "not recorded"}`,
    `- License: ${license ?? "not stated"}`,
    gatesLine(gated),
  ];
  const table = rows.length > 0 ? ["", "| metric | value |", "| --- | --- |", ...rows] : [];
  return `---\n${stringify(header)}---\n\n# ${name}\n\n${[...facts, ...table].join("\n")}\n\n`;
}
