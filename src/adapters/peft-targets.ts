/** @file The modules that a PEFT configuration covers, with their ranks and scalings (reference: peft, tuners/tuners_utils.py,
 *  check_target_module_exists; utils/other.py, get_pattern_key).
 *
 *    target_modules  a string: re.fullmatch on the whole path; "all-linear": every projection but the output head;
 *                    a list: the path itself, or its end after a dot
 *    rank, alpha     rank_pattern and alpha_pattern are looked up separately; the first key with
 *                    re.match("(.*\.)?(key)$", path) is used
 *    scaling         alpha / rank, or alpha / sqrt(rank) for rank-stabilized LoRA (arXiv:2312.03732) */

import type { LoraConfig, PeftConfig } from "./peft-config.ts";
import { pythonFullmatch, pythonSource, pythonSuffixMatch } from "./python-regex.ts";

/** Output heads, which "all-linear" excludes. */
const OUTPUT_HEADS = new Set(["lm_head", "embed_out", "output_projection", "score", "classifier"]);

/** Whether target_modules is "all-linear", which also excludes embeddings. */
export function isAllLinear(targetModules: PeftConfig["targetModules"]): boolean {
  return typeof targetModules === "string" && targetModules.toLowerCase() === "all-linear";
}

/** Which number in a path is the layer's. Older PEFT takes the last ("encoder.block.3.layer.1." is 1), newer PEFT the first (3). */
export type LayerRule = "first" | "last";

/** A test whether the configuration puts an adapter on a module, given by its path in the adapter's own model. */
export function targetTest(config: PeftConfig, rule: LayerRule, where: string): (module: string) => boolean {
  const { targetModules, excludeModules } = config;
  if (targetModules === undefined) return () => true;
  const excluded = excludeModules === undefined ? () => false : namesTest(excludeModules, where);
  if (typeof targetModules === "string") {
    const found = isAllLinear(targetModules) ? isNotHead : namesTest(targetModules, where);
    return (module) => found(module) && !excluded(module);
  }
  const exact = new Set(targetModules);
  const found = namesTest(targetModules, where);
  const inLayer = config.kind === "lora" ? layerTest(config, rule, where) : () => true;
  return (module) => !excluded(module) && (exact.has(module) || (found(module) && inLayer(module)));
}

/** A test for PEFT's two ways to name modules: a pattern for the whole path, or a list of names (whole, or the end after a dot). */
export function namesTest(names: string | readonly string[], where: string): (module: string) => boolean {
  if (typeof names === "string") return pythonFullmatch(names, where);
  const listed = new Set(names);
  return (module) => {
    if (listed.has(module)) return true;
    for (let dot = module.indexOf("."); dot >= 0; dot = module.indexOf(".", dot + 1)) {
      if (listed.has(module.slice(dot + 1))) return true;
    }
    return false;
  };
}

/** The names of `targetModules` that match none of `modules`, for a warning. */
export function idleTargets(config: PeftConfig, modules: readonly string[]): string[] {
  if (config.targetModules === undefined || typeof config.targetModules === "string") return [];
  return config.targetModules.filter((name) => !modules.some((module) => module === name || module.endsWith(`.${name}`)));
}

function isNotHead(module: string): boolean {
  return !OUTPUT_HEADS.has(module.slice(module.lastIndexOf(".") + 1));
}

function layerTest(config: LoraConfig, rule: LayerRule, where: string): (module: string) => boolean {
  const { layersToTransform, layersPattern } = config;
  if (layersToTransform === undefined) return () => true;
  const any = rule === "first" ? ".*?" : ".*";
  const sources = layersPattern.length > 0 ? layersPattern.map((pattern) => pythonSource(pattern, where)) : ["[^.]*"];
  const regexes = sources.map((source) => new RegExp(`^${any}\\.(?:${source})\\.(\\d+)\\.`));
  return (module) => {
    const match = regexes.map((regex) => regex.exec(module)).find((found) => found !== null);
    return match != null && layersToTransform.includes(Number(match[match.length - 1]));
  };
}

/** Rank, alpha and scaling of each module under the configuration's patterns. */
export function loraScales(config: LoraConfig, where: string): (module: string) => { rank: number; alpha: number; scaling: number } {
  const rankOf = patternLookup(config.rankPattern, config.rank, where);
  const alphaOf = patternLookup(config.alphaPattern, config.alpha, where);
  return (module) => {
    const [rank, alpha] = [rankOf(module), alphaOf(module)];
    return { rank, alpha, scaling: config.rslora ? alpha / Math.sqrt(rank) : alpha / rank };
  };
}

function patternLookup(table: Readonly<Record<string, number>>, otherwise: number, where: string): (module: string) => number {
  const rules = Object.entries(table).map(([key, value]) => ({ test: pythonSuffixMatch("(?:.*\\.)?", key, where), value }));
  return (module) => rules.find(({ test }) => test(module))?.value ?? otherwise;
}
