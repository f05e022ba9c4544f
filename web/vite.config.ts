/** @file Builds the playground into dist/web: one page, one script, one style sheet under fixed names, which src/server/http/playground.ts serves.
 *
 *  `npx vite --config web/vite.config.ts` serves it while it is edited; requests go on to a `skein serve`, SKEIN_SERVER or port 8080. */

import { fileURLToPath } from "node:url";
import type { UserConfig } from "vite";
import { LOOK } from "../src/evaluation/report/look.ts";

const server = process.env.SKEIN_SERVER ?? "http://127.0.0.1:8080";
const VIRTUAL = "virtual:look.css";

export default {
  root: fileURLToPath(new URL(".", import.meta.url)),
  base: "/",
  build: {
    outDir: fileURLToPath(new URL("../dist/web", import.meta.url)),
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    cssCodeSplit: false,
    rollupOptions: { output: { entryFileNames: "playground/app.js", assetFileNames: "playground/app.[ext]", codeSplitting: false } },
  },
  plugins: [
    {
      name: "look of all pages",
      resolveId: (id) => (id === VIRTUAL ? `\0${VIRTUAL}` : undefined),
      load: (id) => (id === `\0${VIRTUAL}` ? LOOK : undefined),
    },
  ],
  server: { proxy: { "/skein": server, "/v1": server, "/docs": server } },
} satisfies UserConfig;
