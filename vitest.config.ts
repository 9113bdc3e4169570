import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    passWithNoTests: true,
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            'src/**/*.test.ts',
            'worker/**/*.test.ts',
            'web/**/*.test.ts',
            'relay/**/*.test.ts',
            'cli/**/*.test.ts',
          ],
        },
      },
      { test: { name: 'guest', include: ['test/guest/**/*.test.ts'], fileParallelism: false, testTimeout: 180_000 } },
    ],
  },
})
