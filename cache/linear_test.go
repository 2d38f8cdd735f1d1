package cache

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/embercache/ember/internal/crashfs"
)

// Histories of calls that ran at once, over restarts and crashes. Here every value is
// checked byte for byte; whether a history is one of a register that may forget is for
// internal/lab to say (go run . linear), which reads them from -histories.file.

var (
	historyFile  = flag.String("histories.file", "", "file for histories of concurrent calls, a line of JSON each")
	historyCount = flag.Int("histories.count", 2, "histories of concurrent calls")
)

// A call is one call with one key. Calls that returned before another began have
// the lower numbers.
type call struct {
	Client int
	Key    int
	Kind   string // get, set, delete, compute, absent, flush, crash
	Call   int64
	Return int64
	In     int // value that is stored; -1: compute deletes, -2: it keeps what is there
	Out    int // value that was found, 0 for none; of delete and absent 1 for success
}

const (
	historyKeys    = 10
	historyClients = 6
	historyCalls   = 150 // of each client, in each life
	historyLives   = 4
)

// A historian records what clients do to a cache.
type historian struct {
	t     *testing.T
	c     *Cache
	fs    *crashfs.FS
	rng   *rand.Rand
	clock atomic.Int64
	value atomic.Int64

	mu    sync.Mutex
	calls []call
}

// record runs do as one call of the client.
func (h *historian) record(c call, do func(c *call)) {
	c.Call = h.clock.Add(1)
	do(&c)
	c.Return = h.clock.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, c)
}

// recordAll records a call that concerns every key.
func (h *historian) recordAll(kind string, do func()) {
	from := h.clock.Add(1)
	do()
	to := h.clock.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	for key := range historyKeys {
		h.calls = append(h.calls, call{Client: historyClients, Key: key, Kind: kind, Call: from, Return: to})
	}
}

func historyValue(n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(n))
	return append(b, testValue(n, n*37%1500)...)
}

// valueOf checks a value and tells which it is.
func (h *historian) valueOf(b []byte) int {
	if len(b) < 8 {
		h.t.Errorf("a value of %d bytes", len(b))
		return -1
	}
	n := int(binary.LittleEndian.Uint64(b))
	if !bytes.Equal(b, historyValue(n)) {
		h.t.Errorf("value %d is not what was stored", n)
	}
	return n
}

// one is one call, drawn.
func (h *historian) one(rng *rand.Rand, client int) {
	i := rng.Intn(historyKeys)
	key := fmt.Appendf(nil, "history-%d", i)
	rec := call{Client: client, Key: i}
	fresh := func() int { return int(h.value.Add(1)) }
	switch n := rng.Intn(10); {
	case n < 5:
		rec.Kind = "get"
		h.record(rec, func(c *call) {
			if v, ok := h.c.Get(key); ok {
				c.Out = h.valueOf(v)
			}
		})
	case n < 7:
		rec.Kind, rec.In = "set", fresh()
		h.record(rec, func(c *call) { h.noError(h.c.Set(key, historyValue(c.In))) })
	case n < 8:
		rec.Kind = "delete"
		h.record(rec, func(c *call) {
			if h.c.Delete(key) {
				c.Out = 1
			}
		})
	case n < 9:
		rec.Kind = "compute"
		h.record(rec, func(c *call) { h.compute(c, key, []int{fresh(), fresh(), -1, -2}[rng.Intn(4)]) })
	default:
		rec.Kind, rec.In = "absent", fresh()
		h.record(rec, func(c *call) {
			err := h.c.SetEntry(key, historyValue(c.In), EntryOptions{IfAbsent: true})
			if err == nil {
				c.Out = 1
			} else if !errors.Is(err, ErrConflict) {
				h.t.Error(err)
			}
		})
	}
}

func (h *historian) compute(c *call, key []byte, in int) {
	c.In = in
	h.noError(h.c.Compute(key, func(old []byte, found bool) ([]byte, Op) {
		if c.Out = 0; found {
			c.Out = h.valueOf(old)
		}
		switch in {
		case -1:
			return nil, OpDelete
		case -2:
			return nil, OpKeep
		}
		return historyValue(in), OpWrite
	}))
}

func (h *historian) noError(err error) {
	if err != nil {
		h.t.Error(err)
	}
}

// live has all clients run, somebody who fills the cache, and somebody who flushes.
func (h *historian) live() {
	var clients, others sync.WaitGroup
	stop := make(chan struct{})
	for client := range historyClients {
		rng := rand.New(rand.NewSource(h.rng.Int63()))
		clients.Add(1)
		go func() {
			defer clients.Done()
			for range historyCalls {
				h.one(rng, client)
			}
		}()
	}
	filler, flushes := rand.New(rand.NewSource(h.rng.Int63())), h.rng.Intn(3)
	others.Add(2)
	go func() {
		defer others.Done()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				h.noError(h.c.Set(fmt.Appendf(nil, "filler-%d", filler.Intn(2000)), testValue(i, filler.Intn(7000))))
			}
		}
	}()
	go func() {
		defer others.Done()
		for range flushes {
			h.recordAll("flush", func() { _, err := h.c.Flush(context.Background()); h.noError(err) })
		}
	}()
	clients.Wait()
	close(stop)
	others.Wait()
}

// end ends the process in some way, so that the next finds the files. A kill or a
// power cut is what the files are at some moment; what the former process does to its
// own copy after that, nobody sees.
func (h *historian) end() {
	former := h.c
	switch h.rng.Intn(3) {
	case 0:
		h.recordAll("flush", func() { h.noError(former.Close()) })
		h.fs = h.fs.Clone()
		return
	case 1:
		h.recordAll("crash", func() { h.fs = h.fs.Clone() })
	default:
		h.recordAll("crash", func() { h.fs = h.fs.Crash(h.fs.Ops(), crashfs.Cut{Seed: h.rng.Uint64()}) })
	}
	h.noError(former.Close())
}

func (h *historian) run() {
	h.fs = crashfs.New()
	for life := range historyLives {
		o := quietOptions(h.fs, 1)
		o.hooks.step, o.hooks.lazily = false, h.rng.Intn(2) == 0
		o.Durability.Interval, o.Durability.Weak = -1, time.Millisecond
		h.c = openOn(h.t, o)
		h.live()
		if life == historyLives-1 {
			h.noError(h.c.Close())
			return
		}
		h.end()
	}
}

func TestHistoriesOfConcurrentCalls(t *testing.T) {
	rng := newRand(t)
	var out *json.Encoder
	if *historyFile != "" {
		f, err := os.Create(*historyFile)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		out = json.NewEncoder(f)
	}
	calls := 0
	for range *historyCount {
		h := &historian{t: t, rng: rand.New(rand.NewSource(rng.Int63()))}
		h.run()
		calls += len(h.calls)
		if out != nil {
			if err := out.Encode(h.calls); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d histories, %d calls", *historyCount, calls)
}
