//go:build !race

package zeroboot_test

const raceDetector = false
