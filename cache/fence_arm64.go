package cache

// loadFence keeps the loads before it before the loads after it: an atomic load
// on arm64 holds back what follows it, not what precedes it. DMB ISHLD.
//
//go:noescape
func loadFence()
