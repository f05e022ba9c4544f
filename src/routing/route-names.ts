/** @file The names of a module's route among a graph's outputs, and in the file that a forward pass with routes writes:
 *
 *      routes.<module>.experts   int64 [batch, sequence, k]
 *      routes.<module>.weights   float32 [batch, sequence, k] */

const PREFIX = "routes.";
const EXPERTS = ".experts";
const WEIGHTS = ".weights";

/** The names of a module's route. */
export const routeNames = (module: string) => ({ experts: `${PREFIX}${module}${EXPERTS}`, weights: `${PREFIX}${module}${WEIGHTS}` });

/** The modules that have a route among these names, in the same order. */
export function routedModules(names: Iterable<string>): string[] {
  const ofExperts = [...names].filter((name) => name.startsWith(PREFIX) && name.endsWith(EXPERTS));
  return ofExperts.map((name) => name.slice(PREFIX.length, -EXPERTS.length));
}
