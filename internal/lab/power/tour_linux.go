package power

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// A tour makes worlds and visits states of them.
type tour struct {
	s     *server
	t     *tally
	keep  string // where images of states that break the law are left
	broke *failures
	lost  bool // is what is looked for: it ends a life, and nothing else
}

// cuts draws moments of a world, in their order: any, and those where the most is at
// stake: when something was just acknowledged, just before a flush, and when many
// writes wait for one.
func (w *world) cuts(n int) (list []cut) {
	any := func() int { return w.rng.Intn(len(w.d.log) + 1) }
	for range n {
		c := cut{at: any(), fate: fate(w.rng.Intn(int(fates))), seed: w.rng.Int63()}
		switch w.rng.Intn(4) {
		case 0:
			if len(w.h.floors) > 0 {
				c.at = w.h.floors[w.rng.Intn(len(w.h.floors))].at
			}
		case 1:
			c.at = max(lastFlush(w.d.log, c.at)-1, 0)
		case 2:
			for range 20 {
				if at := any(); at-lastFlush(w.d.log, at) > c.at-lastFlush(w.d.log, c.at) {
					c.at = at
				}
			}
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b cut) int { return cmp.Compare(a.at, b.at) })
	return list
}

// world makes one and visits so many of its states.
func (o *tour) world(w *world, states int) error {
	if err := w.run(o.s, o.t, w.sessions(true), nil); err != nil {
		o.broke.add(err.Error())
		return nil
	}
	o.t.world(w.d, w.h)
	return o.visit(w, states)
}

func (o *tour) visit(w *world, states int) error {
	k := newCutter(w.d)
	for _, c := range w.cuts(states) {
		m, loose := k.after(c)
		next := &world{k: w.k, rng: w.rng, d: newDisk(m), h: w.h, plan: w.plan, lives: w.lives, lossy: w.lossy, depth: w.depth + 1}
		next.name = fmt.Sprintf("%s, cut after %d of %d operations, %s", w.name, c.at, len(w.d.log), c.fate)
		err := next.run(o.s, o.t, next.sessions(false), func(m *message) error { return o.first(w, next, c, loose, m) })
		var refused *mountError
		switch {
		case errors.Is(err, errStop), errors.As(err, &refused) && o.t.refuse(c):
			continue
		case err != nil:
			o.broke.add(fmt.Sprintf("%v\n  image: %s", err, o.save(m)))
			continue
		}
		if next.depth < 3 && w.rng.Intn(8) == 0 {
			if err := o.visit(next, 2); err != nil {
				return err
			}
		}
		if o.broke.enough() {
			return errors.New("too much is broken to go on")
		}
	}
	return nil
}

// first judges what was found after a cut, and lets the next history begin with it.
func (o *tour) first(w, next *world, c cut, loose int, m *message) error {
	v := w.h.judge(m, w.h.floor(c.at))
	o.t.state(c, next.depth, loose, w.h, m, &v)
	if o.lost && len(v.lost) > 0 && len(v.wrong) == 0 {
		return errStop
	}
	if !v.ok() {
		return fmt.Errorf("%s: wrong: %v; lost: %v; report %+v", next.name, v.wrong, v.lost, m.Report)
	}
	next.h = w.h.after(m.Found, m.Report.Generation)
	return nil
}

// save writes an image to a sparse file, and returns its name. A few are enough.
func (o *tour) save(m *image) string {
	if len(o.broke.all()) >= 3 {
		return "not kept"
	}
	f, err := os.CreateTemp(o.keep, "power-*.img")
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	err = f.Truncate(m.size())
	for i, page := range m.pages {
		if page != nil && err == nil {
			_, err = f.WriteAt(page[:], int64(i)*pageSize)
		}
	}
	if err != nil {
		return err.Error()
	}
	return filepath.Clean(f.Name())
}
