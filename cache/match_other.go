//go:build !amd64

package cache

import "unsafe"

func matchPair(p, q unsafe.Pointer, tag uint64) (slots uint32) { return matchEach(p, q, tag) }
