//go:build !amd64 && !arm64

package cache

import "sync/atomic"

var fenceWord atomic.Uint32

// loadFence keeps the loads before it before the loads after it. A sequentially
// consistent read-modify-write is a full barrier wherever Go runs.
func loadFence() { fenceWord.Add(0) }
