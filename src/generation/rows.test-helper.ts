/** @file Rows of a decoder that read their tokens together, for tests that compare each step with a forward pass. */

import { float32, type HostTensor, padded } from "../base/tensor.ts";
import type { Model } from "../inference/model.ts";
import { Decoder, type DecoderOptions } from "./decoder.ts";
import { feedsOfRow } from "./feeds.ts";
import { joinedRoutes, type Routes } from "./routes.ts";
import type { Slot } from "./slot.ts";

export interface Step {
  /** float32 [rows, vocabulary]: the logits after each row's last token. */
  readonly logits: HostTensor<"float32">;
  /** For each row, the routes of the tokens that were just fed. */
  readonly routes?: readonly Routes[];
}

export class Rows {
  readonly decoder: Decoder;
  slots: Slot[] = [];

  private constructor(decoder: Decoder) {
    this.decoder = decoder;
  }

  /** Reads prompts side by side. */
  static async start(model: Model, prompts: readonly (readonly number[])[], options: DecoderOptions = {}): Promise<Step & { rows: Rows }> {
    const rows = new Rows(await Decoder.open(model, options));
    rows.decoder.close(); // then a test that disposes the model does not wait
    const { ids, mask } = padded(prompts);
    const feeds = (await model.woven.chooseRows?.({ inputIds: ids, attentionMask: mask })) ?? {};
    rows.slots = prompts.map((prompt, row) => rows.decoder.admit(prompt, { rowFeeds: feedsOfRow(feeds, row) }));
    return { rows, ...(await rows.#step(rows.slots.map(() => 0))) };
  }

  /** Feeds each row's next tokens. */
  async append(tokens: readonly (readonly number[])[]): Promise<Step> {
    const before = this.slots.map(({ routed }) => routed.length);
    tokens.forEach((row, i) => {
      if (row.length > 0) this.decoder.push(this.slots[i]!, ...row);
    });
    return this.#step(before);
  }

  /** Replaces row i by a copy of row rows[i]. */
  select(rows: readonly number[]): void {
    const chosen = rows.map((row, i) => (rows.indexOf(row) < i ? this.decoder.fork(this.slots[row]!) : this.slots[row]!));
    for (const slot of this.slots) if (!chosen.includes(slot)) this.decoder.release(slot);
    this.slots = chosen;
  }

  async #step(before: readonly number[]): Promise<Step> {
    while (this.slots.some(({ pending }) => pending.length > 0)) await this.decoder.step();
    const whole = this.slots.map((slot) => slot.logits as Float32Array); // these slots ask for no candidates
    const vocabulary = whole[0]!.length;
    const logits = float32([this.slots.length, vocabulary]);
    whole.forEach((own, row) => {
      logits.data.set(own, row * vocabulary);
    });
    const routes = this.slots.map(({ routed }, i) => joinedRoutes(routed.slice(before[i]).map(({ routes }) => routes)));
    return { logits, ...(this.slots[0]!.routed.length > 0 && { routes }) };
  }
}
