package power

import (
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"time"
)

// errStop ends a life of which no more is wanted.
var errStop = errors.New("seen enough")

// A world is a disk of a kind with what was done on it.
type world struct {
	k      *kind
	name   string // for messages
	rng    *rand.Rand
	d      *disk
	h      *history
	plan   plan // of its lives, without their sessions
	lives  *uint64
	lossy  bool
	nosync bool
	depth  int // cuts it comes after
}

func newWorld(k *kind, name string, base *image, seed int64, index int) *world {
	rng := rand.New(rand.NewSource(seed))
	w := &world{k: k, name: name, rng: rng, d: newDisk(base), lives: new(uint64)}
	w.lossy = index%3 == 2
	w.plan = plan{Seed: seed, Writers: 1 + rng.Intn(3), Pushes: rng.Intn(3) > 0}
	w.h = newHistory(seed, w.plan.Writers, w.lossy)
	return w
}

// session draws one.
func (w *world) session(rounds int) session {
	pick := func(of ...time.Duration) time.Duration { return of[w.rng.Intn(len(of))] }
	s := session{Rounds: rounds, MaxBytes: 16 << 20, Shards: 2, Keep: 2 + w.rng.Intn(3), NoSync: w.nosync,
		Interval: pick(-1, 20*time.Millisecond, time.Second), Weak: pick(2*time.Millisecond, 5*time.Millisecond, -1),
		Budget: pick(0, 0, 100*time.Microsecond, 1), Clears: true, Verify: w.rng.Intn(2) == 0, Exit: w.rng.Intn(3) == 0}
	if w.lossy { // what they write goes round and round in it
		s.MaxBytes, s.Shards = 1<<20, 1
	} else if w.rng.Intn(6) == 0 {
		s.Shards = 4 // the directory is converted
	}
	return s
}

// sessions are those of a new world, and of what a cut left of one.
func (w *world) sessions(fresh bool) (list []session) {
	if !fresh {
		s := w.session(1 + w.rng.Intn(2))
		s.Flush = true
		end := w.session(0)
		end.Exit = false
		return append(list, s, end)
	}
	for range 2 + w.rng.Intn(3) {
		list = append(list, w.session(4+w.rng.Intn(14)))
	}
	return list
}

// A driver hears the lives on a disk.
type driver struct {
	w     *world
	t     *tally
	first func(m *message) error // hears what is found after a cut; nil: nothing was cut
	from  []int                  // events before this life's own; nil: it has found nothing yet
}

func (r *driver) hear(m *message) error {
	h := r.w.h
	if r.from != nil {
		h.append(m.Events)
	}
	h.leftOut = h.leftOut || m.LeftOut > 0
	switch m.Kind {
	case kindFailed:
		return fmt.Errorf("%s: %v", r.w.name, m.Wrong)
	case kindFound:
		if err := r.found(m); err != nil {
			return err
		}
		if r.from == nil {
			r.from = r.w.h.counts()
		}
	case kindFlushed, kindClosed:
		f := floor{at: r.w.d.position(), generation: max(m.Generation, h.floor(r.w.d.position()).generation)}
		for i, n := range m.Counts {
			f.counts = append(f.counts, r.from[i]+n)
		}
		h.floors = append(h.floors, f)
	}
	return nil
}

func (r *driver) found(m *message) error {
	if first := r.first; first != nil {
		r.first = nil
		return first(m)
	}
	v := r.w.h.judge(m, r.w.h.floor(r.w.d.position()))
	r.t.judged(&v)
	if !v.ok() {
		return fmt.Errorf("%s: %v %v; report %+v", r.w.name, v.wrong, v.lost, m.Report)
	}
	r.w.h.truncate(v.cut)
	return nil
}

// run runs sessions on the world's disk, each process as far as one goes. After a cut
// first hears what the first of them finds.
func (w *world) run(s *server, t *tally, list []session, first func(m *message) error) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(s.dir), "mnt")
	if err != nil {
		return err
	}
	defer os.Remove(dir)
	unmount, err := s.mountDisk(w.d, w.k, dir)
	if err != nil {
		return fmt.Errorf("%s: %w", w.name, err)
	}
	defer func() { err = errors.Join(err, unmount()) }()
	for len(list) > 0 {
		n := 1
		for n < len(list) && !list[n-1].Exit {
			n++
		}
		p := w.plan
		*w.lives++
		p.Dir, p.Draw, p.First, p.Clock = filepath.Join(dir, "cache"), w.rng.Int63(), *w.lives<<24, w.h.clock
		p.Sessions, list = list[:n], list[n:]
		if err := runLife(p, (&driver{w: w, t: t, first: first}).hear); err != nil {
			return err
		}
		first = nil
	}
	return nil
}
