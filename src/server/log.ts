/** @file The server's log: JSON lines on stderr. */

import { destination, pino } from "pino";
import type { Log } from "./http/service.ts";

export function stderrLog(): Log {
  return pino({ name: "skein" }, destination(2));
}
