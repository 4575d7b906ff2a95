//go:build race

package sim_test

// defaultSeeds are few with the race detector, which is ten times as slow.
const defaultSeeds = 40
