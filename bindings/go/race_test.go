//go:build race

package zeroboot_test

const raceDetector = true
