//go:build !race

package sim_test

// defaultSeeds take well under two minutes on two cores.
const defaultSeeds = 1500
