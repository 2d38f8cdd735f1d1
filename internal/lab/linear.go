package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// Histories come from the test of package cache, which can end a process and its
// disk; porcupine says whether each is one of registers that may forget.
var linearExperiment = experiment{
	name:  "linear",
	title: "concurrent calls, over restarts and crashes, are those of registers that may forget",
	run: func(ctx context.Context, o *options, w io.Writer) error {
		f, err := os.CreateTemp(o.Dir, "histories-*.json")
		if err != nil {
			return err
		}
		f.Close()
		defer os.Remove(f.Name())
		s := suite{"./cache", "^TestHistoriesOfConcurrentCalls$",
			[]string{"-histories.count", strconv.Itoa(o.count(3, 1000)), "-histories.file", f.Name()}}
		if err := s.run(ctx, o, w); err != nil {
			return err
		}
		return checkHistories(ctx, f.Name(), rand.New(rand.NewSource(o.Seed)), w)
	},
}

// A call is as package cache's test writes it.
type call struct {
	Client       int
	Key          int
	Kind         string
	Call, Return int64
	In, Out      int
}

// A register is what one key may hold. A miss says that it was forgotten, at any
// time: so a value that was missed never comes back, but for a crash.
type register struct {
	now  int    // value; 0: none; unknown: one of past
	past string // values since the newest Flush began, each behind a comma
}

const unknown = -1

func (r register) may(v int) bool {
	if r.now != unknown {
		return r.now == v
	}
	return strings.Contains(r.past+",", ","+strconv.Itoa(v)+",")
}

// full reports whether it may hold a value.
func (r register) full() bool {
	return r.now > 0 || r.now == unknown && strings.Trim(r.past, ",0") != ""
}

func (r register) become(v int) register {
	next := "," + strconv.Itoa(v)
	if !strings.Contains(r.past+",", next+",") {
		r.past += next
	}
	r.now = v
	return r
}

// step is one call of a register: whether its answer can be, and what follows.
func step(r register, c call) (bool, register) {
	switch c.Kind {
	case "get":
		return c.Out == 0 || r.may(c.Out), r.become(c.Out)
	case "set":
		return true, r.become(c.In)
	case "delete":
		return c.Out == 0 || r.full(), r.become(0)
	case "absent":
		if c.Out == 1 {
			return true, r.become(c.In)
		}
		return r.full(), r
	case "compute":
		ok := c.Out == 0 || r.may(c.Out)
		switch c.In {
		case -1:
			return ok, r.become(0)
		case -2:
			return ok, r.become(c.Out)
		}
		return ok, r.become(c.In)
	case "flush": // what it held then outlives a crash
		if r.now != unknown {
			r.past = "," + strconv.Itoa(r.now)
		}
		return true, r
	case "crash":
		r.now = unknown
		return true, r
	}
	return false, r
}

var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) (keys [][]porcupine.Operation) {
		byKey := make(map[int][]porcupine.Operation)
		for _, op := range history {
			key := op.Input.(call).Key
			byKey[key] = append(byKey[key], op)
		}
		for _, ops := range byKey {
			keys = append(keys, ops)
		}
		return keys
	},
	Init: func() any { return register{past: ",0"} },
	Step: func(state, input, _ any) (bool, any) { return step(state.(register), input.(call)) },
}

// linear says whether a history can be.
func linear(calls []call) (bool, error) {
	ops := make([]porcupine.Operation, len(calls))
	for i, c := range calls {
		ops[i] = porcupine.Operation{ClientId: c.Client, Input: c, Call: c.Call, Return: c.Return}
	}
	switch porcupine.CheckOperationsTimeout(registers, ops, time.Minute) {
	case porcupine.Ok:
		return true, nil
	case porcupine.Illegal:
		return false, nil
	}
	return false, errUndecided
}

var errUndecided = errors.New("not decided within a minute")

// stale makes a Get of a history answer with a value that had been overwritten
// before it was called; false if none can be made to.
func stale(calls []call, rng *rand.Rand) ([]call, bool) {
	for _, i := range rng.Perm(len(calls)) {
		get := calls[i]
		if get.Kind != "get" || get.Out == 0 {
			continue
		}
		for _, old := range calls {
			if old.Key != get.Key || old.Kind != "set" || old.In == get.Out || !overwritten(calls, old, get) {
				continue
			}
			calls = slices.Clone(calls)
			calls[i].Out = old.In
			return calls, true
		}
	}
	return nil, false
}

// overwritten reports that a Set came wholly after old and before get, and no crash
// after it.
func overwritten(calls []call, old, get call) bool {
	for _, c := range calls {
		if c.Key == get.Key && c.Kind == "set" && c.Call > old.Return && c.Return < get.Call {
			crashed := func(x call) bool { return x.Kind == "crash" && x.Return > c.Call && x.Call < get.Return }
			return !slices.ContainsFunc(calls, crashed)
		}
	}
	return false
}

// checkHistories checks each history of a file, and that it is refused once it is
// made wrong. Of a hundred one may take too long: what has to be tried can double with
// each call.
func checkHistories(ctx context.Context, name string, rng *rand.Rand, w io.Writer) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	histories, calls, refused, undecided := 0, 0, 0, 0
	for in := json.NewDecoder(bufio.NewReader(f)); ctx.Err() == nil; histories++ {
		var h []call
		if err := in.Decode(&h); err == io.EOF {
			break
		} else if err != nil {
			return fmt.Errorf("read histories: %w", err)
		}
		calls += len(h)
		if err := checkHistory(h, rng, &refused); errors.Is(err, errUndecided) {
			undecided++
		} else if err != nil {
			return fmt.Errorf("history %d: %w", histories, err)
		}
	}
	fmt.Fprintf(w, "  %d histories, %d calls, %d of them or their copies not decided within a minute: all others can be; %d with a stale Get: all refused\n",
		histories, calls, undecided, refused)
	if refused == 0 || undecided > histories/100 {
		return errors.New("too few histories were decided: the check shows nothing")
	}
	return ctx.Err()
}

func checkHistory(h []call, rng *rand.Rand, refused *int) error {
	ok, err := linear(h)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("cannot be that of registers: %s", culprit(h))
	}
	wrong, ok := stale(h, rng)
	if !ok {
		return nil
	}
	if ok, err = linear(wrong); err != nil {
		return err
	}
	if ok {
		return errors.New("a stale Get was not refused")
	}
	*refused++
	return nil
}

// culprit is the calls of a key whose history cannot be, in the order in which they
// began.
func culprit(h []call) string {
	for key := range 1 << 10 {
		of := slices.DeleteFunc(slices.Clone(h), func(c call) bool { return c.Key != key })
		if ok, err := linear(of); ok || err != nil || len(of) == 0 {
			continue
		}
		slices.SortFunc(of, func(a, b call) int { return int(a.Call - b.Call) })
		var b strings.Builder
		for _, c := range of {
			fmt.Fprintf(&b, "\n\t%6d-%-6d client %d %s in %d out %d", c.Call, c.Return, c.Client, c.Kind, c.In, c.Out)
		}
		return fmt.Sprintf("key %d%s", key, b.String())
	}
	return "no key alone"
}
