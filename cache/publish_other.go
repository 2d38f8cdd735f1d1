//go:build !amd64

package cache

import "sync/atomic"

// publish stores v so that who loads it sees all that was stored before it.
func publish(p *uint64, v uint64) { atomic.StoreUint64(p, v) }
