//go:build amd64 || arm64

package cache

import "unsafe"

// fetchLines asks the processor for n cache lines from p on and does not wait for
// them. It is a hint: any address will do, and nothing depends on it.
//
//go:noescape
func fetchLines(p unsafe.Pointer, n int)

// fetchToWrite is fetchLines for lines that will be written.
//
//go:noescape
func fetchToWrite(p unsafe.Pointer, n int)
