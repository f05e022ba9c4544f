/** @file `skein methods`: lists the routing methods with their options and requirements, from their registry. */

import type { Command } from "commander";
import { subcommand } from "../command.ts";
import { type CommonFlags, type Io, show } from "../io.ts";

export function addMethods(program: Command, io: Io, summary: string): void {
  subcommand(program, "methods", {
    summary,
    example: "skein methods\nskein methods --json",
  }).action(async (flags: CommonFlags) => {
    const { describedMethods } = await import("../../methods/describe.ts");
    const methods = describedMethods();
    const text = methods.map(({ name, otherNames, description, needs, options }) => {
      const names = [name, ...otherNames].join(", ");
      const lines = options.map(({ name, type, default: value, description }) => {
        const usual = value === undefined ? "" : ` = ${JSON.stringify(value)}`;
        return `    ${name}: ${type}${usual}\n        ${description}`;
      });
      return [names, `  ${description}`, `  needs: ${needs}`, ...lines].join("\n");
    });
    show(io, flags, methods, text.join("\n\n"));
  });
}
