import { defineConfig, type ViteUserConfig } from "vitest/config";

const config: ViteUserConfig = defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/global-setup.ts"],
    testTimeout: 30_000,
    hookTimeout: 120_000,
    // What a test waits for comes at once on an idle machine, and may not on one that does something else as well.
    expect: { poll: { timeout: 10_000 } },
    // Two cores: more workers than that only make real peers slower.
    maxWorkers: 2,
  },
});

export default config;
