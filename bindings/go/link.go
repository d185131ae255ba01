//go:build !zeroboot_pkgconfig

package zeroboot

// The library of the source tree that this package is in. CGO_CFLAGS and CGO_LDFLAGS come first, so
// they can name another; the build tag zeroboot_pkgconfig asks pkg-config instead.

// #cgo CFLAGS: -I${SRCDIR}/../../include
// #cgo LDFLAGS: -L${SRCDIR}/../../target/release -lzeroboot
import "C"
