import { tmpdir } from "node:os";
import { join } from "node:path";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "tests/**/*.test.ts"],
    pool: "forks", // native sessions belong to a process of their own
    maxWorkers: "100%", // by default one core stays idle
    // Test files already run side by side. What tests keep does not go to the user's own cache.
    env: { SKEIN_THREADS: "1", SKEIN_CACHE: join(tmpdir(), "skein-tests-cache") },
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
