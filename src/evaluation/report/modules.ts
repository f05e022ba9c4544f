/** @file Groups modules by layer, with short names. */

/** "decoder.block.3.layer.1.EncDecAttention.q" -> "decoder 3"; modules outside the layers keep their own name. */
export function layerOf(module: string): string {
  const found = /^(?:(encoder|decoder)\.|.*?)?(?:block|layers|layer|h|blocks)\.(\d+)\./.exec(module);
  if (!found) return module;
  return found[1] ? `${found[1]} ${found[2]}` : `layer ${found[2]}`;
}

/** "decoder.block.3.layer.1.EncDecAttention.q" -> "EncDecAttention.q". */
export function shortName(module: string): string {
  return module.replace(/^.*?(?:block|layers|layer|h|blocks)\.\d+\./, "").replace(/^layer\.\d+\./, "");
}

/** Consecutive modules of one layer. */
export function byLayer(modules: readonly string[]): { readonly layer: string; readonly modules: readonly string[] }[] {
  const groups: { layer: string; modules: string[] }[] = [];
  for (const module of modules) {
    const layer = layerOf(module);
    const last = groups.at(-1);
    if (last?.layer === layer) last.modules.push(module);
    else groups.push({ layer, modules: [module] });
  }
  return groups;
}
