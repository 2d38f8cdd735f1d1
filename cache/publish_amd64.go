package cache

import "sync/atomic"

// publish stores v so that who loads it sees all that was stored before it: what a
// slot or a gauge asks for that is written under a lock. atomic.StoreUint64 is an
// XCHG here, which also waits until every earlier store has left the processor,
// those of the record just copied among them. amd64 keeps stores in their order
// without that, and an aligned store of 8 bytes is whole. What only XCHG gives, no
// later load before it, the lock gives when it is let go. A segment's number, whose
// writer loads the pins next, needs it: it stays an atomic store.
func publish(p *uint64, v uint64) {
	if racing {
		atomic.StoreUint64(p, v)
		return
	}
	storeInOrder(p, v)
}

//go:noescape
func storeInOrder(p *uint64, v uint64)
