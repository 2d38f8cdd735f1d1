package cache

import (
	"bytes"
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// A courier brings what happened to the user's code: a bounded queue, and the one
// goroutine that calls. Who adds to it may hold a shard's lock and never waits for
// the user: what there is no room for is dropped and counted.
type courier[T any] struct {
	deliver  func(T)         // on the courier's goroutine, without a lock
	drop     func(T)         // lets go of what an item holds; may be nil
	panicked func(value any) // deliver did
	limit    int             // items
	weight   int             // bytes of all items

	dropped atomic.Uint64 // items, and those whose delivery panicked
	added   atomic.Bool   // since the goroutine was last woken
	name    atomic.Value  // []byte, of the goroutine
	wake    chan struct{}
	done    chan struct{} // closed when the goroutine has ended

	mu     sync.Mutex
	queue  []parcel[T] // from head on
	head   int
	size   int // items, with those that are being copied
	bytes  int
	closed bool
}

type parcel[T any] struct {
	item  T
	bytes int
}

func newCourier[T any](limit, weight int, deliver, drop func(T), panicked func(any)) *courier[T] {
	return &courier[T]{deliver: deliver, drop: drop, panicked: panicked, limit: limit, weight: weight,
		wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// reserve takes room for an item, before it is copied; false if there is none, and
// the item is counted as dropped.
func (q *courier[T]) reserve(bytes int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.size >= q.limit || bytes > q.weight-q.bytes {
		q.dropped.Add(1)
		return false
	}
	q.size++
	q.bytes += bytes
	return true
}

// add queues an item in the room that reserve took. Items of who holds the same
// lock stay in their order.
func (q *courier[T]) add(item T, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		q.dropLocked(parcel[T]{item, bytes})
		return
	}
	if q.head > len(q.queue)/2 {
		n := copy(q.queue, q.queue[q.head:])
		clear(q.queue[n:])
		q.queue, q.head = q.queue[:n], 0
	}
	q.queue = append(q.queue, parcel[T]{item, bytes})
	q.added.Store(true)
}

// cancel gives back what reserve took: the item is dropped.
func (q *courier[T]) cancel(bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.size--
	q.bytes -= bytes
	q.dropped.Add(1)
}

// rouse wakes the goroutine if something was added. It is for who holds no lock:
// waking may be a system call. // I7
func (q *courier[T]) rouse() {
	if q.added.Load() && q.added.Swap(false) {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
}

// send is reserve, add and rouse, for who holds no shard's lock.
func (q *courier[T]) send(item T) {
	if q.reserve(0) {
		q.add(item, 0)
		q.rouse()
	}
}

// run delivers until close, then what is left.
func (q *courier[T]) run() {
	q.name.Store(goroutineName())
	for {
		for item, ok := q.take(); ok; item, ok = q.take() {
			q.call(item)
		}
		if q.isClosed() {
			close(q.done)
			return
		}
		<-q.wake
	}
}

func (q *courier[T]) take() (item T, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.head == len(q.queue) {
		return item, false
	}
	p := q.queue[q.head]
	q.queue[q.head] = parcel[T]{}
	q.head++
	q.size--
	q.bytes -= p.bytes
	return p.item, true
}

// call delivers one item. User code that panics, or ends its goroutine, does not
// end the courier.
func (q *courier[T]) call(item T) {
	returned := false
	defer func() {
		if returned {
			return
		}
		q.dropped.Add(1)
		if v := recover(); v != nil {
			q.panicked(v)
			return
		}
		go q.run() // runtime.Goexit: this goroutine is ending
	}()
	q.deliver(item)
	returned = true
}

// discard drops what is queued.
func (q *courier[T]) discard() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range q.queue[q.head:] {
		q.dropLocked(p)
	}
	q.queue, q.head = nil, 0
}

func (q *courier[T]) dropLocked(p parcel[T]) {
	q.size--
	q.bytes -= p.bytes
	q.dropped.Add(1)
	if q.drop != nil {
		q.drop(p.item)
	}
}

func (q *courier[T]) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// close takes no more, and waits until all that is queued was delivered; not
// beyond ctx, and not if the user's code is the caller, which would wait for
// itself. What is left then is delivered later, unless the caller discards it.
func (q *courier[T]) close(ctx context.Context) (left bool, err error) {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.added.Store(true)
	q.rouse()
	if q.inside() {
		return true, nil
	}
	select {
	case <-q.done:
		return false, nil
	case <-ctx.Done():
	}
	select {
	case <-q.done:
		return false, nil
	default:
		return true, ctx.Err()
	}
}

// inside reports whether the caller runs on the courier's goroutine.
func (q *courier[T]) inside() bool {
	name, _ := q.name.Load().([]byte)
	return len(name) > 0 && bytes.Equal(name, goroutineName())
}

// goroutineName is how a stack trace names the calling goroutine, "goroutine 7",
// which is unique while it runs.
func goroutineName() []byte {
	var b [64]byte
	name, _, _ := bytes.Cut(b[:runtime.Stack(b[:], false)], []byte(" ["))
	return bytes.Clone(name)
}
