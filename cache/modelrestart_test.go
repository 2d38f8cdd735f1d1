package cache

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/embercache/ember/internal/crashfs"
)

// What a program does with files. The machine knows what the cache held at each cut;
// what the next Open gives is one of them, see DESIGN.md: the newest after a Close
// and a kill, one since the last durable cut after a power cut, and that minus
// entries after damage.

func (m *machine) flush() {
	generation, err := m.c.Flush(context.Background())
	if err != nil {
		m.fail("flush: %v", err)
	}
	m.note("flush: %d", generation)
	if err := checked(m.c); err != nil && (!m.hurt || errors.Is(err, errMismatch)) {
		m.fail("self-check: %v", err)
	}
	m.made(m.durable())
}

// made notes a durable cut.
func (m *machine) made(cut model) { m.older, m.cuts = append(m.older, m.cuts...), []model{cut} }

func (m *machine) weak() {
	before := m.c.Stats().WeakGenerations
	err := m.c.persist.dumper.Weak()
	links := m.c.Stats().WeakGenerations - before
	m.note("weak: %d, %v", links, err)
	if links > 0 {
		m.cuts = append(m.cuts, m.durable())
	}
}

// closed ends the process in good order.
func (m *machine) closed() {
	if err := m.c.Close(); err != nil {
		m.fail("close: %v", err)
	}
	if left := m.fs.OpenHandles(); len(left) != 0 {
		m.fail("files left open: %v", left)
	}
	m.made(m.durable())
}

// tell flushes before the end of a process that met damage: it has written generations
// of its own accord, at cuts that the machine does not know.
func (m *machine) tell() {
	if m.hurt {
		m.flush()
	}
}

// left ends the process and makes files the next one's.
func (m *machine) left(files *crashfs.FS) {
	if err := m.c.Close(); err != nil {
		m.fail("close: %v", err)
	}
	m.fs, m.o.hooks.fs = files, files
}

func (m *machine) reopen() {
	m.note("close and open")
	if m.fs == nil {
		return
	}
	m.closed()
	m.resume()
}

// kill goes on with what a killed process leaves.
func (m *machine) kill() {
	m.note("kill")
	m.tell()
	m.left(m.fs.Clone())
	m.resume()
}

// powerCut goes on with what a disk keeps.
func (m *machine) powerCut(seed uint64) {
	m.note("power cut %d", seed)
	m.tell()
	m.left(m.fs.Crash(m.fs.Ops(), crashfs.Cut{Seed: seed, Garbage: seed%2 == 0}))
	m.open()
	m.adopt()
	m.made(maps.Clone(m.have))
}

// damage changes a few bytes of a file while nobody has it open. What is damaged
// stays so: from then on anything may be missing, and nothing may be wrong.
func (m *machine) damage(dice int) {
	m.note("damage %d", dice)
	m.tell()
	if dice%4 == 0 {
		m.closed()
	} else {
		m.left(m.fs.Clone())
	}
	names := m.fs.List()
	for range 1 + dice/4%2 {
		name := names[m.next()%len(names)]
		b, err := m.fs.ReadFile(name)
		if err != nil {
			m.fail("%v", err)
		}
		used := len(bytes.TrimRight(b, "\x00"))
		if used == 0 {
			continue
		}
		off := (m.next()<<8 | m.next()) * max(used/(1<<16), 1) % used
		if err := m.fs.Flip(name, int64(off), byte(m.next())|1); err != nil {
			m.fail("%v", err)
		}
		m.note("%s at %d", name, off)
	}
	m.hurt, m.strict = true, false
	m.open()
	m.adopt()
	m.cuts = append(m.cuts, maps.Clone(m.have)) // a power cut may still lead to one before
}

// resume opens what has to be the newest cut.
func (m *machine) resume() {
	m.open()
	if m.hurt {
		m.adopt()
	} else {
		m.have = maps.Clone(m.cuts[len(m.cuts)-1])
		m.checkWarm()
	}
	if m.version%3 == 0 { // else commands meet an index that is still on file
		if _, err := m.c.WaitVerified(context.Background()); err != nil {
			m.fail("verify: %v", err)
		}
	}
}

func (m *machine) checkWarm() {
	if r := m.c.Recovery(); r.Generation != 0 && r.Outcome != OutcomeWarm || r.Reason != nil {
		m.fail("recovered %v: %v", r.Outcome, r.Reason)
	}
}

// adopt finds which cut was opened. A stale one says so.
func (m *machine) adopt() {
	r, err := m.c.WaitVerified(context.Background())
	if err != nil {
		m.fail("verify: %v", err)
	}
	candidates := m.cuts
	if r.MayBeStale && m.hurt {
		candidates = slices.Concat(m.older, m.cuts)
	}
	var why []string
	for _, cut := range slices.Backward(candidates) {
		found, diff := m.opened(cut)
		if diff == "" {
			m.have = found
			return
		}
		why = append(why, diff)
	}
	m.fail("the state at none of %d cuts: %s\nreport %+v", len(candidates), strings.Join(why, "; "), r)
}

// opened is what is there of a cut; diff says why it is not the one that was opened.
func (m *machine) opened(cut model) (found model, diff string) {
	found = model{}
	for key, value := range m.c.All() {
		e, ok := cut[string(key)]
		switch {
		case !ok || !e.live(m.now()):
			return nil, "there is " + string(key[:min(len(key), 8)])
		case !bytes.Equal(e.value, value):
			return nil, "another " + string(key[:min(len(key), 8)])
		}
		found[string(key)] = e
	}
	for key, e := range cut {
		if _, ok := found[key]; !ok && m.strict && e.live(m.now()) {
			return nil, "no " + key[:min(len(key), 8)]
		}
	}
	return found, ""
}
