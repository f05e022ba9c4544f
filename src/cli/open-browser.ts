/** @file Opens an address in the person's browser, where there is one. It never fails: the address is printed anyway. */

import { spawn } from "node:child_process";

export interface Machine {
  readonly platform: NodeJS.Platform;
  readonly env: NodeJS.ProcessEnv;
}

/** The command that opens an address; undefined on a machine without a screen. */
export function browserCommand(url: string, { platform, env }: Machine): readonly [string, ...string[]] | undefined {
  if (platform === "darwin") return ["open", url];
  if (platform === "win32") return ["cmd", "/c", "start", "", url]; // the empty text is the window's title
  return env.DISPLAY || env.WAYLAND_DISPLAY ? ["xdg-open", url] : undefined;
}

/** Begins to open the address, and does not wait for it. */
export function openBrowser(url: string, machine: Machine = process): void {
  const command = browserCommand(url, machine);
  if (!command) return;
  const [program, ...rest] = command;
  const child = spawn(program, rest, { env: machine.env, stdio: "ignore", detached: true });
  child.on("error", () => {}); // there is no such program
  child.unref();
}
