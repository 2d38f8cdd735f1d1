package main

import (
	"runtime"
	"sync/atomic"
	"time"
)

// napTime is how long a pace sleeps when it is ahead.
const napTime = 40 * time.Microsecond

// A pace stores keys at a steady rate beside a load: whatever happens, the Sets
// that are due come, in bursts of what was missed. It has a thread of its own,
// and whoever runs it raises GOMAXPROCS by one, so that it waits for no goroutine.
type pace struct {
	p    peer
	d    draws
	size int
	rate float64 // a second

	stop atomic.Bool
	done chan struct{}

	sets int
	took time.Duration // of all Sets
	ran  time.Duration
	late histogram // of each burst: how long its first Set was due
}

// start begins to store.
func (b *pace) start() {
	b.done = make(chan struct{})
	go func() {
		defer close(b.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		sharpTimers()
		b.run()
	}()
}

func (b *pace) run() {
	value := make([]byte, b.size)
	began := time.Now()
	for at := b.d.len() / 2; !b.stop.Load(); {
		now := time.Since(began)
		due := int(now.Seconds() * b.rate)
		if due <= b.sets {
			nap(napTime)
			continue
		}
		b.late.add(now - time.Duration(float64(b.sets)/b.rate*1e9))
		for ; b.sets < due; b.sets++ {
			at++
			key := b.d.key(at)
			putValue(value, key)
			b.p.set(key, value)
		}
		b.took += time.Since(began) - now
		b.ran = time.Since(began)
	}
}

// end stops and waits.
func (b *pace) end() {
	b.stop.Store(true)
	<-b.done
}
