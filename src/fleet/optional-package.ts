/** @file Packages that only farms on several machines need. They are loaded when they are used. */

import { messageOf, TrainingError } from "../base/errors.ts";
import { codeOf } from "../checkpoint/atomic.ts";

/** What `load` imports. A package that is not installed is an error that says what to install. */
export async function optionalPackage<T>(names: readonly string[], use: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    if (codeOf(cause) !== "ERR_MODULE_NOT_FOUND" && codeOf(cause) !== "MODULE_NOT_FOUND") throw cause;
    throw new TrainingError({
      code: "package-missing",
      data: { known: names },
      what: `${use} needs ${names.join(" and ")}, which cannot be found here: ${messageOf(cause).split("\n")[0]}`,
      fix: `npm install ${names.join(" ")}`,
      cause,
    });
  }
}
