package crashfs

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Loss is what becomes of writes that a failed sync covered.
type Loss uint8

const (
	// LossOnCrash: the kernel marks the pages clean. Reads see the writes until
	// the power is cut; then any of them may be gone, whatever syncs came later.
	LossOnCrash Loss = iota
	// LossAtOnce: and drops the pages, so that reads see the old bytes. Sizes stay.
	LossAtOnce
	// LossNone: the pages stay dirty, and a later sync may save them.
	LossNone
)

// SetSyncLoss says what failing syncs do from now on.
func (s *FS) SetSyncLoss(l Loss) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loss = l
}

// FailWriteback is write-back that failed without anybody asking: what no sync has
// covered is seen until the power is cut, and may be gone then, whatever later syncs
// say. A process that was killed before it synced leaves that to the next one.
func (s *FS) FailWriteback() {
	s.mu.Lock()
	defer s.mu.Unlock()
	covers := len(s.log)
	for _, id := range slices.Sorted(maps.Keys(s.live.inodes)) {
		s.appendLocked(Op{Kind: OpSyncFailed, ino: id, covers: covers, loss: LossOnCrash})
	}
}

// SetNoMmap makes Map return pagefile.ErrNoMmap.
func (s *FS) SetNoMmap(refuse bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noMmap = refuse
}

// SetBudget makes a disk of that many bytes: what would take more fails with
// ENOSPC, a write after the pages that fit. Negative: no limit.
func (s *FS) SetBudget(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.budget = bytes
}

// Used is the space that files take, in bytes, a page being the least.
func (s *FS) Used() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.live.used()
}

// fitsLocked returns how many bytes of a write or an allocation have space.
func (s *FS) fitsLocked(in *inode, op Op) int64 {
	if s.budget < 0 {
		return op.Len
	}
	left := s.budget - s.live.used()
	if int64(in.holes(op.Off, op.Len))*pageSize <= left {
		return op.Len
	}
	for i := op.Off / pageSize; ; i++ {
		if in.page(i) != nil {
			continue
		}
		if left -= pageSize; left < 0 {
			return max(0, i*pageSize-op.Off)
		}
	}
}

// faults are the hooks, asked in the order in which they came.
type faults struct {
	mu    sync.Mutex
	hooks []*func(Op) error
}

// Inject has hook asked before every operation, on the goroutine of that
// operation and without a lock of the FS. An error makes the operation fail with
// it, without effect but for a failed sync's Loss and what *Short says; a hook
// that does not return hangs it. Hooks may call methods of the FS that do
// no I/O.
func (s *FS) Inject(hook func(Op) error) (remove func()) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.hooks = append(s.faults.hooks, &hook)
	return func() { s.faults.remove(&hook) }
}

func (f *faults) remove(hook *func(Op) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var left []*func(Op) error
	for _, h := range f.hooks {
		if h != hook {
			left = append(left, h)
		}
	}
	f.hooks = left
}

func (s *FS) check(op Op) error {
	s.faults.mu.Lock()
	hooks := s.faults.hooks[:len(s.faults.hooks):len(s.faults.hooks)]
	s.faults.mu.Unlock()
	for _, hook := range hooks {
		if err := (*hook)(op); err != nil {
			return err
		}
	}
	return nil
}

// A Short, returned by a hook for a write, has its first N bytes written before
// the write fails with Err.
type Short struct {
	N   int
	Err error
}

func (e *Short) Error() string { return e.Err.Error() }
func (e *Short) Unwrap() error { return e.Err }

func shortOf(err error) int64 {
	if short, ok := err.(*Short); ok {
		return int64(short.N)
	}
	return 0
}

// A Rule makes hooks of the usual kinds: fail, delay, or both, the operations of
// one kind on some files.
type Rule struct {
	Kind  Kind          // 0: any
	Path  string        // part of the path; "": any
	Skip  int           // so many pass first
	Times int           // then so many are hit; 0: all
	Err   error         // nil: none
	Short int           // writes: bytes written before Err
	Delay time.Duration // before the operation
}

// Hook returns the rule as a hook, with counts of its own.
func (r Rule) Hook() func(Op) error {
	var seen atomic.Int64
	return func(op Op) error {
		if !r.matches(op) {
			return nil
		}
		n := int(seen.Add(1)) - 1 - r.Skip
		if n < 0 || (r.Times > 0 && n >= r.Times) {
			return nil
		}
		time.Sleep(r.Delay)
		if r.Err != nil && op.Kind == OpWrite {
			return &Short{r.Short, r.Err}
		}
		return r.Err
	}
}

func (r Rule) matches(op Op) bool {
	return (r.Kind == 0 || r.Kind == op.Kind) && strings.Contains(op.Path, r.Path)
}

// Fail injects a rule.
func (s *FS) Fail(r Rule) (remove func()) { return s.Inject(r.Hook()) }

// A Hang blocks operations until Release.
type Hang struct {
	// Blocked is closed when the first operation has come to a stop.
	Blocked <-chan struct{}
	release func()
}

// Hang blocks the operations of one kind (0: any) on paths that contain part.
func (s *FS) Hang(kind Kind, part string) *Hang {
	blocked, free := make(chan struct{}), make(chan struct{})
	first := sync.OnceFunc(func() { close(blocked) })
	remove := s.Inject(func(op Op) error {
		if (Rule{Kind: kind, Path: part}).matches(op) {
			first()
			<-free
		}
		return nil
	})
	return &Hang{blocked, sync.OnceFunc(func() {
		remove()
		close(free)
	})}
}

// Release lets the blocked operations go on and blocks no more.
func (h *Hang) Release() { h.release() }
