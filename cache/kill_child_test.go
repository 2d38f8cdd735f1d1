//go:build unix

package cache

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math/rand"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/embercache/ember/internal/draw"
)

// The process that TestKilledProcess kills. It opens the cache, tells all that it
// finds, then writes, and tells of each write when it has returned.

const (
	killWriters  = 4
	killKeys     = 64       // of each writer
	killLarge    = 4        // the last of them have large values
	killMaxBytes = 32 << 20 // no life writes so much while a cut is held that it must leave anything out
	killLittle   = 4 << 20  // every life does
	killShards   = 4

	// memoryMark is in every MemoryOnly value, and so in no file.
	memoryMark = "in memory alone, and in no file"
)

// A killPlan is what the parent asks of a child.
type killPlan struct {
	MaxBytes    int64
	Lossy       bool // entries may be left out: the life before called Clear, or memory is little
	Dir         string
	Seed        int64  // of operations, of the whole test
	Base        uint64 // this child's operations have the numbers after it
	Interval    time.Duration
	Weak        time.Duration
	Pace        time.Duration // between two writes of a writer, at most
	Flush       bool          // now and then
	FlushFirst  bool          // so that links count from the first write on
	VerifyFirst bool          // everything, before anything is read
	Shards      int
	Wait        bool   // for the one that has the directory
	Live        string // folder of the live log; "": none

	Offset   time.Duration // of the wall clock
	Jump     time.Duration // by which it is set forward during the life
	Straight bool          // it was never ahead before
}

// A note is one message to the parent: a write to a pipe that a kill cannot tear.
type note struct {
	Kind, Writer uint8
	Key          uint16
	N            uint32
	A, B, C      uint64
}

const (
	noteHello    = iota // A: wall clock; of all other times this is 0
	noteOpened          // Key: outcome; N: weak generations; A: generation
	noteKey             // A: number of the operation; B: checksum; C: length
	noteTold            // A, B: cause, effect; C: when; all entries are told
	noteOp              // A: number; B, C: from, to; N: see gapNow, here and below
	noteClearing        // A: number
	noteCleared         // A: number; B, C: from, to
	noteCause           // A: value
	noteEffect          // A: value
	noteFlushing        //
	noteFlushed         // A: generation
	noteClosing         //
	noteClosed          //
	noteDumping         // a generation is being written
)

const noteSize = 32

type opKind uint8

const (
	opSet opKind = iota
	opForever
	opMemoryOnly
	opDelete
	opBatch // sets two keys, deletes a third
)

// A killOp is what a writer does, which follows from its number.
type killOp struct {
	kind opKind
	keys [3]int // opBatch; else the first
	size int
}

func opOf(seed int64, writer int, number uint64) (o killOp) {
	intn := draw.Of(seed, writer, number).Intn
	first := intn(killKeys - killLarge)
	o.keys, o.size = [3]int{first, (first + 1) % (killKeys - killLarge), (first + 2) % (killKeys - killLarge)}, 16+intn(700)
	switch n := intn(100); {
	case n < 50:
		if o.kind = opSet; n < 8 {
			o.size = 16 + intn(5000)
		}
	case n < 60:
		o.kind = opForever
	case n < 70:
		o.kind = opMemoryOnly
	case n < 86:
		o.kind = opDelete
	case n < 97:
		o.kind = opBatch
	default:
		o.keys[0] = killKeys - killLarge + intn(killLarge)
		if o.size = 8<<10 + intn(80<<10); n == 99 {
			o.kind = opDelete
		}
	}
	return o
}

// killValue is what an operation stores under a key: nothing else has its bytes.
func killValue(writer, key int, number uint64, o killOp) []byte {
	if o.kind == opMemoryOnly {
		return append(draw.Value(writer, key, number, 0), memoryMark...)
	}
	return draw.Value(writer, key, number, o.size)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func killSum(v []byte) uint64 { return uint64(crc32.Checksum(v, castagnoli)) }

func killKey(writer, key int) []byte { return fmt.Appendf(nil, "writer-%d-key-%02d", writer, key) }

// A killChild is the process that will be killed.
type killChild struct {
	t     *testing.T
	plan  killPlan
	c     *Cache
	out   *os.File
	start time.Time
	stop  atomic.Bool
	group sync.WaitGroup

	// gate has Clear alone, so that its place among the writes is known.
	gate    sync.RWMutex
	cause   []byte // a count; on the first shard
	effect  []byte // a count that was seen there; on the second
	clears  uint64
	closing chan struct{}

	jump    atomic.Int64 // of the clock, ns
	opened  time.Time    // real
	late    atomic.Int64 // the longest Set with a time to live, ns
	expired int          // entries with a time to live that were not found
}

func runKillChild(t *testing.T, plan killPlan) {
	k := &killChild{t: t, plan: plan, out: os.NewFile(3, "notes"), start: time.Now(), closing: make(chan struct{})}
	k.note(note{Kind: noteHello, A: uint64(k.start.UnixNano())})
	go k.listen()
	k.open()
	k.tell()
	k.serve()
	<-k.closing
	k.stop.Store(true)
	k.group.Wait()
	if err := k.c.Health(); err != nil && !errors.Is(err, errLiveFull) && !errors.Is(err, errLiveWaits) && k.gapNow() == 0 {
		k.fatal("health", err)
	}
	k.note(note{Kind: noteClosing})
	if err := k.c.Close(); err != nil {
		k.fatal("close", err)
	}
	k.note(note{Kind: noteClosed})
}

// listen ends the process with its parent.
func (k *killChild) listen() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		switch in.Text() {
		case "panic":
			panic("as it was asked to")
		case "eat":
			eat()
		default:
			close(k.closing)
		}
	}
	os.Exit(4)
}

func (k *killChild) fatal(what string, err error) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
	os.Exit(3)
}

func (k *killChild) now() uint64 { return uint64(time.Since(k.start)) }

func (k *killChild) note(n note) {
	b, err := binary.Append(make([]byte, 0, noteSize), binary.LittleEndian, n)
	if err == nil {
		_, err = k.out.Write(b)
	}
	if err != nil {
		os.Exit(5) // nobody listens
	}
}

func (k *killChild) open() {
	o := &Options{MaxBytes: k.plan.MaxBytes, Shards: k.plan.Shards, Logger: slog.New(slog.DiscardHandler), Clock: k.clock, hooks: hooks{seed: 1}}
	o.Events = &Events{FlushStart: func(uint64, int) { k.note(note{Kind: noteDumping}) }}
	if k.plan.Wait {
		o.WhenLocked, o.LockTimeout = LockWait, time.Minute
	}
	o.Durability.Interval, o.Durability.Weak, o.Durability.Live = k.plan.Interval, k.plan.Weak, k.plan.Live
	if k.plan.Interval > killLoss {
		o.Durability.DirtyBytes = 1 << 30 // links alone
	}
	c, err := Open(context.Background(), k.plan.Dir, o)
	if err != nil {
		k.fatal("open", err)
	}
	k.c, k.opened = c, time.Now()
	k.cause, k.effect = killKeyIn(c, "cause", 0), killKeyIn(c, "effect", 1)
	r := c.Recovery()
	if k.plan.FlushFirst {
		if _, err := c.Flush(context.Background()); err != nil {
			k.fatal("flush", err)
		}
	}
	k.note(note{Kind: noteOpened, Key: uint16(r.Outcome), N: uint32(r.Weak), A: r.Generation, B: uint64(k.gapNow()), C: gapBefore(r)})
}

// tell tells every entry, and holds the cache to its own account of them.
func (k *killChild) tell() {
	if k.plan.VerifyFirst {
		k.verify()
	}
	found := 0
	for w := range killWriters {
		for i := range killKeys {
			if v, ok := k.c.Get(killKey(w, i)); ok {
				found++
				k.tellKey(w, i, v)
			}
		}
	}
	counts := [2]uint64{}
	for i, key := range [][]byte{k.cause, k.effect} {
		if v, ok := k.c.Get(key); ok {
			found++
			counts[i] = binary.LittleEndian.Uint64(v)
		}
	}
	k.account(found + k.readTimed())
	if !k.plan.Lossy { // sizes of what was left out are guessed
		checkInvariants(k.t, k.c)
	}
	if k.t.Failed() {
		k.t.FailNow()
	}
	k.note(note{Kind: noteTold, A: counts[0], B: counts[1], C: k.now()})
}

// account holds the report to what was found: a kill damages nothing. What Clear
// took while its cut was written may be left out, and what memory is too little for.
func (k *killChild) account(found int) {
	r := k.verify()
	n := k.c.Len() // expired entries count until they are met
	ok := !r.MayBeStale && found <= n && n <= found+k.expired && (r.Dropped == 0 || k.plan.Lossy)
	switch {
	case r.Outcome == OutcomeCold: // before the first generation nothing names the files that are there
		ok = ok && found == 0 && (r.Reason == nil || strings.HasPrefix(r.Reason.Error(), "no-generation"))
	case r.Outcome == OutcomeWarm:
		ok = ok && r.Reason == nil && r.PagesDropped == 0
	default:
		ok = ok && (k.plan.Lossy && r.PagesDropped > 0 || gapBefore(r) != 0)
	}
	if !ok {
		k.t.Fatalf("a kill damages nothing: %d entries, %d expired, Len is %d, the report %+v; plan %+v", found, k.expired, n, r, k.plan)
	}
}

func (k *killChild) tellKey(w, key int, v []byte) {
	number := ^uint64(0)
	if len(v) >= 8 {
		number = binary.LittleEndian.Uint64(v)
	}
	k.note(note{Kind: noteKey, Writer: uint8(w), Key: uint16(key), A: number, B: killSum(v), C: uint64(len(v))})
}

func (k *killChild) verify() RecoveryReport {
	r, err := k.c.WaitVerified(context.Background())
	if err != nil {
		k.fatal("verify", err)
	}
	return r
}

// serve writes in the background until stop.
func (k *killChild) serve() {
	for w := range killWriters {
		number := k.plan.Base
		k.loop(int64(w), k.plan.Pace, func() { number++; k.write(w, number) })
	}
	count, seen := k.plan.Base, uint64(0)
	k.loop(10, k.plan.Pace, func() { count++; k.count(noteCause, k.cause, count) })
	k.loop(11, k.plan.Pace, func() {
		if v, ok := k.c.Get(k.cause); ok && binary.LittleEndian.Uint64(v) != seen {
			seen = binary.LittleEndian.Uint64(v)
			k.count(noteEffect, k.effect, seen)
		}
	})
	k.loop(9, 10*time.Millisecond, k.timed)
	k.loop(12, 700*time.Millisecond, k.clear)
	if k.plan.Flush {
		k.loop(13, 60*time.Millisecond, k.flush)
	}
}

// loop calls do every now and then; what it does, nobody else clears meanwhile.
func (k *killChild) loop(id int64, pause time.Duration, do func()) {
	rng := rand.New(rand.NewSource(k.plan.Seed ^ int64(k.plan.Base) ^ id))
	k.group.Go(func() {
		for {
			time.Sleep(time.Duration(rng.Int63n(int64(pause) + 1))) // the pace, nobody waits for it
			if k.stop.Load() {
				return
			}
			if id >= 12 {
				do()
				continue
			}
			k.gate.RLock()
			do()
			k.gate.RUnlock()
		}
	})
}

func (k *killChild) write(w int, number uint64) {
	o := opOf(k.plan.Seed, w, number)
	value := func(i int) []byte { return killValue(w, o.keys[i], number, o) }
	key := func(i int) []byte { return killKey(w, o.keys[i]) }
	from := k.now()
	var err error
	switch o.kind {
	case opSet:
		err = k.c.Set(key(0), value(0))
	case opForever:
		err = k.c.SetWithTTL(key(0), value(0), -1)
	case opMemoryOnly:
		err = k.c.SetEntry(key(0), value(0), EntryOptions{MemoryOnly: true})
	case opDelete:
		k.c.Delete(key(0))
	case opBatch:
		err = k.c.Batch([]BatchOp{{Key: key(0), Value: value(0)}, {Key: key(1), Value: value(1)}, {Key: key(2)}})
	}
	if err != nil {
		k.fatal("write", err)
	}
	k.note(note{Kind: noteOp, Writer: uint8(w), N: uint32(k.gapNow()), A: number, B: from, C: k.now()})
}

func (k *killChild) count(kind uint8, key []byte, n uint64) {
	if err := k.c.Set(key, binary.LittleEndian.AppendUint64(nil, n)); err != nil {
		k.fatal("count", err)
	}
	k.note(note{Kind: kind, N: uint32(k.gapNow()), A: n})
}

func (k *killChild) clear() {
	k.gate.Lock()
	defer k.gate.Unlock()
	k.clears++
	from := k.now()
	k.note(note{Kind: noteClearing, A: k.clears})
	if err := k.c.Clear(); err != nil {
		k.fatal("clear", err)
	}
	k.note(note{Kind: noteCleared, N: uint32(k.gapNow()), A: k.clears, B: from, C: k.now()})
}

func (k *killChild) flush() {
	k.note(note{Kind: noteFlushing})
	g, err := k.c.Flush(context.Background())
	if err != nil {
		k.fatal("flush", err)
	}
	k.note(note{Kind: noteFlushed, A: g})
}
