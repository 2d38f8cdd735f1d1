package shop

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/embercache/ember/cache"
)

// A plain view is a Go map with a mutex, for comparison: bounded as the cache
// is, with one load per key at a time, and gone with the process.
type plain[P any] struct {
	maxBytes int64
	size     func(P) int64

	mu      sync.Mutex
	bytes   int64
	entries map[int64]plainEntry[P]
	loads   map[int64]*plainLoad[P]
}

type plainEntry[P any] struct {
	value   P
	err     error // cache.ErrNotFound for a product that does not exist
	bytes   int64
	expires time.Time
}

type plainLoad[P any] struct {
	done  chan struct{}
	value P
	err   error
}

func newPlain[P any](maxBytes int64, size func(P) int64) *plain[P] {
	return &plain[P]{maxBytes: maxBytes, size: size, entries: map[int64]plainEntry[P]{}, loads: map[int64]*plainLoad[P]{}}
}

func (m *plain[P]) Has(id int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.getLocked(id)
	return ok
}

func (m *plain[P]) Peek(id int64) (P, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.getLocked(id)
	return e.value, ok && e.err == nil
}

func (m *plain[P]) getLocked(id int64) (plainEntry[P], bool) {
	e, ok := m.entries[id]
	return e, ok && time.Now().Before(e.expires)
}

func (m *plain[P]) Delete(id int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.loads, id) // which has read what is now outdated
	return m.removeLocked(id)
}

func (m *plain[P]) removeLocked(id int64) bool {
	e, ok := m.entries[id]
	if ok {
		m.bytes -= e.bytes
		delete(m.entries, id)
	}
	return ok
}

// storeLocked makes room by removing any others, in the order of the map.
func (m *plain[P]) storeLocked(id int64, v P, err error) {
	m.removeLocked(id)
	e := plainEntry[P]{value: v, err: err, bytes: m.size(v), expires: time.Now().Add(freshFor)}
	if err != nil {
		e.expires = time.Now().Add(absentFor)
	}
	for other := range m.entries {
		if m.bytes+e.bytes <= m.maxBytes {
			break
		}
		m.removeLocked(other)
	}
	m.entries[id] = e
	m.bytes += e.bytes
}

func (m *plain[P]) GetOrLoad(ctx context.Context, id int64, load func(context.Context, int64) (P, error)) (P, error) {
	found, err := m.GetOrLoadMany(ctx, []int64{id}, func(ctx context.Context, _ []int64) (map[int64]P, error) {
		v, err := load(ctx, id)
		if errors.Is(err, cache.ErrNotFound) {
			return nil, nil
		}
		return map[int64]P{id: v}, err
	})
	v, ok := found[id]
	if err == nil && !ok {
		err = cache.ErrNotFound
	}
	return v, err
}

func (m *plain[P]) GetOrLoadMany(ctx context.Context, ids []int64, load func(context.Context, []int64) (map[int64]P, error)) (map[int64]P, error) {
	found := make(map[int64]P, len(ids))
	loads := make(map[int64]*plainLoad[P])
	if mine := m.lookUp(ids, found, loads); len(mine) > 0 {
		go m.run(context.WithoutCancel(ctx), mine, loads, load)
	}
	for id, l := range loads {
		select {
		case <-l.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if l.err == nil {
			found[id] = l.value
		} else if !errors.Is(l.err, cache.ErrNotFound) {
			return nil, l.err
		}
	}
	return found, nil
}

// lookUp fills found and, for what is not there, loads. It returns those of them
// that nobody is loading yet.
func (m *plain[P]) lookUp(ids []int64, found map[int64]P, loads map[int64]*plainLoad[P]) (mine []int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		if e, ok := m.getLocked(id); ok {
			if e.err == nil {
				found[id] = e.value
			}
			continue
		}
		l := m.loads[id]
		if l == nil {
			l = &plainLoad[P]{done: make(chan struct{})}
			m.loads[id] = l
			mine = append(mine, id)
		}
		loads[id] = l
	}
	return mine
}

func (m *plain[P]) run(ctx context.Context, mine []int64, loads map[int64]*plainLoad[P], load func(context.Context, []int64) (map[int64]P, error)) {
	loaded, err := load(ctx, mine)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range mine {
		l, ok := loads[id], false
		if l.value, ok = loaded[id]; !ok {
			l.err = cache.ErrNotFound
		}
		if err != nil {
			l.err = err
		}
		if m.loads[id] == l { // no Delete since
			delete(m.loads, id)
			if err == nil {
				m.storeLocked(id, l.value, l.err)
			}
		}
		close(l.done)
	}
}
