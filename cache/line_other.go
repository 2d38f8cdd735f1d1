//go:build !amd64 && !arm64

package cache

import "unsafe"

// Where the processor cannot be asked ahead, it fetches a line when it is read.

func fetchLines(unsafe.Pointer, int) {}

func fetchToWrite(unsafe.Pointer, int) {}
