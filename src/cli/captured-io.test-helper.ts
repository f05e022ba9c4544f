/** @file Runs command lines in this process and keeps what they print. */

import type { Io } from "./io.ts";
import { main } from "./main.ts";

export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs `skein` with these arguments. */
export async function skein(...argv: string[]): Promise<Outcome> {
  let [out, err] = ["", ""];
  const io: Io = {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    terminal: false,
    columns: 80,
    colors: false,
  };
  const code = await main(argv, io);
  return { code, out, err };
}
