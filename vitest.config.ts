import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "tests/**/*.test.ts"],
    pool: "forks", // native sessions belong to a process of their own
    testTimeout: 60_000,
  },
});
