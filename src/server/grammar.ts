/** @file Answers of a given form: JSON, or JSON of a schema. Before each token XGrammar (arXiv:2411.15100) says which tokens the form allows.
 *
 *  Its WebAssembly ends with an abort on a schema that it does not know; a new instance takes its place then. */

import { readFileSync } from "node:fs";
import Module, { createRequire } from "node:module";
import { dirname } from "node:path";
import type * as Xgrammar from "@mlc-ai/web-xgrammar";
import { invariant } from "../base/errors.ts";
import type { Constraint } from "../generation/sampler.ts";
import type { TextForm } from "./backend.ts";
import { badField } from "./problem.ts";
import type { Vocabulary } from "./vocabulary.ts";

type Library = typeof Xgrammar;

const MOST_COMPILED = 32;
const MOST_SCHEMA = 65_536; // characters
const MOST_REPEATS = 2048; // a larger minimum or maximum makes a grammar of its size
const MOST_SPACES = 4; // between parts of a JSON text; a model could go on with spaces forever

interface Loaded {
  readonly library: Library;
  readonly compiler: Xgrammar.GrammarCompiler;
}

/** What a sequence's tokens must be; dispose it when the sequence ends. */
export class FormConstraint implements Constraint {
  readonly #matcher: Xgrammar.GrammarMatcher;
  #mask: Int32Array | undefined;
  #isOver = false;

  private constructor(matcher: Xgrammar.GrammarMatcher, mask: Int32Array) {
    this.#matcher = matcher;
    this.#mask = mask;
  }
  static async of(matcher: Xgrammar.GrammarMatcher): Promise<FormConstraint> {
    return new FormConstraint(matcher, await matcher.getNextTokenBitmask());
  }

  /** Whether the text is whole. */
  get isDone(): boolean {
    return this.#isOver;
  }

  restrict(logits: Float32Array): void {
    if (this.#isOver) return;
    const mask = this.#mask;
    invariant(mask, "a step takes longer than the mask behind it");
    let allowed = 0;
    for (let id = 0; id < logits.length; id++) {
      if ((mask[id >> 5]! >>> (id & 31)) & 1) allowed++;
      else logits[id] = Number.NEGATIVE_INFINITY;
    }
    if (allowed === 0) throw badField("response_format", "The model's vocabulary has no token that goes on in this form.");
  }

  take(id: number): void {
    if (this.#isOver) return;
    this.#mask = undefined;
    this.#isOver = !this.#matcher.acceptToken(id) || this.#matcher.isTerminated();
    if (this.#isOver) return;
    // It settles before the next run of the model does.
    this.#matcher.getNextTokenBitmask().then(
      (mask) => {
        this.#mask = mask;
      },
      () => {}, // disposed of meanwhile
    );
  }

  dispose(): void {
    this.#isOver = true;
    this.#matcher.dispose();
  }
}

export class Grammars {
  readonly #vocabulary: Vocabulary;
  readonly #size: number;
  readonly #stops: readonly number[];
  #loaded: Promise<Loaded> | undefined;
  /** The least recently used first. */
  #compiled = new Map<string, Promise<Xgrammar.CompiledGrammar>>();

  /** `size`: of the model's logits. `stops`: the tokens that end a text. */
  constructor(vocabulary: Vocabulary, size: number, stops: readonly number[]) {
    this.#vocabulary = vocabulary;
    this.#size = size;
    this.#stops = stops;
  }

  /** One constraint for each of so many sequences. */
  async constraints(form: TextForm, ends: ReadonlySet<number>, count: number): Promise<FormConstraint[]> {
    const schema = form.kind === "json" ? { type: "object" } : form.schema;
    const text = JSON.stringify(schema);
    if (text.length > MOST_SCHEMA) throw badField("response_format", `The schema is longer than ${MOST_SCHEMA} characters.`);
    const large = largeCount(schema);
    if (large !== undefined) throw badField("response_format", `${large} may be ${MOST_REPEATS} at most.`, "unsupported_value");
    const { library } = await this.#library();
    const grammar = await this.#compile(text, form.kind === "json-schema");
    const made: FormConstraint[] = [];
    for (let i = 0; i < count; i++) {
      // Without a token that ends it, a text ends where it is whole.
      made.push(await FormConstraint.of(await library.GrammarMatcher.createGrammarMatcher(grammar, [...ends], ends.size === 0)));
    }
    return made;
  }

  #library(): Promise<Loaded> {
    this.#loaded ??= this.#load();
    return this.#loaded;
  }

  async #load(): Promise<Loaded> {
    const library = loadLibrary();
    const { tokens, special, kind, prependsSpace } = this.#vocabulary;
    const spelled = Array.from({ length: this.#size }, (_, id) => {
      const token = tokens[id];
      if (token === undefined || special.has(id)) return ""; // no part of any text
      return kind === "raw" ? token.replaceAll("▁", " ") : token;
    });
    const info = await library.TokenizerInfo.createTokenizerInfo(spelled, kind, prependsSpace, this.#size, [...this.#stops]);
    return { library, compiler: await library.GrammarCompiler.createGrammarCompiler(info, false) };
  }

  async #compile(schema: string, isStrict: boolean): Promise<Xgrammar.CompiledGrammar> {
    const key = `${isStrict} ${schema}`;
    const known = this.#compiled.get(key);
    const compiling = known ?? this.#compileNew(schema, isStrict);
    this.#compiled.delete(key);
    this.#compiled.set(key, compiling);
    if (this.#compiled.size > MOST_COMPILED) {
      const [oldest, grammar] = [...this.#compiled][0]!;
      this.#compiled.delete(oldest);
      void grammar.then((one) => one.dispose()).catch(() => {});
    }
    return compiling;
  }

  async #compileNew(schema: string, isStrict: boolean): Promise<Xgrammar.CompiledGrammar> {
    const { compiler } = await this.#library();
    try {
      return await compiler.compileJSONSchema(schema, true, undefined, undefined, isStrict, MOST_SPACES);
    } catch {
      this.#loaded = undefined; // an instance that aborted is of no more use
      this.#compiled = new Map();
      throw badField("response_format", "The schema is none, or has parts that cannot be turned into a grammar.", "unsupported_value");
    }
  }
}

const COUNTS = new Set(["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"]);

function largeCount(schema: unknown): string | undefined {
  if (typeof schema !== "object" || schema === null) return undefined;
  for (const [key, value] of Object.entries(schema)) {
    if (COUNTS.has(key) && typeof value === "number" && value > MOST_REPEATS) return key;
    const inner = largeCount(value);
    if (inner !== undefined) return inner;
  }
  return undefined;
}

/** A new instance. The package says that its files are modules, and its file is none: it is read as CommonJS. */
function loadLibrary(): Library {
  const path = createRequire(import.meta.url).resolve("@mlc-ai/web-xgrammar");
  const loader = new Module(path) as Module & { _compile(code: string, path: string): void };
  loader.filename = path;
  loader.paths = [dirname(path)];
  loader._compile(readFileSync(path, "utf8"), path);
  return loader.exports as Library;
}
