//go:build zeroboot_pkgconfig

package zeroboot

// #cgo pkg-config: zeroboot
import "C"
