package cache

import "errors"

// Writes of a program that depend on what is there.

// compute writes, deletes or keeps, as the dice say.
func (m *machine) compute(key []byte, dice int) {
	op := Op(dice % 3)
	m.note("compute %.8s: %d", key, op)
	m.version++
	value := modelValue(m.version, dice*3)
	if m.strict && m.c.Bytes()+int64(len(value)+len(key))+64<<10 > m.o.MaxBytes/2 && op == OpWrite {
		op = OpDelete
	}
	var seen []byte
	had := false
	err := m.c.Compute(key, func(old []byte, found bool) ([]byte, Op) {
		seen, had = append(seen[:0], old...), found
		clear(old) // it is a copy
		return value, op
	})
	if err != nil {
		m.fail("compute %.8q: %v", key, err)
	}
	m.check(key, seen, had)
	switch op {
	case OpWrite:
		m.have[string(key)] = m.entry(value, EntryOptions{MemoryOnly: had && m.have[string(key)].memoryOnly})
	case OpDelete:
		delete(m.have, string(key))
	}
	m.get(key)
}

func (m *machine) ifAbsent(key []byte, n int) {
	m.note("if absent %.8s", key)
	has := m.c.Has(key)
	m.setIf(key, n, EntryOptions{IfAbsent: true}, !has)
}

// ifStamp sets over the value that is there, after it has tried another stamp.
func (m *machine) ifStamp(key []byte, n int) {
	m.note("if stamp %.8s", key)
	info, has := m.c.Info(key)
	m.setIf(key, n, EntryOptions{IfStamp: max(info.Stamp^1, 1)}, has && info.Stamp == 1)
	m.setIf(key, n, EntryOptions{IfStamp: max(info.Stamp, 1)}, has)
}

func (m *machine) setIf(key []byte, n int, o EntryOptions, want bool) {
	if m.strict && m.c.Bytes()+int64(n+len(key))+64<<10 > m.o.MaxBytes/2 {
		return
	}
	m.version++
	value := modelValue(m.version, n)
	err := m.c.SetEntry(key, value, o)
	if err != nil && !errors.Is(err, ErrConflict) || (err == nil) != want {
		m.fail("set %.8q on a condition: %v, want it met: %v", key, err, want)
	}
	if err == nil {
		m.have[string(key)] = m.entry(value, o)
	}
	m.get(key)
}

// all ranges over entries and keys: each is seen once, with the value that it has.
func (m *machine) all() {
	m.note("all")
	seen := make(map[string]bool)
	for key, value := range m.c.All() {
		if seen[string(key)] {
			m.fail("key %.8q is seen twice", key)
		}
		seen[string(key)] = true
		m.check(key, value, true)
	}
	keys := 0
	for key := range m.c.Keys() {
		if keys++; !seen[string(key)] {
			m.fail("key %.8q is seen without its value", key)
		}
	}
	if keys != len(seen) {
		m.fail("%d keys, %d with their values", keys, len(seen))
	}
	for key := range m.have {
		if !seen[key] {
			m.check([]byte(key), nil, false)
		}
	}
}
