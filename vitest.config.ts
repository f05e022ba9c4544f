import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "tests/**/*.test.ts"],
    pool: "forks", // native sessions belong to a process of their own
    env: { SKEIN_THREADS: "1" }, // test files already run side by side
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
