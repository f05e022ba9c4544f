/** @file The engine's process for tests, which run from TypeScript: Node 20 does not, so its file is bundled. */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { rolldown } from "rolldown";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** The process's file, inside node_modules so that it finds its packages. */
export async function bundledProcess(): Promise<URL> {
  const directory = join(ROOT, "node_modules", ".skein-tests");
  await mkdir(directory, { recursive: true });
  const bundle = await rolldown({
    input: join(ROOT, "src/server/engine-process.ts"),
    cwd: ROOT,
    platform: "node",
    transform: { target: "node20" }, // which knows no `using`
    // The bundler brings the helpers for what Node 20 does not know.
    external: (id) => !/^[./\0]/.test(id) && !id.startsWith("@oxc-project/"),
    onLog: () => {},
  });
  const file = `engine-process-${process.pid}.mjs`;
  await bundle.write({ dir: directory, format: "esm", entryFileNames: file, codeSplitting: false });
  await bundle.close();
  return pathToFileURL(join(directory, file));
}
