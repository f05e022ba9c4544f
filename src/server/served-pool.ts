/** @file A pool folder while it is served: read again when its lockfile changes, and opened under methods as requests ask.
 *
 *  Every state is a snapshot. Whoever computes with an older one goes on with it. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Expert } from "../adapters/expert.ts";
import { POOL_FILE, type PoolEntry } from "../adapters/pool-file.ts";
import { PoolError } from "../base/errors.ts";
import { resolveModel } from "../hub/resolve-model.ts";
import type { Model } from "../inference/model.ts";
import { RoutedPool } from "../inference/routed-pool.ts";
import type { Woven } from "../inference/woven.ts";
import { openPool } from "../storage/pool.ts";
import { openedMethod, standardMethod, updated } from "./pool-methods.ts";

const MOST_METHODS = 8; // each holds its own copy of the experts
const WITHOUT_TRAINING = "arrow"; // for adapters that come without gates

export interface ServedPoolOptions {
  /** Methods to try before Arrow, if the pool's own cannot score an expert. */
  readonly methods?: readonly string[];
  readonly onWarning?: (warning: string) => void;
}

export interface PoolMember {
  readonly expert: Expert;
  readonly root: string;
  readonly created: number;
  /** Of its files; absent for an expert that joined at run time. */
  readonly sha256?: string;
}

export class ServedPool {
  readonly directory: string;
  readonly #model: Model;
  readonly #others: readonly string[];
  readonly #warn: (warning: string) => void;
  #file = "";
  #members: readonly PoolMember[] = [];
  #standard = "phatgoose";
  /** Method -> what the experts become; the least recently used first. */
  #opened = new Map<string, Promise<Woven>>();
  /** The latest method that was asked for and that rows of the base and of single experts can ride in. */
  #carrier: { readonly text: string; readonly pool: RoutedPool } | undefined;

  private constructor(model: Model, directory: string, { methods = [], onWarning = () => {} }: ServedPoolOptions) {
    this.#model = model;
    this.directory = directory;
    this.#others = [...methods, WITHOUT_TRAINING];
    this.#warn = onWarning;
  }

  static async open(model: Model, directory: string, options: ServedPoolOptions = {}): Promise<ServedPool> {
    const pool = new ServedPool(model, directory, options);
    await pool.refresh();
    return pool;
  }

  get members(): readonly PoolMember[] {
    return this.#members;
  }
  /** The routed pool whose runs rows of the base and of single experts share; undefined until one is open. */
  get carrier(): RoutedPool | undefined {
    return this.#carrier?.pool;
  }
  /** The method it runs under when none is named. */
  get standard(): string {
    return this.#standard;
  }

  /** Reads the folder again. Returns whether anything changed; an error leaves everything as it was. */
  async refresh(): Promise<boolean> {
    const { base } = this.#model;
    const file = await readFile(join(this.directory, POOL_FILE), "utf8").catch(() => undefined); // opening says what is wrong
    if (file !== undefined && file === this.#file) return false;
    const resolveHub = (id: string, revision: string) => resolveModel(`${id}@${revision}`);
    const pool = await openPool(this.directory, base.modules, { fingerprint: await base.fingerprint(), resolveHub });
    const known = new Map(this.#members.map((member) => [member.expert.name, member]));
    const members: PoolMember[] = [];
    for (const entry of pool.experts) {
      const { name, sha256 } = entry;
      const old = known.get(name);
      if (old && old.sha256 === sha256) members.push(old);
      else members.push({ expert: await pool.load(name), root: this.#rootOf(entry), created: now(), sha256 });
    }
    const joined = this.#members.filter(
      ({ sha256, expert }) => sha256 === undefined && !pool.experts.some(({ name }) => name === expert.name),
    );
    const standard = await standardMethod(this.directory);
    this.#replace([...members, ...joined]);
    this.#standard = await this.#answering(standard);
    this.#file = file ?? "";
    return true;
  }

  /** The pool's own method; or another that the experts have all that it needs for, if its own cannot score one of them. */
  async #answering(standard: string): Promise<string> {
    const reason = await this.#lacking(standard);
    if (reason === undefined) return standard;
    for (const other of this.#others) {
      if (other === standard || (await this.#lacking(other)) !== undefined) continue;
      if (other !== this.#standard) this.#warn(`The pool answers under ${other}, not ${standard}. ${reason}`);
      return other;
    }
    return standard; // requests are told why it cannot answer
  }
  async #lacking(text: string): Promise<string | undefined> {
    if (this.#members.length === 0) return undefined;
    try {
      await this.opened(text);
    } catch (error) {
      if (error instanceof PoolError && error.code === "pool-expert-unscored") return error.what;
    }
    return undefined; // of other errors requests are told
  }

  #rootOf({ path, hub, revision }: PoolEntry): string {
    return path === undefined ? `${hub}@${revision}` : join(this.directory, path);
  }

  /** Takes an expert in until the server stops. */
  async join(member: PoolMember): Promise<void> {
    const members = [...this.#members, member];
    const standard = await this.opened(this.#standard);
    updated(
      standard,
      members.map(({ expert }) => expert),
    ); // refuses an expert that does not fit
    this.#replace(members);
  }
  /** Takes out an expert that joined. */
  leave(name: string): void {
    this.#replace(this.#members.filter(({ expert, sha256 }) => expert.name !== name || sha256 !== undefined));
  }

  #replace(members: readonly PoolMember[]): void {
    const before = new Map(this.#members.map(({ expert }) => [expert.name, expert]));
    const experts = members.map(({ expert }) => expert);
    const isChanged = experts.some((expert) => before.has(expert.name) && before.get(expert.name) !== expert);
    const opened = isChanged || experts.length === 0 ? [] : [...this.#opened];
    this.#members = members;
    const carrying = this.#carrier?.text;
    this.#carrier = undefined;
    this.#opened = new Map(
      opened.map(([text, woven]) => {
        const next = woven.then((old) => updated(old, experts) ?? this.#open(text));
        next.catch(() => this.#forget(text, next)); // the next request says why
        if (text === carrying) this.#carryOn(text, next);
        return [text, next];
      }),
    );
  }

  /** What the experts become under a method. */
  opened(text: string): Promise<Woven> {
    const known = this.#opened.get(text);
    const woven = known ?? this.#open(text);
    if (!known) woven.catch(() => this.#forget(text, woven));
    this.#carryOn(text, woven);
    this.#opened.delete(text);
    this.#opened.set(text, woven);
    if (this.#opened.size > MOST_METHODS) this.#opened.delete([...this.#opened.keys()].find((key) => key !== this.#standard)!);
    return woven;
  }

  async #open(text: string): Promise<Woven> {
    const experts = this.#members.map(({ expert }) => expert);
    return openedMethod(this.#model, experts, this.directory, text);
  }
  #carryOn(text: string, woven: Promise<Woven>): void {
    void woven.then(
      (pool) => {
        if (this.#opened.get(text) === woven && pool instanceof RoutedPool && pool.takesRiders) this.#carrier = { text, pool };
      },
      () => {},
    );
  }
  #forget(text: string, woven: Promise<Woven>): void {
    if (this.#opened.get(text) === woven) this.#opened.delete(text);
  }
}

export function now(): number {
  return Math.floor(Date.now() / 1000);
}
