package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/embercache/ember/cache"
)

// A fillPlan is what a child does that fills a cache: it stores Keys values, then
// reads and stores them until it is told to end.
type fillPlan struct {
	Dir      string
	MaxBytes int64
	Keys     int
	Size     int    // of a value, bytes
	Round    uint64 // of all versions
	Had      uint64 // the round of a life before, 0: none
	Group    string // file of the control group to join
}

// A fillNote is what it tells.
type fillNote struct {
	Kind        string // warned, opened, filled, vitals, ended
	Warned      string `json:",omitempty"`
	Fits        int64  `json:",omitempty"`
	Outcome     string `json:",omitempty"`
	Generation  uint64
	MaxBytes    int64
	Found, Lost int
	Bytes       int64
	Wrong       int
	Mapped      time.Duration
	Took        time.Duration
	Vitals      vitals
	Health      string `json:",omitempty"`
}

func init() { tasks["fill"] = runFillChild }

type fillChild struct {
	plan fillPlan
	out  *json.Encoder
	c    *cache.Cache
	note fillNote
}

func runFillChild(text []byte, in io.Reader, out *json.Encoder) error {
	k := &fillChild{out: out}
	if err := json.Unmarshal(text, &k.plan); err != nil {
		return err
	}
	if k.plan.Group != "" {
		if err := os.WriteFile(k.plan.Group, []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
			return err
		}
	}
	logs := &jsonLines{told: func(line []byte) { _ = out.Encode(adviceOf(line)) }}
	o := &cache.Options{MaxBytes: k.plan.MaxBytes, MaxEntryBytes: 0, Logger: slog.New(slog.NewJSONHandler(logs, nil))}
	c, err := cache.Open(context.Background(), k.plan.Dir, o)
	if err != nil {
		return err
	}
	k.c = c
	began := time.Now()
	found := k.read(k.plan.Had)
	r := c.Recovery()
	k.tell("opened", func(n *fillNote) {
		n.Outcome, n.Generation, n.Mapped, n.Found, n.Took = r.Outcome.String(), r.Generation, r.Mapped, found, time.Since(began)
	})
	closing := make(chan struct{})
	go func() { _, _ = bufio.NewReader(in).ReadString('\n'); close(closing) }()
	return k.live(closing)
}

// live fills the cache, then goes on reading and storing.
func (k *fillChild) live(closing chan struct{}) error {
	for began, i := time.Now(), 0; i < k.plan.Keys; i++ {
		if err := k.set(i); err != nil {
			return err
		}
		if i == k.plan.Keys-1 {
			found := k.read(k.plan.Round)
			k.tell("filled", func(n *fillNote) { n.Found, n.Took = found, time.Since(began) })
		}
	}
	every := time.NewTicker(500 * time.Millisecond)
	defer every.Stop()
	for at := 0; ; at++ {
		select {
		case <-closing:
			began := time.Now()
			if err := k.c.Close(); err != nil {
				return err
			}
			k.tell("ended", func(n *fillNote) { n.Took = time.Since(began) })
			return nil
		case <-every.C:
			k.tell("vitals", func(*fillNote) {})
		default:
			k.get(at%k.plan.Keys, k.plan.Round)
			if at%4 == 0 {
				if err := k.set(at / 4 % k.plan.Keys); err != nil {
					return err
				}
			}
		}
	}
}

func (k *fillChild) tell(kind string, more func(n *fillNote)) {
	n := k.note
	n.Kind, n.MaxBytes, n.Bytes, n.Vitals = kind, k.c.Stats().MaxBytes, k.c.Bytes(), readVitals(k.plan.Dir)
	if err := k.c.Health(); err != nil {
		n.Health = err.Error()
	}
	more(&n)
	_ = k.out.Encode(n)
}

func fillKey(i int) []byte { return binary.LittleEndian.AppendUint64([]byte("fill"), uint64(i)) }

func (k *fillChild) set(i int) error {
	return k.c.Set(fillKey(i), appendEntry(nil, entry{key: i, version: k.plan.Round}, k.plan.Size))
}

// get reports whether a key was found. What is found was stored in this round or
// in the one before, if there was one.
func (k *fillChild) get(i int, round uint64) bool {
	v, ok := k.c.Get(fillKey(i))
	if !ok {
		return false
	}
	e, err := decodeEntry(v)
	if err != nil || e.key != i || e.version != round && e.version != k.plan.Had {
		k.note.Wrong++
	}
	return true
}

func (k *fillChild) read(round uint64) (found int) {
	for i := range k.plan.Keys {
		if k.get(i, round) {
			found++
		}
	}
	return found
}

// jsonLines is where a log goes.
type jsonLines struct{ told func(line []byte) }

func (j *jsonLines) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("low_memory")) {
		j.told(b)
	}
	return len(b), nil
}

// adviceOf is what a line says of memory.
func adviceOf(line []byte) fillNote {
	var l struct {
		Msg   string
		Fits  int64
		Takes int64
		Limit int64
	}
	_ = json.Unmarshal(line, &l)
	return fillNote{Kind: "warned", Warned: fmt.Sprintf("%s: takes %d of a limit of %d", l.Msg, l.Takes, l.Limit), Fits: l.Fits}
}
