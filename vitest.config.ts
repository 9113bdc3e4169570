import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    passWithNoTests: true,
    projects: [
      {
        test: {
          name: 'unit',
          // Hangs are found, and a busy machine is borne.
          testTimeout: 60_000,
          include: [
            'src/**/*.test.ts',
            'worker/**/*.test.ts',
            'web/**/*.test.ts',
            'relay/**/*.test.ts',
            'cli/**/*.test.ts',
          ],
        },
      },
      // They make servers, network namespaces and load: one after the other.
      { test: { name: 'relay', include: ['test/relay/**/*.test.ts'], fileParallelism: false, testTimeout: 180_000 } },
      { test: { name: 'guest', include: ['test/guest/**/*.test.ts'], fileParallelism: false, testTimeout: 600_000 } },
    ],
  },
})
