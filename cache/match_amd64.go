package cache

import "unsafe"

// matchPair is matchEach, all slots at once, with SSE2.
//
//go:noescape
func matchPair(p, q unsafe.Pointer, tag uint64) (slots uint32)
